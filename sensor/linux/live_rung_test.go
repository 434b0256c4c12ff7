// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/picket-edr/picket/event"
)

// Every rung that needs no programs for processes tells of start and end, with
// the acting process, under the same identity.
func TestLiveProcessRungs(t *testing.T) {
	for _, rung := range []string{"connector", "proc"} {
		t.Run(rung, func(t *testing.T) {
			l := startLive(t, func(o *Options) { o.Rungs = map[string]string{"process": rung} })
			if got := l.Rung(); got != rung {
				t.Fatalf("processes are collected by %q: %+v", got, l.Hooks())
			}
			c := exec.Command("/bin/sleep", "60", "61")
			c.Dir = "/usr"
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			r := find(l, func(r *event.DeviceProcessEvents) bool { return created(c.Process.Pid)(r) && r.FileName == "sleep" })
			self := find(l, func(r *event.DeviceProcessEvents) bool { return r.IsSnapshot && r.ProcessId == int64(os.Getpid()) })
			if r.ProcessCommandLine != "/bin/sleep 60 61" || r.ProcessCurrentDirectory != "/usr" || r.InitiatingProcessUniqueId != self.ProcessUniqueId || r.AccountName != self.AccountName {
				t.Errorf("%q in %q by %q of %q, want it by %q", r.ProcessCommandLine, r.ProcessCurrentDirectory, r.InitiatingProcessUniqueId, r.AccountName, self.ProcessUniqueId)
			}
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			c.Wait()
			e := find(l, exited(c.Process.Pid))
			if e.ProcessUniqueId != r.ProcessUniqueId {
				t.Errorf("ended as %q, started as %q", e.ProcessUniqueId, r.ProcessUniqueId)
			}
			if want := rung == "connector"; want != e.ProcessExitCode.Valid || want != (e.ProcessExitSignal == 9) {
				t.Errorf("exit code %+v, signal %d", e.ProcessExitCode, e.ProcessExitSignal)
			}
		})
	}
}

// Files are told without programs in the kernel.
func TestLiveFanotify(t *testing.T) {
	l := startLive(t, func(o *Options) { o.Rungs = map[string]string{"file": "fanotify"} })
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	is := func(action, path string) func(r *event.DeviceFileEvents) bool {
		return func(r *event.DeviceFileEvents) bool { return r.ActionType == action && r.FolderPath == path }
	}
	if err := os.WriteFile(a, []byte("twelve bytes"), 0o640); err != nil {
		t.Fatal(err)
	}
	r := find(l, is("FileCreated", a))
	self := find(l, func(r *event.DeviceProcessEvents) bool { return r.IsSnapshot && r.ProcessId == int64(os.Getpid()) })
	if r.FileSize != 12 || r.FileMode&0o777 != 0o640 || r.InitiatingProcessUniqueId != self.ProcessUniqueId {
		t.Errorf("size %d, mode %o, by %s, want by %s", r.FileSize, r.FileMode, r.InitiatingProcessUniqueId, self.ProcessUniqueId)
	}
	if err := os.WriteFile(a, []byte("other"), 0); err != nil {
		t.Fatal(err)
	}
	find(l, is("FileModified", a))
	if err := os.Rename(a, b); err != nil {
		t.Fatal(err)
	}
	if r := find(l, is("FileRenamed", b)); r.PreviousFolderPath != a {
		t.Errorf("renamed from %q", r.PreviousFolderPath)
	}
	if err := os.Symlink(b, a); err != nil {
		t.Fatal(err)
	}
	find(l, is("FileCreated", a))
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	find(l, is("FileDeleted", b))
}

// The connector loses nothing uncounted under a burst, short-lived processes
// included: each start is told, if only by its id.
func TestLiveConnectorTruth(t *testing.T) {
	const n = 500
	l := startLive(t, func(o *Options) { o.Rungs = map[string]string{"process": "connector"} })
	pids := map[int64]bool{}
	for range n {
		c := exec.Command("/bin/true")
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		pids[int64(c.Process.Pid)] = true
		find(l, exited(c.Process.Pid))
	}
	told := len(all(l, func(r *event.DeviceProcessEvents) bool { return r.ActionType == "ProcessCreated" && pids[r.ProcessId] }))
	if lost := l.lost.copy()["connector.process"]; told < n && uint64(told)+lost < n {
		t.Errorf("%d starts of %d told, %d counted as lost", told, n, lost)
	}
}

// Connections are told without programs in the kernel.
func TestLiveSocketsFromProc(t *testing.T) {
	l := startLive(t, func(o *Options) { o.Rungs = map[string]string{"network": "proc"} })
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	at := portOf(server.Addr())
	find(l, func(r *event.DeviceNetworkEvents) bool {
		return r.ActionType == "ListeningConnectionCreated" && r.LocalPort == int64(at.Port()) && r.InitiatingProcessId == int64(os.Getpid())
	})
	c, err := net.Dial("tcp4", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	find(l, func(r *event.DeviceNetworkEvents) bool {
		return r.ActionType == "ConnectionSuccess" && r.RemotePort == int64(at.Port()) && r.InitiatingProcessId == int64(os.Getpid())
	})
}
