// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

// deedsVariable makes the test binary do something to be seen, and end.
const deedsVariable = "PICKET_TEST_DEED"

// deeds are what a child process does. What may be refused here is done all
// the same: some refusals are told.
var deeds = map[string]func() error{
	"setuid": func() error {
		runtime.LockOSThread()
		if err := syscall.Setgid(4242); err != nil {
			return err
		}
		return syscall.Setuid(4242)
	},
	"groups": func() error { return syscall.Setgroups([]int{4, 27}) },
	"capset": func() error {
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var held, less [2]unix.CapUserData
		if err := unix.Capget(&h, &held[0]); err != nil {
			return err
		}
		less = held
		less[0].Effective &^= 1 << unix.CAP_CHOWN
		if err := unix.Capset(&h, &less[0]); err != nil {
			return err
		}
		return unix.Capset(&h, &held[0])
	},
	"unshare": func() error { runtime.LockOSThread(); return unix.Unshare(unix.CLONE_NEWUTS) },
	"setns": func() error {
		runtime.LockOSThread()
		f, err := os.Open("/proc/self/ns/uts")
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Setns(int(f.Fd()), unix.CLONE_NEWUTS)
	},
	"chroot": func() error { return unix.Chroot(os.TempDir()) },
	"rename": func() error {
		runtime.LockOSThread()
		name := []byte("kworker/7:7\x00")
		return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	},
	"dumpable":    func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) },
	"ptracer":     func() error { return ignore(unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0)) },
	"personality": func() error { _, _, e := unix.Syscall(unix.SYS_PERSONALITY, 0x40000, 0, 0); return errOf(e) },
	"memfd": func() error {
		fd, err := unix.MemfdCreate("picket-test-memory", unix.MFD_CLOEXEC)
		return closing(fd, err)
	},
	"uring": func() error {
		var params [120]byte
		fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0)
		return closing(int(fd), errOf(e))
	},
	"perf": func() error {
		fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY,
			Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		return closing(fd, err)
	},
	"raw": func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		return closing(fd, err)
	},
	"packet": func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0x0300)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: 6}}) // take nothing
	},
	"bpf": func() error {
		attr := struct {
			kind, key, value, entries, flags, inner, node uint32
			name                                          [16]byte
		}{kind: 2, key: 4, value: 8, entries: 1}
		copy(attr.name[:], "picket_test")
		fd, _, e := unix.Syscall(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		return closing(int(fd), errOf(e))
	},
	"hostname": func() error {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil { // of its own
			return err
		}
		return unix.Sethostname([]byte("picket-test"))
	},
	"reboot": func() error { // refused: the command does not exist
		_, _, _ = unix.Syscall6(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, 0x7ec0de, 0, 0, 0)
		return nil
	},
	"memory": func() error {
		fd, err := unix.Open("/dev/mem", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return ignore(closing(fd, err))
	},
}

func ignore(error) error { return nil }

func errOf(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

func closing(fd int, err error) error {
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// doDeed is called by TestMain in the child.
func doDeed(name string) {
	if err := deeds[name](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child runs a deed and returns its process id; the test is skipped where the
// host does not permit it.
func child(t *testing.T, name string) int64 {
	t.Helper()
	c := exec.Command("/proc/self/exe", "-test.run=^$")
	c.Env = append(os.Environ(), deedsVariable+"="+name)
	if out, err := c.CombinedOutput(); err != nil {
		t.Skipf("%s is not possible here: %v %s", name, err, out)
	}
	return int64(c.Process.Pid)
}

// did waits for a row of a process.
func did(l *live, pid int64, action string) *event.DeviceEvents {
	l.t.Helper()
	return find(l, func(r *event.DeviceEvents) bool { return r.ActionType == action && r.InitiatingProcessId == pid })
}

func TestLiveDeeds(t *testing.T) {
	l := startLive(t, nil)
	for _, c := range []struct{ deed, action, want string }{
		{"setuid", "ProcessUserChanged", `"EffectiveUserId":4242,"Method":"setuid","PreviousEffectiveUserId":0,"PreviousUserId":0,`},
		{"setuid", "ProcessGroupChanged", `"GroupId":4242`},
		{"groups", "ProcessGroupsChanged", `"GroupCount":2,"Groups":[4,27]`},
		{"unshare", "NamespaceCreated", `"Namespaces":["Uts"]`},
		{"setns", "NamespaceEntered", `"Namespaces":["Uts"]`},
		{"chroot", "RootDirectoryChanged", ""},
		{"rename", "ProcessRenamed", `"ProcessName":"kworker/7:7"`},
		{"dumpable", "ProcessDumpableChanged", `"Dumpable":0`},
		{"personality", "ProcessPersonalityChanged", "NoAddressRandomization"},
		{"memfd", "MemoryFileCreated", `"MemoryFileName":"picket-test-memory"`},
		{"uring", "IoUringCreated", `"Entries":4`},
		{"perf", "PerfEventOpened", `"EventType":"Software"`},
		{"raw", "RawSocketCreated", `"Family":"IPv4","SocketProtocol":"Icmp"`},
		{"packet", "PacketSocketCreated", `"EtherType":"0x3"`},
		{"packet", "SocketFilterAttached", `"Family":"Packet"`},
		{"hostname", "HostNameChanged", `"HostName":"picket-test"`},
		{"reboot", "SystemRebootRequested", `"Command":"8306910"`},
	} {
		t.Run(c.deed+" "+c.action, func(t *testing.T) {
			r := did(l, child(t, c.deed), c.action)
			if !strings.Contains(r.AdditionalFields, c.want) || r.InitiatingProcessUniqueId == "" {
				t.Errorf("%v, want %s", columns(r), c.want)
			}
		})
	}
	pid := child(t, "bpf") // the library that loads programs makes a map of its own, too
	find(l, func(r *event.DeviceEvents) bool {
		return r.ActionType == "BpfMapCreated" && r.InitiatingProcessId == pid && strings.Contains(r.AdditionalFields, `"MapType":"Array","Name":"picket_test"`)
	})
	l.stop()
	for _, r := range all(l, func(r *event.DeviceEvents) bool { return r.ActionType == "UnexplainedPrivilegeGain" }) {
		t.Errorf("nothing was gained: %v", columns(r))
	}
}

// A capability that was put down and taken up again is no gain.
func TestLiveCapabilities(t *testing.T) {
	l := startLive(t, nil)
	pid := child(t, "capset")
	find(l, func(r *event.DeviceProcessEvents) bool { return r.ActionType == "ProcessExited" && r.ProcessId == pid })
	if rows := all(l, func(r *event.DeviceEvents) bool {
		return r.ActionType == "ProcessCapabilitiesGained" && r.InitiatingProcessId == pid
	}); len(rows) > 0 {
		t.Errorf("%v", columns(rows[0]))
	}
}

// Without the device the name is refused before it is told.
func TestLiveMemoryOpened(t *testing.T) {
	if _, err := os.Stat("/dev/mem"); err != nil {
		t.Skip("no /dev/mem here")
	}
	l := startLive(t, nil)
	r := did(l, child(t, "memory"), "KernelMemoryOpened")
	if r.FolderPath != "/dev/mem" || !strings.Contains(r.AdditionalFields, `"Access":"Read"`) {
		t.Errorf("%v", columns(r))
	}
}

func TestLiveOtherProcesses(t *testing.T) {
	l := startLive(t, nil)
	c := exec.Command("/bin/sleep", "1000")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4243, Gid: 4243}}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := c.Process.Pid
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	find(l, func(r *event.DeviceProcessEvents) bool { return r.ProcessId == int64(pid) && r.FileName == "sleep" })
	self := int64(os.Getpid())

	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	about := func(action, want string) *event.DeviceEvents {
		t.Helper()
		r := find(l, func(r *event.DeviceEvents) bool {
			return r.ActionType == action && r.InitiatingProcessId == self && r.ProcessId == int64(pid)
		})
		if !strings.Contains(r.AdditionalFields, want) || !strings.HasSuffix(r.ProcessCommandLine, "sleep 1000") || r.AccountSid != "4243" {
			t.Errorf("%v, want %s", columns(r), want)
		}
		return r
	}
	about("WriteProcessMemoryApiCall", `"Method":"mem"`)

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err == nil {
		about("PTraceDetected", `"Request":"Seize"`)
		_ = unix.PtraceDetach(pid) // only stopped ones can be let go of; the end of the thread does
	}
	buf := make([]byte, 8)
	_, _ = unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &buf[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x1000, Len: 8}}, 0) // nothing is there
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if r := about("ProcessSignalSent", `"Signal":"SIGCONT"`); !strings.Contains(r.AdditionalFields, `"TargetOfOtherUser":true`) || r.FileName != "sleep" {
		t.Errorf("%v", columns(r))
	}
}

// Signals of the same user are told only where they are meant for the sensor
// or a security tool.
func TestLiveTampering(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "osqueryd")
	raw, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tool, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	start := func(path string) *exec.Cmd {
		c := exec.Command(path, "1000")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		return c
	}
	sensor := start("/bin/sleep")
	l := startLive(t, func(o *Options) { o.ExcludePIDs = []int{sensor.Process.Pid} })
	guarded, plain := start(tool), start("/bin/sleep")
	for _, c := range []*exec.Cmd{plain, guarded, sensor} {
		if err := c.Process.Signal(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, guarded.Process.Pid, 19); err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: 64, Max: 64}
	if err := unix.Prlimit(guarded.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	self := int64(os.Getpid())
	if r := did(l, self, "TamperingAttempt"); r.ProcessId != int64(sensor.Process.Pid) || !strings.Contains(r.AdditionalFields, "TargetIsSensor") {
		t.Errorf("%v", columns(r))
	}
	if r := did(l, self, "ProcessSignalSent"); r.ProcessId != int64(guarded.Process.Pid) || !strings.Contains(r.AdditionalFields, "TargetIsSecurityTool") {
		t.Errorf("%v", columns(r))
	}
	if r := did(l, self, "ProcessPriorityChanged"); !strings.Contains(r.AdditionalFields, `"Nice":19`) {
		t.Errorf("%v", columns(r))
	}
	if r := did(l, self, "ProcessLimitChanged"); !strings.Contains(r.AdditionalFields, `"Limit":64,"Resource":"OpenFiles"`) {
		t.Errorf("%v", columns(r))
	}
}
