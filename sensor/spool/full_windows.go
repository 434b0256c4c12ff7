// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"syscall"
)

// Numbers of the Windows API.
const (
	errorHandleDiskFull = syscall.Errno(39)
	errorDiskFull       = syscall.Errno(112)
)

// diskFull reports whether err says that there is no space left.
func diskFull(err error) bool {
	return errors.Is(err, errorDiskFull) || errors.Is(err, errorHandleDiskFull)
}
