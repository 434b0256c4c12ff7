// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

func TestOpenChecksItsOptions(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), Options{}); !errors.Is(err, picket.Invalid) {
		t.Errorf("got %v", err)
	}
}

func created(pid int) func(*event.DeviceProcessEvents) bool {
	return func(r *event.DeviceProcessEvents) bool {
		return r.ActionType == "ProcessCreated" && r.ProcessId == int64(pid)
	}
}

func exited(pid int) func(*event.DeviceProcessEvents) bool {
	return func(r *event.DeviceProcessEvents) bool {
		return r.ActionType == "ProcessExited" && r.ProcessId == int64(pid)
	}
}

// hashed runs a program until its image has been hashed, which a busy host
// may not manage for the first row.
func hashed(t *testing.T, l *live, name string, args ...string) {
	t.Helper()
	for range 100 {
		c := exec.Command(name, args...)
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		if find(l, created(c.Process.Pid)).SHA256 != "" {
			return
		}
	}
	t.Fatalf("%s is never hashed", name)
}

func TestLiveProcess(t *testing.T) {
	l := startLive(t, nil)
	hashed(t, l, "/bin/sh", "-c", "true")
	dir := t.TempDir()
	long := strings.Repeat("a long argument ", 1000)
	c := exec.Command("/bin/sh", "-c", "/bin/true 'two words' \"$0\"; exit 7", long)
	c.Dir = dir
	c.Env = []string{"LD_PRELOAD=", "SECRET=x", "SSH_CONNECTION=192.0.2.7 50000 192.0.2.1 22"}
	if err := c.Run(); err == nil {
		t.Fatal("the shell should have failed")
	}
	shell := find(l, created(c.Process.Pid))
	raw, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	exe, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	self := find(l, func(r *event.DeviceProcessEvents) bool {
		return r.ActionType == "ProcessFound" && r.ProcessId == int64(os.Getpid())
	})
	for name, c := range map[string][2]any{
		"FolderPath":                {shell.FolderPath, exe},
		"FileName":                  {shell.FileName, filepath.Base(exe)},
		"ProcessCurrentDirectory":   {shell.ProcessCurrentDirectory, dir},
		"SHA256":                    {shell.SHA256, hex.EncodeToString(sum[:])},
		"FileSize":                  {shell.FileSize, int64(len(raw))},
		"AccountName":               {shell.AccountName, "root"},
		"ProcessUserId":             {shell.ProcessUserId, event.LongOf(0)},
		"ProcessEnvironment":        {shell.ProcessEnvironment, `{"LD_PRELOAD":"","SSH_CONNECTION":"192.0.2.7 50000 192.0.2.1 22"}`},
		"ProcessRemoteSessionIP":    {shell.ProcessRemoteSessionIP, "192.0.2.7"},
		"IsProcessRemoteSession":    {shell.IsProcessRemoteSession, true},
		"InitiatingProcessId":       {shell.InitiatingProcessId, int64(os.Getpid())},
		"InitiatingProcessUniqueId": {shell.InitiatingProcessUniqueId, self.ProcessUniqueId},
		"IsSnapshot":                {shell.IsSnapshot, false},
		"IsFileless":                {shell.IsFileless, false},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %v, want %v", name, c[0], c[1])
		}
	}
	if !strings.HasSuffix(shell.ProcessCommandLine, `"`+long+`"`) || len(shell.SHA1) != 40 || len(shell.MD5) != 32 || shell.ProcessCreationTime == 0 {
		t.Errorf("row %.200v", columns(shell))
	}
	child := find(l, func(r *event.DeviceProcessEvents) bool {
		return r.ActionType == "ProcessCreated" && r.InitiatingProcessUniqueId == shell.ProcessUniqueId
	})
	if child.FileName != "true" || !strings.HasPrefix(child.ProcessCommandLine, `/bin/true "two words"`) || child.InitiatingProcessParentUniqueId != self.ProcessUniqueId {
		t.Errorf("child %.300v", columns(child))
	}
	end := find(l, exited(c.Process.Pid))
	if end.ProcessExitCode != event.LongOf(7) || end.ProcessExitSignal != 0 || end.ProcessUniqueId != shell.ProcessUniqueId ||
		!end.ProcessLifetimeMs.Valid || end.Timestamp < shell.Timestamp {
		t.Errorf("end %.300v", columns(end))
	}
}

