// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// foreignNumbers refuses calls of the x32 interface, which come with a bit in
// the number.
func foreignNumbers() []unix.SockFilter {
	return []unix.SockFilter{jump(unix.BPF_JGE, 0x40000000, 0, 1), refuse(unix.ENOSYS)}
}

// legacyNever are older names of what never lists.
func legacyNever() []uintptr {
	return []uintptr{unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_MKNOD, unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT}
}

// legacyChanges are older names of calls that change files.
func legacyChanges() []uintptr {
	return []uintptr{
		unix.SYS_CREAT, unix.SYS_UNLINK, unix.SYS_RMDIR, unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_MKDIR,
		unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT,
	}
}

// legacyOpen keeps the older open from writing.
func legacyOpen() []rule {
	return []rule{{number: unix.SYS_OPEN, decide: withoutBits(1, openToWrite)}}
}
