// SPDX-License-Identifier: Apache-2.0

//go:build unix

package spool

import (
	"errors"
	"syscall"
)

// diskFull reports whether err says that there is no space left.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
