// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filters name what is refused, not what is allowed: the Go runtime and
// the kernel interfaces it uses change with every release, and a list of what
// is allowed that misses one of them breaks sensors in the field, in ways that
// no test here sees. What is refused is what neither process ever needs and
// what one that was taken over would want first. It is refused with an error
// rather than by killing: a library that only tries something falls back, and
// events are not lost for it. System calls of another architecture, which the
// numbers below would not fit, kill.

// Offsets in struct seccomp_data. Arguments are read by their lower half:
// those that are looked at have no more.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// rule refuses a system call, or decides by its arguments. A decision is code
// that ends in ret and is reached only for this call.
type rule struct {
	number uintptr
	errno  unix.Errno
	decide []unix.SockFilter
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func ret(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

// jump goes over yes or no instructions.
func jump(kind uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | kind, K: k, Jt: yes, Jf: no}
}

func refuse(e unix.Errno) unix.SockFilter { return ret(unix.SECCOMP_RET_ERRNO | uint32(e)) }

func allow() unix.SockFilter { return ret(unix.SECCOMP_RET_ALLOW) }

func argument(i uint32) unix.SockFilter { return load(dataArgs + 8*i) }

// oneOf allows a call when an argument is one of some values.
func oneOf(arg uint32, e unix.Errno, values ...uint32) []unix.SockFilter {
	code := []unix.SockFilter{argument(arg)}
	for _, v := range values {
		code = append(code, jump(unix.BPF_JEQ, v, 0, 1), allow())
	}
	return append(code, refuse(e))
}

// noneOf refuses a call when an argument is one of some values.
func noneOf(arg uint32, values ...uint32) []unix.SockFilter {
	code := []unix.SockFilter{argument(arg)}
	for _, v := range values {
		code = append(code, jump(unix.BPF_JEQ, v, 0, 1), refuse(unix.EPERM))
	}
	return append(code, allow())
}

// withoutBits refuses a call when an argument has one of some bits.
func withoutBits(arg, bits uint32) []unix.SockFilter {
	return []unix.SockFilter{argument(arg), jump(unix.BPF_JSET, bits, 0, 1), refuse(unix.EPERM), allow()}
}

// never are calls that none of the processes needs: other programs, other
// processes, other namespaces, the kernel itself, and ways around this filter.
func never() []uintptr {
	return append(legacyNever(),
		unix.SYS_EXECVE, unix.SYS_EXECVEAT,
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
		unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO,
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_REBOOT,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT,
		unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_SETNS, unix.SYS_UNSHARE,
		unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG, unix.SYS_PERSONALITY, unix.SYS_SETHOSTNAME,
		unix.SYS_SETDOMAINNAME, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME,
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_USERFAULTFD,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_MKNODAT, unix.SYS_VHANGUP,
		unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_SETFSUID,
		unix.SYS_SETFSGID, unix.SYS_SETGROUPS, unix.SYS_CAPSET,
	)
}

const (
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	openToWrite   = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_TMPFILE&^unix.O_DIRECTORY
)

// commonRules are for both children: threads but no processes, no memory that
// is code besides the program's, and signals only to itself.
func commonRules(pid int) []rule {
	var rules []rule
	for _, n := range never() {
		rules = append(rules, rule{number: n, errno: unix.EPERM})
	}
	threads := []unix.SockFilter{
		argument(0), jump(unix.BPF_JSET, unix.CLONE_THREAD, 1, 0), refuse(unix.EPERM),
		jump(unix.BPF_JSET, newNamespaces, 0, 1), refuse(unix.EPERM), allow(),
	}
	return append(rules,
		rule{number: unix.SYS_CLONE, decide: threads},
		rule{number: unix.SYS_CLONE3, errno: unix.ENOSYS}, // its flags cannot be looked at; libraries fall back to clone
		rule{number: unix.SYS_MMAP, decide: withoutBits(2, unix.PROT_EXEC)},
		rule{number: unix.SYS_MPROTECT, decide: withoutBits(2, unix.PROT_EXEC)},
		rule{number: unix.SYS_PKEY_MPROTECT, errno: unix.EPERM},
		rule{number: unix.SYS_KILL, decide: oneOf(0, unix.EPERM, uint32(pid))},
		rule{number: unix.SYS_TGKILL, decide: oneOf(0, unix.EPERM, uint32(pid))},
		rule{number: unix.SYS_IOCTL, decide: noneOf(1, unix.TIOCSTI, unix.TIOCLINUX)},
	)
}

// agentRules leave the agent its data folder and its connection.
func agentRules(pid int) []rule {
	return append(commonRules(pid),
		rule{number: unix.SYS_BPF, errno: unix.EPERM},
		rule{number: unix.SYS_PERF_EVENT_OPEN, errno: unix.EPERM},
		rule{number: unix.SYS_FANOTIFY_INIT, errno: unix.EPERM},
		rule{number: unix.SYS_OPEN_BY_HANDLE_AT, errno: unix.EPERM},
		rule{number: unix.SYS_SOCKET, decide: oneOf(0, unix.EAFNOSUPPORT, unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK)},
	)
}

// collectorRules leave the collector everything that can be read. Of sockets it
// has only netlink, by which the kernel tells of interfaces and the like. A
// network namespace of its own would hide those.
func collectorRules(pid int) []rule {
	rules := append(commonRules(pid),
		rule{number: unix.SYS_SOCKET, decide: oneOf(0, unix.EAFNOSUPPORT, unix.AF_NETLINK)},
		rule{number: unix.SYS_OPENAT, decide: withoutBits(2, openToWrite)},
		rule{number: unix.SYS_OPENAT2, errno: unix.ENOSYS}, // its flags cannot be looked at
	)
	for _, n := range append(legacyChanges(),
		unix.SYS_CONNECT, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
		unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKDIRAT, unix.SYS_TRUNCATE,
		unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT,
		unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
	) {
		rules = append(rules, rule{number: n, errno: unix.EPERM})
	}
	return append(rules, legacyOpen()...)
}

// assemble turns rules into a program.
func assemble(rules []rule) []unix.SockFilter {
	code := []unix.SockFilter{
		load(dataArch), jump(unix.BPF_JEQ, auditArch, 1, 0), ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(dataNumber),
	}
	code = append(code, foreignNumbers()...)
	for _, r := range rules {
		body := r.decide
		if body == nil {
			body = []unix.SockFilter{refuse(r.errno)}
		}
		code = append(code, jump(unix.BPF_JEQ, uint32(r.number), 0, uint8(len(body))))
		code = append(code, slices.Clone(body)...)
	}
	return append(code, allow())
}

// confine puts a filter on all threads of this process, for good.
func confine(rules []rule) error {
	code := assemble(rules)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread() // all threads are alike in the end
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("confine: no new privileges: %w", err)
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("confine: filter system calls: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("confine: thread %d has another filter: %w", thread, unix.EBUSY)
	}
	return nil
}
