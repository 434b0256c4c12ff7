// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor"
)

// supervised names the data folder in the environment of a test's supervisor.
const supervised = "PICKET_TEST_SPLIT"

// script is what the collector of a test does; it is the configuration of the
// supervisor.
type script struct {
	Rows  int           // to make
	Pause time.Duration // after each hundred
	Fail  string        // why the collector cannot be opened
}

func TestMain(m *testing.M) {
	role := ""
	if len(os.Args) > 1 && checkControl() == nil {
		role = os.Args[1]
	}
	switch {
	case role == RoleCollector || role == RoleAgent:
		runRole(role)
	case os.Getenv(supervised) != "":
		runSupervisor(os.Getenv(supervised))
	}
	os.Exit(m.Run())
}

func testLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1}))
}

// runSupervisor is a whole sensor until it is told to stop.
func runSupervisor(dir string) {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	notify := func(state string) error {
		fmt.Println("notify", state)
		return nil
	}
	err := Run(ctx, Options{Dir: dir, Config: []byte(os.Getenv("PICKET_TEST_SCRIPT")), Log: testLog(), Notify: notify})
	stop()
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

// runRole is one of the children.
func runRole(role string) {
	child, ctx, err := Join(context.Background(), role)
	if err == nil {
		fmt.Println("probes", role, strings.Join(probes(), " "))
		if role == RoleCollector {
			err = child.Collect(ctx, CollectOptions{Log: testLog(), Open: opener(child.Config)})
		} else {
			err = child.Agent(ctx, sensor.Options{Log: testLog(), Proxy: sensor.ProxyDirect, Timing: sensor.Timing{Flush: 5 * time.Millisecond, Health: 100 * time.Millisecond}})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// probes tries what an attacker would and names what worked.
func probes() []string {
	var worked []string
	try := func(name string, err error) {
		if err == nil {
			worked = append(worked, name)
		}
	}
	for name, family := range map[string]int{"inet": unix.AF_INET, "inet6": unix.AF_INET6, "unix": unix.AF_UNIX, "packet": unix.AF_PACKET, "vsock": unix.AF_VSOCK, "netlink": unix.AF_NETLINK} {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
		if family == unix.AF_PACKET && errors.Is(err, unix.EPERM) {
			err = nil // no capability: the filter would have said something else
		}
		try("socket-"+name, err)
		unix.Close(fd)
	}
	_, err := os.StartProcess("/proc/self/exe", []string{"x"}, &os.ProcAttr{})
	try("process", err)
	try("execve", unix.Exec("/bin/true", []string{"true"}, nil))
	try("ptrace", unix.PtraceAttach(os.Getppid()))
	try("unshare", unix.Unshare(unix.CLONE_NEWUSER))
	try("mount", unix.Mount("none", "/mnt", "tmpfs", 0, ""))
	try("setuid", unix.Setresuid(1, 1, 1))
	try("signal", unix.Kill(os.Getppid(), 0))
	_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
	try("io_uring", refused(errno))
	_, _, errno = unix.Syscall(unix.SYS_BPF, 0, 0, 0)
	try("bpf", refused(errno))
	_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	try("code", err)
	f, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	try("write", err)
	f.Close()
	f, err = os.Open("/etc/passwd")
	try("read", err)
	f.Close()
	slices.Sort(worked)
	return worked
}

// refused is an error when a filter refused the call, and nil when the kernel
// looked at its arguments.
func refused(errno unix.Errno) error {
	if errno == unix.EPERM || errno == unix.ENOSYS {
		return errno
	}
	return nil
}

// numbers is a collector that makes rows with running numbers.
type numbers struct {
	script
	o sensor.CollectorOptions
}

func opener(config json.RawMessage) sensor.OpenCollector {
	var s script
	err := json.Unmarshal(config, &s)
	return func(_ context.Context, o sensor.CollectorOptions) (sensor.Collector, error) {
		if s.Fail != "" {
			err = errors.New(s.Fail)
		}
		return &numbers{script: s, o: o}, err
	}
}

func (c *numbers) Run(ctx context.Context) error {
	for n := range c.Rows {
		row := &event.DeviceFileEvents{
			Timestamp: event.TimeOf(time.Now()), ActionType: "FileCreated", FileName: fmt.Sprintf("%d/%d", os.Getpid(), n), FolderPath: strings.Repeat("x", n%500),
		}
		for !c.o.Sink(row) && ctx.Err() == nil { // wait for room: these tests are about being killed
			time.Sleep(time.Millisecond)
		}
		if ctx.Err() != nil {
			return nil
		}
		if n%100 == 99 && c.Pause > 0 {
			time.Sleep(c.Pause) // load
		}
	}
	fmt.Println("made", os.Getpid(), c.Rows)
	<-ctx.Done()
	return nil
}
func (c *numbers) Hooks() []picket.Hook {
	return []picket.Hook{{Kind: "file", Rung: "script", Attached: true}}
}
func (c *numbers) Rung() string { return "script" }
func (c *numbers) Counters() (events, lost map[string]uint64) {
	return map[string]uint64{"DeviceFileEvents": uint64(c.Rows)}, map[string]uint64{"ring.file": 3}
}
func (c *numbers) Close() error { return nil }

// TestProcesses looks at the three processes from outside, and lets two of
// them try what they must not do.
func TestProcesses(t *testing.T) {
	h := newHarness(t, script{Rows: 10})
	h.start()
	defer h.stop()
	want := map[string][]string{
		RoleCollector: {"bpf", "read", "socket-netlink"},
		RoleAgent:     {"read", "socket-inet", "socket-inet6", "socket-netlink", "socket-unix", "write"},
	}
	for range 2 {
		f := strings.Fields(h.said("probes"))
		if got := f[2:]; !slices.Equal(got, want[f[1]]) {
			t.Errorf("%s can do %v, want %v", f[1], got, want[f[1]])
		}
	}
	s := h.until("all processes", func(s *sensor.Status) bool {
		return len(s.Processes) == 3 && s.Connected && s.Lost["ring.file"] == 3 && s.Events["DeviceFileEvents"] == 10
	})
	if s.PID != h.cmd.Process.Pid || s.Rung != "script" || len(s.Hooks) != 1 {
		t.Errorf("%+v", s)
	}
	var rss uint64
	for i, role := range []string{roleSupervisor, RoleCollector, RoleAgent} {
		p := s.Processes[i]
		rss += p.RSSBytes
		if p.Role != role {
			t.Errorf("process %d is the %s", i, p.Role)
		}
		if own := sensor.ReadProcess(p.PID, role); own.UID != p.UID || own.Capabilities != p.Capabilities || own.Seccomp != p.Seccomp || !own.NoNewPrivileges && role != roleSupervisor {
			t.Errorf("the sensor says %+v, the kernel %+v", p, own)
		}
	}
	if rss != s.RSSBytes {
		t.Errorf("%d bytes in all, the processes have %d", s.RSSBytes, rss)
	}
	collector, agent := s.Processes[1], s.Processes[2]
	if collector.UID != 0 || !collector.Seccomp || len(strings.TrimLeft(collector.Capabilities, "0")) > 10 {
		t.Errorf("collector: %+v", collector)
	}
	if agent.UID != int(agentAccount(readPasswd()).uid) || !agent.Seccomp || agent.Capabilities != "" {
		t.Errorf("agent: %+v", agent)
	}
	for _, p := range []sensor.Process{collector, agent} {
		h.hardened(p)
	}
	h.private(uint32(agent.UID))
}

// hardened looks at what /proc says of a child beyond the status.
func (h *harness) hardened(p sensor.Process) {
	h.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		h.t.Fatal(err)
	}
	bounding := ""
	for line := range strings.Lines(string(b)) {
		if key, value, _ := strings.Cut(line, ":"); key == "CapBnd" {
			bounding = strings.TrimLeft(strings.TrimSpace(value), "0")
		} else if (key == "CapInh" || key == "CapAmb") && strings.Trim(strings.TrimSpace(value), "0") != "" {
			h.t.Errorf("%s: %s", p.Role, line)
		}
	}
	if want := strings.TrimLeft(p.Capabilities, "0"); bounding != want {
		h.t.Errorf("%s can come to have %s, has %s", p.Role, bounding, want)
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.PID))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, task := range tasks { // the filter is on every thread
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", p.PID, task.Name()))
		if err == nil && (!strings.Contains(string(b), "Seccomp:\t2") || !strings.Contains(string(b), "NoNewPrivs:\t1")) {
			h.t.Errorf("a thread of %s is not confined", p.Role)
		}
	}
}

// private looks for files of the data folder that others could read.
func (h *harness) private(uid uint32) {
	h.t.Helper()
	err := filepath.WalkDir(h.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mode&0o077 != 0 || st.Uid != uid {
			h.t.Errorf("%s has mode %o and belongs to %d", path, st.Mode, st.Uid)
		}
		return nil
	})
	if err != nil {
		h.t.Error(err)
	}
}
