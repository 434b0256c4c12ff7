// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// foreignNumbers: there is one interface only.
func foreignNumbers() []unix.SockFilter { return nil }

// legacyNever: this architecture has no older names.
func legacyNever() []uintptr { return nil }

// legacyChanges are older names of calls that change files.
func legacyChanges() []uintptr { return []uintptr{unix.SYS_RENAMEAT} }

// legacyOpen: there is only openat.
func legacyOpen() []rule { return nil }