func TestLiveLongArguments(t *testing.T) {
	l := startLive(t, nil)
	args := []string{}
	for range 9 {
		args = append(args, strings.Repeat("x", 10_000))
	}
	c := exec.Command("/bin/true", args...)
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	r := find(l, created(c.Process.Pid))
	if n := len(r.ProcessCommandLine); n < 32000 || n > 33000 {
		t.Errorf("%d bytes of arguments", n)
	}
	if !strings.Contains(r.AdditionalFields, `"CommandLineBytes":90`) {
		t.Errorf("the cut is not told: %s", r.AdditionalFields)
	}
}

func TestLiveSignalAndUser(t *testing.T) {
	l := startLive(t, nil)
	c := exec.Command("/bin/sleep", "60")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1, Gid: 1}, Setsid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r := find(l, created(c.Process.Pid))
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // killed
	if r.AccountName != "daemon" || r.ProcessUserId != event.LongOf(1) || r.ProcessEffectiveGroupId != event.LongOf(1) ||
		r.ProcessCapabilities != "" || r.CreatedProcessSessionId != int64(c.Process.Pid) {
		t.Errorf("row %v", columns(r))
	}
	if end := find(l, exited(c.Process.Pid)); end.ProcessExitSignal != 9 {
		t.Errorf("signal %d", end.ProcessExitSignal)
	}
}

