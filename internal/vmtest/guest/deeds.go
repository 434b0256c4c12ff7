// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// closed closes a descriptor that was got only to be seen.
func closed(fd int, err error) error {
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func errorOf(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// onFile does something to a new file "x".
func onFile(do func(name string) error) func(*Act) error {
	return func(a *Act) error {
		if err := os.WriteFile(a.Path("x"), nil, 0o600); err != nil {
			return err
		}
		return do(a.Path("x"))
	}
}

// onThread does what changes a thread and not the process.
func onThread(do func() error) func(*Act) error {
	return func(*Act) error {
		runtime.LockOSThread()
		return do()
	}
}

// beside starts a process, does something to it once it waits, and ends it.
func beside(a *Act, credential *syscall.Credential, do func(pid int) error) error {
	cmd := a.self("wait")
	if credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
		cmd.Dir = "/" // that of the act may be closed to the user
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err = out.Read(make([]byte, 1)); err == nil {
		err = do(cmd.Process.Pid)
	}
	in.Close()
	_ = cmd.Process.Kill() // one that was traced may have stopped
	_ = cmd.Wait()
	return err
}

// ---- files --------------------------------------------------------------

func changesOpen(a *Act) error {
	if err := os.WriteFile(a.Path("x"), nil, 0o600); err != nil {
		return err
	}
	f, err := os.Open(a.Path("x"))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(0o666)
}

func setsBack(name string) error {
	past := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	return os.Chtimes(name, past, past)
}

func mounting(a *Act) error {
	at := a.Path("at")
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("picket-test", at, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "size=64k"); err != nil {
		return err
	}
	return unix.Unmount(at, unix.MNT_DETACH)
}

func movesMount(a *Act) error {
	if err := errors.Join(os.Mkdir(a.Path("from"), 0o755), os.Mkdir(a.Path("at"), 0o755)); err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, a.Path("from"), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, a.Path("at"), unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	return unix.Unmount(a.Path("at"), unix.MNT_DETACH)
}

func mapsCode(a *Act) error {
	if err := os.WriteFile(a.Path("library"), bytes.Repeat([]byte{0xc3}, 4096), 0o755); err != nil {
		return err
	}
	f, err := os.Open(a.Path("library"))
	if err != nil {
		return err
	}
	defer f.Close()
	code, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	return unix.Munmap(code)
}

// ---- rights -------------------------------------------------------------

func becomes(*Act) error {
	runtime.LockOSThread()
	return errors.Join(syscall.Setgid(4242), syscall.Setuid(4242))
}

func takesGroups(*Act) error { return syscall.Setgroups([]int{4, 27}) }

// gains becomes a user without rights and starts an image that permits one to
// it, which then takes it.
func gains(a *Act) error {
	own, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.Path("capable"), own, 0o755); err != nil {
		return err
	}
	if err := unix.Setxattr(a.Path("capable"), "security.capability", capNetRaw(0), 0); err != nil {
		return err
	}
	f, err := os.Open(a.Path("capable")) // its folder may be closed to the user
	if err != nil {
		return err
	}
	if err := becomes(a); err != nil {
		return err
	}
	var empty byte
	var args [4]*byte
	for i, text := range []string{"capable", marker, "raise"} {
		if args[i], err = unix.BytePtrFromString(text); err != nil {
			return err
		}
	}
	var env [1]*byte
	_, _, e := unix.RawSyscall6(unix.SYS_EXECVEAT, f.Fd(), uintptr(unsafe.Pointer(&empty)), uintptr(unsafe.Pointer(&args)),
		uintptr(unsafe.Pointer(&env)), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("start the image: %w", e)
}

// raises takes all capabilities that are permitted.
func raises() error {
	runtime.LockOSThread()
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held [2]unix.CapUserData
	if err := unix.Capget(&h, &held[0]); err != nil {
		return err
	}
	for i := range held {
		held[i].Effective = held[i].Permitted
	}
	return unix.Capset(&h, &held[0])
}

func startsElsewhere(a *Act) error {
	cmd := a.self("exit", "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUTS}
	return cmd.Run()
}

func entersNamespace(*Act) error {
	runtime.LockOSThread()
	f, err := os.Open("/proc/self/ns/uts")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWUTS)
}

// allowing is a filter for system calls or packets that takes all of them.
func allowing() *unix.SockFprog {
	return &unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000}}
}

