// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// collectorCapabilities are what collecting needs: BPF programs on trace points
// and control groups, other users' processes and files to read, the audit log,
// and a better place in the queue of the scheduler.
var collectorCapabilities = []uintptr{
	unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_SYS_RESOURCE, unix.CAP_DAC_READ_SEARCH, unix.CAP_AUDIT_READ,
	unix.CAP_SYS_NICE,
}

// mayCollect returns the capabilities of a collector. A kernel that does not
// describe its types takes no BPF programs of ours: what stands in for them
// there watches whole file systems, which only CAP_SYS_ADMIN may.
func mayCollect() []uintptr {
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return append(slices.Clone(collectorCapabilities), unix.CAP_SYS_ADMIN)
	}
	return collectorCapabilities
}

// neededCapabilities are what the supervisor cannot do without.
var neededCapabilities = []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_CHOWN}

// Possible reports why this process cannot run the sensor as three; nil when it can.
func Possible() error {
	if unix.Geteuid() != 0 {
		return fmt.Errorf("not root: %w", unix.EPERM)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for _, c := range neededCapabilities {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return fmt.Errorf("root without capability %d: %w", c, unix.EPERM)
		}
	}
	return nil
}

// launch is how a child starts.
type launch struct {
	role    string // the command that it is started with
	keep    []uintptr
	user    *account // nil: root
	folder  *os.File // that it works in; nil: the root
	control *os.File
	env     []string
}

// spawn starts this program again. What a child may not have is taken from one
// thread, which the child comes from and which ends after that.
func spawn(l launch) (*os.Process, error) {
	type result struct {
		p   *os.Process
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlock
		p, err := l.start()
		done <- result{p, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("start %s: %w", l.role, r.err)
	}
	return r.p, nil
}

// start runs on a thread that is good for nothing else after it.
func (l *launch) start() (*os.Process, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // folder and file mode mask are of this thread alone now
		return nil, fmt.Errorf("part from the other threads: %w", err)
	}
	unix.Umask(0o077)
	if l.folder != nil { // by its descriptor: the folders above it may be closed to the user
		if err := unix.Fchdir(int(l.folder.Fd())); err != nil {
			return nil, fmt.Errorf("go to the data folder: %w", err)
		}
	} else if err := unix.Chdir("/"); err != nil {
		return nil, fmt.Errorf("go to the root folder: %w", err)
	}
	if err := dropBounding(l.keep); err != nil {
		return nil, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("no new privileges: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &os.ProcAttr{
		Env: l.env, Files: []*os.File{null, os.Stdout, os.Stderr, l.control},
		Sys: &syscall.SysProcAttr{Setpgid: true}, // a signal from the terminal is for the supervisor
	}
	if l.user != nil {
		attr.Sys.Credential = &syscall.Credential{Uid: l.user.uid, Gid: l.user.gid}
	}
	return os.StartProcess("/proc/self/exe", []string{os.Args[0], l.role}, attr)
}

// dropBounding leaves a thread's children no capabilities but some.
func dropBounding(keep []uintptr) error {
	for c := uintptr(0); ; c++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			return nil // the kernel knows no more of them
		}
		if has == 0 || slices.Contains(keep, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
}

// environment is what children get of ours: not the service manager's socket,
// which is the supervisor's, no secrets, and no
// settings, which come another way.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return strings.HasPrefix(name, "PICKET_SENSOR_") ||
			slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "PICKET_TOKEN"}, name)
	})
}
