// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

const notHere = 77 // exit code of the evader where the kernel cannot do it

// evader is the program of testdata/evade.c, in a folder that everybody may
// read.
type evader struct {
	path, dir string
	late      uint64 // hashes that had been late when the case began
}

func newEvader(t *testing.T) evader {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: kernel programs cannot be loaded")
	}
	if testing.Short() {
		t.Skip("attaches to the running kernel")
	}
	e := evader{dir: t.TempDir()}
	for _, dir := range []string{e.dir, filepath.Dir(e.dir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	e.path = filepath.Join(e.dir, "evade")
	out, err := exec.Command("gcc", "-O1", "-static", "-pthread", "-o", e.path, "testdata/evade.c").CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no C compiler here")
	}
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return e
}

// sub gives each case its own folder.
func (e evader) sub(t *testing.T) evader {
	t.Helper()
	e.dir = filepath.Join(e.dir, strings.ReplaceAll(filepath.Base(t.Name()), "'", ""))
	if err := os.Mkdir(e.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(e.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e evader) file(name string) string { return filepath.Join(e.dir, name) }

func (e evader) sum(t *testing.T) string { t.Helper(); return sumOf(t, e.path) }

// hashIs wants the hash of a row. A busy host lets rows go without.
func (e evader) hashIs(t *testing.T, l *live, got, want string) {
	t.Helper()
	if got != want && (got != "" || l.lost.copy()["hash.late"] == e.late) {
		t.Errorf("hash %q, want %q; lost %v", got, want, l.lost.copy())
	}
}

func sumOf(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// copyTo makes another program with the same content.
func (e evader) copyTo(t *testing.T, from, name string, mode os.FileMode) string {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	path := e.file(name)
	if err := os.WriteFile(path, raw, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the mask
		t.Fatal(err)
	}
	return path
}

// run runs the evader to its end and returns its process id and what it said.
func (e evader) run(t *testing.T, args ...string) (pid int, said string) {
	t.Helper()
	return e.start(t, exec.Command(e.path, args...))
}

func (e evader) start(t *testing.T, c *exec.Cmd) (pid int, said string) {
	t.Helper()
	var out, bad bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = e.dir, &out, &bad
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == notHere {
		t.Skip("this kernel cannot do it")
	}
	if err != nil {
		t.Fatalf("%v: %v %s", c.Args, err, bad.String())
	}
	return c.Process.Pid, strings.TrimSpace(out.String())
}

// evade runs cases on one collector: attaching takes longer than they do.
func evade(t *testing.T, cases map[string]func(*testing.T, *live, evader)) {
	e := newEvader(t)
	l := startLive(t, nil)
	for name, try := range cases {
		t.Run(name, func(t *testing.T) {
			l.t = t
			e := e.sub(t)
			e.late = l.lost.copy()["hash.late"]
			try(t, l, e)
		})
	}
	l.t = t
}

// blind returns the rung that collects a kind and what it does not see.
func (l *live) blind(kind string) (rung, spot string) {
	for _, h := range l.Hooks() {
		if h.Kind == kind {
			return h.Rung, h.BlindSpot
		}
	}
	return "off", ""
}

// behind returns when all that was done until now has been told.
func (l *live) behind(t *testing.T, e evader) {
	t.Helper()
	e.run(t, "touch", e.file("barrier"))
	find(l, onPath("FileCreated", e.file("barrier")))
	if err := os.Remove(e.file("barrier")); err != nil {
		t.Fatal(err)
	}
	find(l, onPath("FileDeleted", e.file("barrier")))
}

// seenInside wants rows about files from rungs inside of the kernel, and that
// rungs at system calls have none and say so.
func (l *live) seenInside(t *testing.T, e evader, what string, rows map[string]string) {
	t.Helper()
	rung, spot := l.blind("file")
	if !strings.HasPrefix(rung, "tracepoint") {
		for path, action := range rows {
			find(l, onPath(action, path))
		}
		return
	}
	l.behind(t, e)
	for path, action := range rows {
		if n := len(all(l, onPath(action, path))); n != 0 {
			t.Errorf("%s of %s is seen: the blind spot is none", action, path)
		}
	}
	if !strings.Contains(spot, what) {
		t.Errorf("rung %s does not say that it is blind for %s: %q", rung, what, spot)
	}
}

func actionOf(action string, pid int) func(*event.DeviceEvents) bool {
	return func(r *event.DeviceEvents) bool {
		return r.ActionType == action && r.InitiatingProcessId == int64(pid)
	}
}

func wantPath(t *testing.T, r *event.DeviceProcessEvents, path, sum string) {
	t.Helper()
	if r.FolderPath != path || r.FileName != filepath.Base(path) || sum != "" && r.SHA256 != sum {
		t.Errorf("image %q %q %q, want %q %q", r.FolderPath, r.FileName, r.SHA256, path, sum)
	}
}

// Ways to have something done without the calls that are usual for it.
func TestLiveEvasiveCalls(t *testing.T) {
	evade(t, map[string]func(*testing.T, *live, evader){
		"files by io_uring": func(t *testing.T, l *live, e evader) {
			pid, _ := e.run(t, "uring", e.file("kept"), e.file("moved"), e.file("gone"))
			find(l, actionOf("IoUringCreated", pid)) // that it may be blind is told in time
			l.seenInside(t, e, "io_uring", map[string]string{
				e.file("kept"): "FileCreated", e.file("moved"): "FileRenamed", e.file("gone"): "FileDeleted"})
		},
		"connection by io_uring": func(t *testing.T, l *live, e evader) {
			server, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			at := portOf(server.Addr())
			pid, _ := e.run(t, "uring-connect", itoa(uint32(at.Port())))
			find(l, func(r *event.DeviceNetworkEvents) bool {
				return r.ActionType == "ConnectionSuccess" && r.RemotePort == int64(at.Port()) && r.InitiatingProcessId == int64(pid)
			})
		},
		"files by 32-bit calls": func(t *testing.T, l *live, e evader) {
			e.run(t, "compat", e.file("kept"), e.file("gone"))
			l.seenInside(t, e, "32-bit", map[string]string{e.file("kept"): "FileCreated", e.file("gone"): "FileDeleted"})
		},
		"32-bit program":                  program32,
		"names changed by another thread": racedNames,
		"through a symbolic link": func(t *testing.T, l *live, e evader) {
			if err := errors.Join(os.Mkdir(e.file("real"), 0o755), os.Symlink("real", e.file("link"))); err != nil {
				t.Fatal(err)
			}
			e.run(t, "touch", e.file("link/x"))
			find(l, onPath("FileCreated", e.file("real/x"))) // what was opened, whatever it was called
			e.run(t, "remove", e.file("link/x"))
			rung, spot := l.blind("file")
			if !strings.HasPrefix(rung, "tracepoint") {
				find(l, onPath("FileDeleted", e.file("real/x")))
				return
			}
			find(l, onPath("FileDeleted", e.file("link/x")))
			if !strings.Contains(spot, "symbolic links") {
				t.Errorf("rung %s: %q", rung, spot)
			}
		},
	})
}

// program32 is a 32-bit program without a library, which few hosts have.
func program32(t *testing.T, l *live, e evader) {
	source, path := e.file("small.c"), e.file("small")
	if err := os.WriteFile(source, []byte(`void _start(void) { asm volatile("int $0x80" : : "a"(1), "b"(3)); }`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-m32", "-nostdlib", "-static", "-o", path, source).CombinedOutput(); err != nil {
		t.Skipf("no 32-bit programs can be built: %v %s", err, out)
	}
	c := exec.Command(path)
	if err := c.Run(); c.ProcessState == nil {
		t.Skipf("no 32-bit programs run here: %v", err)
	}
	wantPath(t, find(l, created(c.Process.Pid)), path, "")
	if end := find(l, exited(c.Process.Pid)); end.ProcessExitCode != event.LongOf(3) {
		t.Errorf("exit code %v", end.ProcessExitCode)
	}
}

// Ways to run an image that is not what it seems.
func TestLiveEvasiveImages(t *testing.T) {
	evade(t, map[string]func(*testing.T, *live, evader){
		"by descriptor": func(t *testing.T, l *live, e evader) {
			pid, _ := e.run(t, "descriptor", "/bin/true", "mark")
			find(l, exited(pid))
			rows := all(l, created(pid))
			exe, err := filepath.EvalSymlinks("/bin/true")
			if err != nil || len(rows) != 2 {
				t.Fatalf("%d rows, %v", len(rows), err)
			}
			wantPath(t, rows[1], exe, "")
			if rows[1].IsFileless || rows[1].ProcessCommandLine != "/bin/true mark" {
				t.Errorf("row %v", columns(rows[1]))
			}
		},
		"memory file by descriptor": func(t *testing.T, l *live, e evader) {
			pid, _ := e.run(t, "memory", "[kworker]", "touch", e.file("x"))
			r := find(l, func(r *event.DeviceProcessEvents) bool { return created(pid)(r) && r.IsFileless })
			if r.FolderPath != "/memfd:quiet" || r.ProcessCommandLine != "[kworker] touch "+e.file("x") {
				t.Errorf("row %v", columns(r))
			}
			if r := find(l, onPath("FileCreated", e.file("x"))); r.InitiatingProcessFolderPath != "/memfd:quiet" || r.InitiatingProcessUniqueId == "" {
				t.Errorf("file by %v", columns(r))
			}
		},
		"itself": func(t *testing.T, l *live, e evader) {
			pid, _ := e.run(t, "self", "other-name", "touch", e.file("x"))
			find(l, exited(pid))
			rows := all(l, created(pid))
			if len(rows) != 2 {
				t.Fatalf("%d rows", len(rows))
			}
			wantPath(t, rows[1], e.path, "")
			if rows[1].ProcessCommandLine != "other-name touch "+e.file("x") {
				t.Errorf("row %v", columns(rows[1]))
			}
		},
		"deleted": deletedImage,
		"interpreter by another name": func(t *testing.T, l *live, e evader) {
			path := e.copyTo(t, "/bin/sh", "systemd-helper", 0o755)
			hashed(t, l, path, "-c", "true")
			pid, _ := e.start(t, exec.Command(path, "-c", "true"))
			wantPath(t, find(l, created(pid)), path, sumOf(t, "/bin/sh"))
		},
		"script by standard input": scriptByPipe,
		"set-user program":         setUserProgram,
		"library put in front": func(t *testing.T, l *live, e evader) {
			c := exec.Command(e.path, "touch", e.file("x"))
			c.Env = []string{"LD_PRELOAD=/tmp/hook.so", "LD_AUDIT=/tmp/audit.so"}
			pid, _ := e.start(t, c)
			if r := find(l, created(pid)); r.ProcessEnvironment != `{"LD_AUDIT":"/tmp/audit.so","LD_PRELOAD":"/tmp/hook.so"}` {
				t.Errorf("environment %q", r.ProcessEnvironment)
			}
		},
	})
}

// Ways to hide who did something.
func TestLiveEvasiveProcesses(t *testing.T) {
	evade(t, map[string]func(*testing.T, *live, evader){
		"parent gone": func(t *testing.T, l *live, e evader) {
			mark := filepath.Base(e.dir) + " orphan"
			pid, said := e.run(t, "orphan", mark)
			self := find(l, created(pid))
			r := find(l, func(r *event.DeviceProcessEvents) bool {
				return r.ActionType == "ProcessCreated" && r.ProcessCommandLine == `/bin/true "`+mark+`"`
			})
			if strconv.FormatInt(r.InitiatingProcessId, 10) != said || r.InitiatingProcessParentUniqueId != self.ProcessUniqueId {
				t.Errorf("child of %d and %s, want %s and %s", r.InitiatingProcessId, r.InitiatingProcessParentUniqueId, said, self.ProcessUniqueId)
			}
		},
		"arguments overwritten": func(t *testing.T, l *live, e evader) {
			want := e.path + " arguments " + e.file("x")
			pid, _ := e.run(t, "arguments", e.file("x"))
			r := find(l, onPath("FileCreated", e.file("x")))
			if r.InitiatingProcessId != int64(pid) || r.InitiatingProcessCommandLine != want || r.InitiatingProcessFileName != "evade" {
				t.Errorf("row %v", columns(r))
			}
			if end := find(l, exited(pid)); end.ProcessCommandLine != want {
				t.Errorf("ended as %q", end.ProcessCommandLine)
			}
		},
		"arguments changed meanwhile": func(t *testing.T, l *live, e evader) {
			const n = 40
			pid, said := e.run(t, "toctou", itoa(n), "argument-a")
			find(l, exited(pid))
			var told []string
			for _, r := range all(l, func(r *event.DeviceProcessEvents) bool {
				return r.ActionType == "ProcessCreated" && r.InitiatingProcessId == int64(pid) && r.FileName == "echo"
			}) {
				told = append(told, strings.TrimPrefix(r.ProcessCommandLine, "/bin/echo "))
			}
			if got := strings.Join(told, "\n"); got != said {
				t.Errorf("told %q, the programs had %q", got, said)
			}
		},
		"other process made to fork": func(t *testing.T, l *live, e evader) {
			mark := filepath.Base(e.dir) + "-injected"
			pid, said := e.run(t, "inject", mark)
			find(l, actionOf("PTraceDetected", pid))
			r := find(l, func(r *event.DeviceProcessEvents) bool {
				return r.ActionType == "ProcessCreated" && r.ProcessCommandLine == "/bin/true "+mark
			})
			if strconv.FormatInt(r.InitiatingProcessId, 10) != said {
				t.Errorf("child of %d, want %s", r.InitiatingProcessId, said)
			}
		},
		"chain of vforks": func(t *testing.T, l *live, e evader) {
			const mark = "end-of-the-vforks"
			pid, _ := e.run(t, "vfork", "4", mark)
			last := find(l, func(r *event.DeviceProcessEvents) bool { return r.ProcessCommandLine == "/bin/true "+mark })
			up := last
			for range 4 {
				up = find(l, func(r *event.DeviceProcessEvents) bool { return r.ProcessUniqueId == up.InitiatingProcessUniqueId })
				if up.FileName != "evade" {
					t.Fatalf("parent %v", columns(up))
				}
			}
			if up.ProcessId != int64(pid) {
				t.Errorf("the line of parents ends at %d, want %d", up.ProcessId, pid)
			}
		},
		"namespaces": namespaces,
		"process id again": func(t *testing.T, l *live, e evader) {
			_, said := e.run(t, "reuse", e.file("first"), e.file("second"))
			first, second := find(l, onPath("FileCreated", e.file("first"))), find(l, onPath("FileCreated", e.file("second")))
			if strconv.FormatInt(first.InitiatingProcessId, 10) != said || first.InitiatingProcessId != second.InitiatingProcessId {
				t.Fatalf("processes %d and %d, want %s", first.InitiatingProcessId, second.InitiatingProcessId, said)
			}
			if first.InitiatingProcessUniqueId == second.InitiatingProcessUniqueId {
				t.Error("two processes with one id have one GUID")
			}
			for _, r := range []*event.DeviceFileEvents{first, second} {
				if !strings.HasSuffix(r.InitiatingProcessCommandLine, r.FolderPath) {
					t.Errorf("%s by %s", r.FolderPath, r.InitiatingProcessCommandLine)
				}
			}
		},
	})
}

// namespaces: process and user ids are those of the host.
func namespaces(t *testing.T, l *live, e evader) {
	c := exec.Command(e.path, "touch", e.file("x"))
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1, Size: 1}},
		Credential:  &syscall.Credential{NoSetGroups: true},
	}
	if err := c.Start(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	r := find(l, created(c.Process.Pid))
	self := find(l, func(r *event.DeviceProcessEvents) bool { return r.IsSnapshot && r.ProcessId == int64(os.Getpid()) })
	if r.ProcessUserId != event.LongOf(1) || r.AccountName != "daemon" || r.InitiatingProcessUniqueId != self.ProcessUniqueId ||
		r.PidNamespaceId == self.PidNamespaceId || r.UserNamespaceId == self.UserNamespaceId || r.MountNamespaceId == self.MountNamespaceId {
		t.Errorf("row %v", columns(r))
	}
	if f := find(l, onPath("FileCreated", e.file("x"))); f.InitiatingProcessId != int64(c.Process.Pid) || f.FileOwnerUserId != event.LongOf(1) || f.InitiatingProcessUniqueId != r.ProcessUniqueId {
		t.Errorf("file %v", columns(f))
	}
}

// deletedImage runs an image whose name is gone.
func deletedImage(t *testing.T, l *live, e evader) {
	path := e.copyTo(t, e.path, "brief", 0o755)
	c := exec.Command(path, "self", path, "wait")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer in.Close()
	find(l, func(r *event.DeviceProcessEvents) bool {
		return created(c.Process.Pid)(r) && r.ProcessCommandLine == path+" wait"
	})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	again := exec.Command(fmt.Sprintf("/proc/%d/exe", c.Process.Pid), "wait")
	hold, err := again.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	defer again.Wait()
	defer hold.Close()
	r := find(l, created(again.Process.Pid))
	if !r.IsFileless || r.FolderPath != path {
		t.Errorf("row %v", columns(r))
	}
	e.hashIs(t, l, r.SHA256, e.sum(t))
}

// scriptByPipe has a shell run what nobody can read later: what it does is told.
func scriptByPipe(t *testing.T, l *live, e evader) {
	fifo := e.file("pipe")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/bin/sh", "-c", "exec /bin/sh < "+fifo)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	script := "/bin/true from-the-pipe; " + e.path + " touch " + e.file("x") + "; exit 0\n"
	if err := os.WriteFile(fifo, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	r := find(l, func(r *event.DeviceProcessEvents) bool { return r.ProcessCommandLine == "/bin/true from-the-pipe" })
	if r.InitiatingProcessId != int64(c.Process.Pid) || r.InitiatingProcessCommandLine != "/bin/sh" {
		t.Errorf("row %v", columns(r))
	}
	find(l, onPath("FileCreated", e.file("x")))
}

// setUserProgram is run by another user than it acts as.
func setUserProgram(t *testing.T, l *live, e evader) {
	path := e.copyTo(t, e.path, "raise", 0o755|os.ModeSetuid)
	c := exec.Command(path, "touch", e.file("x"))
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1, Gid: 1}}
	pid, _ := e.start(t, c)
	r := find(l, created(pid))
	if r.ProcessUserId != event.LongOf(1) || r.ProcessEffectiveUserId != event.LongOf(0) || r.AccountName != "daemon" || r.ProcessCapabilities == "" {
		t.Errorf("row %v", columns(r))
	}
	if r := find(l, onPath("FileCreated", e.file("x"))); r.InitiatingProcessEffectiveUserId != event.LongOf(0) || r.InitiatingProcessUserId != event.LongOf(1) {
		t.Errorf("file %v", columns(r))
	}
}

// racedNames removes files by names that another thread keeps changing.
func racedNames(t *testing.T, l *live, e evader) {
	_, said := e.run(t, "race", "30", e.file("name-a"))
	gone := map[string]int{}
	for c := range strings.FieldsSeq(said) {
		gone[e.file("name-"+c)]++
	}
	l.behind(t, e)
	rows := all(l, func(r *event.DeviceFileEvents) bool {
		return r.ActionType == "FileDeleted" && strings.HasPrefix(r.FolderPath, e.file("name-"))
	})
	if len(rows) != 30 {
		t.Fatalf("%d rows about 30 deleted files", len(rows))
	}
	rung, spot := l.blind("file")
	if strings.HasPrefix(rung, "tracepoint") {
		if !strings.Contains(spot, "read after the call") {
			t.Errorf("rung %s: %q", rung, spot)
		}
		return
	}
	for _, r := range rows {
		gone[r.FolderPath]--
	}
	for name, n := range gone {
		if n != 0 {
			t.Errorf("%s: %d rows too few", name, n)
		}
	}
}