func filtersByPrctl(*Act) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(allowing())), 0, 0)
}

func filtersBySeccomp(*Act) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, 1, 0, uintptr(unsafe.Pointer(allowing())))
	return errorOf(e)
}

// renames gives the main thread, and so the process, another name.
func renames(*Act) error {
	if unix.Gettid() != os.Getpid() {
		return errors.New("not the main thread")
	}
	name := []byte("kworker/7:7\x00")
	return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
}

func fixesLayout(*Act) error {
	_, _, e := unix.Syscall(unix.SYS_PERSONALITY, 0x40000, 0, 0)
	return errorOf(e)
}

func makesMemoryFile(*Act) error {
	return closed(unix.MemfdCreate("picket-test-memory", unix.MFD_CLOEXEC))
}

// ---- other processes ----------------------------------------------------

func traces(a *Act) error {
	runtime.LockOSThread()
	return beside(a, nil, func(pid int) error {
		if err := unix.PtraceAttach(pid); err != nil {
			return err
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
			return err
		}
		return unix.PtraceDetach(pid)
	})
}

// reachesInto reads the beginning of a writable mapping of another process and
// writes it back.
func reachesInto(a *Act) error {
	return beside(a, nil, func(pid int) error {
		maps, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
		if err != nil {
			return err
		}
		for line := range bytes.Lines(maps) {
			from, _, _ := bytes.Cut(line, []byte("-"))
			address, err := strconv.ParseUint(string(from), 16, 64)
			if err != nil || !bytes.Contains(line, []byte(" rw-p ")) {
				continue
			}
			kept := make([]byte, 8)
			local := []unix.Iovec{{Base: &kept[0], Len: 8}}
			remote := []unix.RemoteIovec{{Base: uintptr(address), Len: 8}}
			if _, err := unix.ProcessVMReadv(pid, local, remote, 0); err != nil {
				return err
			}
			_, err = unix.ProcessVMWritev(pid, local, remote, 0)
			return err
		}
		return errors.New("no writable mapping")
	})
}

func signals(a *Act) error {
	return beside(a, &syscall.Credential{Uid: 4243, Gid: 4243}, func(pid int) error { return unix.Kill(pid, unix.SIGTERM) })
}

// ---- the kernel ---------------------------------------------------------

func loadsModule(*Act) error {
	f, err := os.Open(Module)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "numdummies=0", 0); err != nil {
		return err
	}
	return unix.DeleteModule("dummy", unix.O_NONBLOCK)
}

func prepares(*Act) error {
	_, _, e := unix.Syscall6(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0, 0, 0)
	return errorOf(e)
}

func loadsProgram(*Act) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "picket_test", Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err != nil {
		return err
	}
	return p.Close()
}

func makesMap(*Act) error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "picket_test", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return err
	}
	return m.Close()
}

func opensCounter(*Act) error {
	return closed(unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC))
}

func makesQueue(*Act) error {
	var parameters [120]byte
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&parameters)), 0)
	return closed(int(fd), errorOf(e))
}

func opensPort(*Act) error {
	_, _, e := unix.Syscall(unix.SYS_IOPERM, 128, 1, 1)
	return errorOf(e)
}

func namesHost(*Act) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
		return err
	}
	return unix.Sethostname([]byte("picket-test"))
}

func setsClock(*Act) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return err
	}
	return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
}

func asksRestart(*Act) error {
	_, _, e := unix.Syscall6(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, 0x7ec0de, 0, 0, 0)
	if e != unix.EINVAL {
		return fmt.Errorf("a command that does not exist: %w", e)
	}
	return nil
}

// ---- sockets ------------------------------------------------------------

func makesSocket(family, protocol int) func(*Act) error {
	return func(*Act) error { return closed(unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)) }
}

func attachesFilter(*Act) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, allowing())
}

func connectsDaemon(a *Act) error {
	if err := os.Chdir(a.Dir); err != nil { // an address of a socket is short
		return err
	}
	l, err := net.Listen("unix", "docker.sock")
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := net.Dial("unix", "docker.sock")
	if err != nil {
		return err
	}
	return c.Close()
}