func TestLiveTerminal(t *testing.T) {
	l := startLive(t, nil)
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	name := "pts/" + itoa(uint32(n))
	slave, err := os.OpenFile("/dev/"+name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	c := exec.Command("/bin/true")
	c.Stdin = slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if r := find(l, created(c.Process.Pid)); r.ProcessTty != name {
		t.Errorf("terminal %q, want %q", r.ProcessTty, name)
	}
}

// An image without a name, as malware uses it.
func TestLiveMemoryFile(t *testing.T) {
	l := startLive(t, nil)
	fd, err := unix.MemfdCreate("evil", 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "evil")
	defer f.Close()
	raw, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(raw); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/fd/3", "x")
	c.ExtraFiles = []*os.File{f}
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	r := find(l, created(c.Process.Pid))
	if !r.IsFileless || r.FileName != "memfd:evil" || r.FolderPath != "/memfd:evil" {
		t.Errorf("row %v", columns(r))
	}
}

// One process that runs one image after the other keeps its identity.
func TestLiveExecChain(t *testing.T) {
	l := startLive(t, nil)
	c := exec.Command("/bin/sh", "-c", "exec /bin/echo done")
	c.Stdout = &bytes.Buffer{}
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	find(l, exited(c.Process.Pid))
	rows := all(l, created(c.Process.Pid))
	if len(rows) != 2 || rows[0].ProcessUniqueId != rows[1].ProcessUniqueId || rows[1].FileName != "echo" ||
		rows[1].InitiatingProcessId != int64(os.Getpid()) || !strings.Contains(rows[1].AdditionalFields, "PreviousImage") {
		for _, r := range rows {
			t.Logf("%v", columns(r))
		}
		t.Errorf("%d rows", len(rows))
	}
}

// A parent that ended before its child acts is still its parent, and the next
// process with its id is not.
func TestLiveParentsSurviveReuse(t *testing.T) {
	l := startLive(t, nil)
	out, err := exec.Command("/bin/sh", "-c", "(/bin/sleep 0.3; /bin/echo late >/dev/null) & echo $$").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for _, ch := range strings.TrimSpace(string(out)) {
		pid = pid*10 + int(ch-'0')
	}
	parent := find(l, created(pid))
	second := reuse(t, l, uint32(pid))
	late := find(l, func(r *event.DeviceProcessEvents) bool {
		return r.FileName == "sleep" && r.ActionType == "ProcessExited" && r.ProcessCommandLine == "/bin/sleep 0.3"
	})
	if second.ProcessUniqueId == parent.ProcessUniqueId {
		t.Error("two processes with one id have one GUID")
	}
	if late.InitiatingProcessParentUniqueId != parent.ProcessUniqueId {
		t.Errorf("grandparent %s, want %s", late.InitiatingProcessParentUniqueId, parent.ProcessUniqueId)
	}
}

// reuse starts a process under a process id that is free again, which the
// kernel allows root to choose.
func reuse(t *testing.T, l *live, pid uint32) *event.DeviceProcessEvents {
	t.Helper()
	// A vfork-like clone3 from Go is not safe: ask a helper that forks alone.
	script := `import ctypes, os, struct, sys
pid = int(sys.argv[1])
tid = ctypes.c_int(pid)
args = struct.pack("=8Q", 0, 0, 0, 0, 17, 0, 0, 0) + struct.pack("=3Q", ctypes.addressof(tid), 1, 0)
buf = ctypes.create_string_buffer(args, len(args))
r = ctypes.CDLL(None, use_errno=True).syscall(435, buf, len(args))
if r == 0:
    os.execv("/bin/true", ["/bin/true", "again"])
if r < 0:
    sys.exit(ctypes.get_errno())
os.waitpid(r, 0)
`
	if out, err := exec.Command("python3", "-c", script, itoa(pid)).CombinedOutput(); err != nil {
		t.Skipf("the process id cannot be chosen here: %v %s", err, out)
	}
	return find(l, func(r *event.DeviceProcessEvents) bool {
		return r.ActionType == "ProcessCreated" && r.ProcessId == int64(pid) && r.ProcessCommandLine == "/bin/true again"
	})
}

func itoa(n uint32) string {
	b := []byte{}
	for {
		b = append(b, byte('0'+n%10))
		if n /= 10; n == 0 {
			slices.Reverse(b)
			return string(b)
		}
	}
}

func TestLiveSnapshot(t *testing.T) {
	c := exec.Command("/bin/sleep", "30")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	l := startLive(t, nil)
	r := find(l, func(r *event.DeviceProcessEvents) bool {
		return r.ActionType == "ProcessFound" && r.ProcessId == int64(c.Process.Pid)
	})
	if !r.IsSnapshot || r.FileName != "sleep" || r.ProcessCommandLine != "/bin/sleep 30" || r.InitiatingProcessId != int64(os.Getpid()) ||
		r.SHA256 == "" && l.lost.copy()["hash.late"] == 0 {
		t.Errorf("row %v", columns(r))
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if end := find(l, exited(c.Process.Pid)); end.ProcessUniqueId != r.ProcessUniqueId {
		t.Errorf("found as %s, ended as %s", r.ProcessUniqueId, end.ProcessUniqueId)
	}
	if n := len(all(l, created(c.Process.Pid))); n != 0 {
		t.Errorf("%d rows say that it started", n)
	}
	find(l, func(r *event.DeviceInfo) bool { return r.OSPlatform == "Linux" && r.OSArchitecture != "" })
	find(l, func(r *event.DeviceNetworkInfo) bool { return r.NetworkAdapterName == "lo" })
}

// su is recognised by what it does where no log tells.
func TestLiveBecomingAnotherUser(t *testing.T) {
	if _, err := os.Stat("/var/log/auth.log"); err == nil {
		t.Skip("this host has an authentication log, which tells first")
	}
	l := startLive(t, nil)
	if out, err := exec.Command("su", "daemon", "-s", "/bin/sh", "-c", "/bin/true").CombinedOutput(); err != nil {
		t.Skipf("su does not work here: %v %s", err, out)
	}
	r := find(l, func(r *event.DeviceLogonEvents) bool { return r.TargetAccountName == "daemon" })
	if r.ActionType != "LogonSuccess" || r.AccountName != "root" || !r.IsLocalAdmin || r.InitiatingProcessFileName != "su" {
		t.Errorf("row %v", columns(r))
	}
}

// A container is known by the control group that its runtime made and by what
// the runtime wrote down.
func TestLiveContainer(t *testing.T) {
	id, root := strings.Repeat("fedcba9876543210", 4), t.TempDir()
	state := filepath.Join(root, "var/lib/docker/containers", id)
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	record := `{"Name":"/shop-web-1","Image":"sha256:ab","Config":{"Image":"nginx:1.25","Labels":{"team":"shop"}}}`
	if err := os.WriteFile(filepath.Join(state, "config.v2.json"), []byte(record), 0o644); err != nil {
		t.Fatal(err)
	}
	l := startLive(t, func(o *Options) { o.ContainerRoot = root })
	group := filepath.Join(l.kernel.Cgroup(), "docker-"+id+".scope")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no control group can be made: %v", err)
	}
	defer os.Remove(group)
	fd, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	name := filepath.Join(t.TempDir(), "inside")
	c := exec.Command("/bin/sh", "-c", "echo x > "+name)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}
	if err := c.Run(); err != nil {
		t.Skipf("no process can be started in a control group: %v", err)
	}
	if r := find(l, created(c.Process.Pid)); r.ContainerId != id || r.CgroupPath != "/docker-"+id+".scope" || r.PidNamespaceId == 0 ||
		r.ContainerName != "shop-web-1" || r.ContainerRuntime != "docker" || r.ContainerImage != "nginx:1.25" || r.PodLabels != `{"team":"shop"}` {
		t.Errorf("process %v", columns(r))
	}
	if r := find(l, onPath("FileCreated", name)); r.ContainerId != id || r.ContainerName != "shop-web-1" {
		t.Errorf("file %v", columns(r))
	}
}
