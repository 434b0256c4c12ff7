// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

// Places that are not what they seem: layers, bind mounts, other roots, and
// folders that are too deep or gone.
func TestLiveOddPlaces(t *testing.T) {
	evade(t, map[string]func(*testing.T, *live, evader){
		"layers": func(t *testing.T, l *live, e evader) {
			e.mounted(t, `mount -t tmpfs none . && cd "$PWD" && mkdir low up work all && cp "$EVADE" low/prog && echo x > low/old &&
				mount -t overlay none -o lowerdir=low,upperdir=up,workdir=work all && cp low/prog all/made && chmod 755 all/made &&
				all/prog touch "$PWD/all/new" && echo y >> all/old && all/made remove "$PWD/all/new"`)
			for name, action := range map[string]string{"new": "FileCreated", "old": "FileModified", "made": "FileCreated"} {
				find(l, onPath(action, e.file("all/"+name)))
			}
			find(l, onPath("FileDeleted", e.file("all/new")))
			for _, name := range []string{"prog", "made"} {
				path := e.file("all/" + name)
				r := find(l, func(r *event.DeviceProcessEvents) bool {
					return r.ActionType == "ProcessCreated" && r.FolderPath == path
				})
				e.hashIs(t, l, r.SHA256, e.sum(t))
			}
		},
		"bind mount": func(t *testing.T, l *live, e evader) {
			e.mounted(t, `mkdir real seen && cp "$EVADE" real/prog && mount --bind real seen && seen/prog touch "$PWD/seen/new" && seen/prog remove "$PWD/seen/new"`)
			find(l, onPath("FileCreated", e.file("seen/new")))
			find(l, onPath("FileDeleted", e.file("seen/new")))
			r := find(l, func(r *event.DeviceProcessEvents) bool { return r.FolderPath == e.file("seen/prog") })
			wantPath(t, r, e.file("seen/prog"), "")
		},
		"mount namespace": func(t *testing.T, l *live, e evader) {
			e.mounted(t, `mkdir inner && mount -t tmpfs none inner && cp "$EVADE" inner/prog && chmod 755 inner/prog && inner/prog touch "$PWD/inner/new"`)
			find(l, onPath("FileCreated", e.file("inner/new")))
			r := find(l, func(r *event.DeviceProcessEvents) bool { return r.FolderPath == e.file("inner/prog") })
			e.hashIs(t, l, r.SHA256, e.sum(t))
		},
		"program made in a container": programInside,
		"other root": func(t *testing.T, l *live, e evader) {
			if err := os.Mkdir(e.file("tmp"), 0o777); err != nil {
				t.Fatal(err)
			}
			e.copyTo(t, e.path, "prog", 0o755)
			for _, args := range [][]string{{"touch", "/tmp/new"}, {"remove", "/tmp/new"}} {
				c := exec.Command("/prog", args...)
				c.SysProcAttr = &syscall.SysProcAttr{Chroot: e.dir}
				c.Dir = "/"
				if err := c.Run(); err != nil {
					t.Fatal(err)
				}
				wantPath(t, find(l, created(c.Process.Pid)), e.file("prog"), "")
			}
			find(l, onPath("FileCreated", e.file("tmp/new")))
			find(l, onPath("FileDeleted", e.file("tmp/new")))
		},
		"deep":     func(t *testing.T, l *live, e evader) { deepPlace(t, l, e, 18, false) },
		"too deep": func(t *testing.T, l *live, e evader) { deepPlace(t, l, e, 30, true) },
		"folder gone": func(t *testing.T, l *live, e evader) {
			pid, _ := e.run(t, "gone", e.file("short"), "x")
			r := find(l, func(r *event.DeviceProcessEvents) bool { return created(pid)(r) && r.FileName == "true" })
			if r.ProcessCurrentDirectory != e.file("short") {
				t.Errorf("working folder %q", r.ProcessCurrentDirectory)
			}
		},
	})
}

// programInside is written where only processes of another mount namespace see
// it, by hand and on layers: its hash is told nevertheless.
func programInside(t *testing.T, l *live, e evader) {
	e.mounted(t, `mount -t tmpfs none . && cd "$PWD" && mkdir low up work all &&
		mount -t overlay none -o lowerdir=low,upperdir=up,workdir=work all && printf '#!/bin/true\n' > job && cp job all/job`)
	sum := sha256.Sum256([]byte("#!/bin/true\n"))
	for _, name := range []string{"job", "all/job"} {
		e.hashIs(t, l, find(l, onPath("FileCreated", e.file(name))).SHA256, hex.EncodeToString(sum[:]))
	}
}

// mounted runs a script in a mount namespace of its own, which lasts as long
// as the test.
func (e evader) mounted(t *testing.T, script string) {
	t.Helper()
	c := exec.Command("/bin/sh", "-ec", "mount --make-rprivate / && "+script+"\necho done; read end || true")
	c.Env = append(os.Environ(), "EVADE="+e.path)
	c.Dir = e.dir
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Skipf("no mount namespaces here: %v", err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = c.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "done\n" {
		t.Skipf("nothing can be mounted here: %v", err)
	}
}

// deepPlace has things done below n folders with names of 200 bytes, which a
// program reaches step by step.
func deepPlace(t *testing.T, l *live, e evader, n int, cut bool) {
	pid, _ := e.run(t, "deep", itoa(uint32(n)), "x")
	full := e.dir + strings.Repeat("/"+strings.Repeat("d", 200), n)
	right := func(path, extra string) {
		t.Helper()
		if !cut {
			if path != full && path != full+"/bottom" && path != full+"/moved" || strings.Contains(extra, "PathCut") {
				t.Errorf("%d bytes of %d: %.60s..., %s", len(path), len(full), path, extra)
			}
			return
		}
		// The lowest part of it, and that it is not all.
		if len(path) < 3000 || !strings.HasSuffix(full+"/bottom", path) && !strings.HasSuffix(full+"/moved", path) && !strings.HasSuffix(full, path) ||
			!strings.Contains(extra, "PathCut") {
			t.Errorf("%d bytes: %.60s..., %s", len(path), path, extra)
		}
	}
	by := func(action, name string) *event.DeviceFileEvents {
		return find(l, func(r *event.DeviceFileEvents) bool {
			return r.ActionType == action && r.InitiatingProcessId == int64(pid) && r.FileName == name
		})
	}
	for action, name := range map[string]string{"FileCreated": "bottom", "FileRenamed": "moved", "FileDeleted": "moved"} {
		r := by(action, name)
		right(r.FolderPath, r.AdditionalFields)
	}
	r := find(l, func(r *event.DeviceProcessEvents) bool { return created(pid)(r) && r.FileName == "true" })
	right(r.ProcessCurrentDirectory, r.AdditionalFields)
}

// Names and arguments that are no text, or too much of it.
func TestLiveOddText(t *testing.T) {
	evade(t, map[string]func(*testing.T, *live, evader){
		"names": func(t *testing.T, l *live, e evader) {
			for name, want := range map[string]string{
				"not\xff\xfeutf8":      "not\uFFFDutf8",
				"two\nlines\tand \x1b": "two\nlines\tand \x1b",
				"\"quoted\\":           "\"quoted\\",
				"right\u202eleft":      "right\u202eleft",
				" ":                    " ",
			} {
				e.run(t, "touch", e.file(name))
				find(l, onPath("FileCreated", e.file(want)))
				e.run(t, "remove", e.file(name))
				find(l, onPath("FileDeleted", e.file(want)))
				path := e.copyTo(t, "/bin/true", name, 0o755)
				c := exec.Command(path, name)
				if err := c.Run(); err != nil {
					t.Fatal(err)
				}
				if r := find(l, created(c.Process.Pid)); r.FolderPath != e.file(want) || r.FileName != want {
					t.Errorf("image %q %q, want %q", r.FolderPath, r.FileName, want)
				}
			}
		},
		"arguments": func(t *testing.T, l *live, e evader) {
			garbage := make([]byte, 0, 255)
			for b := 1; b < 256; b++ {
				garbage = append(garbage, byte(b))
			}
			c := exec.Command("/bin/true", "", string(garbage), "end")
			if err := c.Run(); err != nil {
				t.Fatal(err)
			}
			r := find(l, created(c.Process.Pid))
			if !strings.HasPrefix(r.ProcessCommandLine, `/bin/true "" "`) || !strings.HasSuffix(r.ProcessCommandLine, "\uFFFD\" end") {
				t.Errorf("arguments %q", r.ProcessCommandLine)
			}
		},
		"no arguments at all": func(t *testing.T, l *live, e evader) {
			c := exec.Command("/bin/true")
			c.Args = []string{""} // Go insists on one
			if err := c.Run(); err != nil {
				t.Fatal(err)
			}
			wantTrue(t, find(l, created(c.Process.Pid)))
		},
		"150 KiB of arguments": func(t *testing.T, l *live, e evader) { bigArguments(t, l, e, 5, 30_000) },
		"3 MiB of arguments":   func(t *testing.T, l *live, e evader) { bigArguments(t, l, e, 30, 100_000) },
	})
}

func wantTrue(t *testing.T, r *event.DeviceProcessEvents) {
	t.Helper()
	exe, err := filepath.EvalSymlinks("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	wantPath(t, r, exe, "")
}

func bigArguments(t *testing.T, l *live, e evader, n, size uint32) {
	pid, _ := e.run(t, "big", itoa(n), itoa(size))
	r := find(l, func(r *event.DeviceProcessEvents) bool { return created(pid)(r) && r.FileName == "true" })
	wantTrue(t, r)
	whole := len("/bin/true") + 1 + int(n*(size+1))
	if len(r.ProcessCommandLine) < 32_000 || !strings.Contains(r.AdditionalFields, `"CommandLineBytes":`+itoa(uint32(whole))) {
		t.Errorf("%d bytes of %d, %s", len(r.ProcessCommandLine), whole, r.AdditionalFields)
	}
}

// Lives of processes that are rare.
func TestLiveOddLives(t *testing.T) {
	evade(t, map[string]func(*testing.T, *live, evader){
		"a thousand images": func(t *testing.T, l *live, e evader) {
			pid, _ := e.run(t, "chain", "1000")
			end := find(l, exited(pid))
			rows := all(l, created(pid))
			if len(rows) != 1001 {
				t.Errorf("%d rows", len(rows))
			}
			for _, r := range rows {
				if r.ProcessUniqueId != end.ProcessUniqueId || r.InitiatingProcessId != int64(os.Getpid()) {
					t.Fatalf("row %v", columns(r))
				}
			}
		},
		"image started by a thread": func(t *testing.T, l *live, e evader) {
			pid, _ := e.run(t, "thread-exec", "by-a-thread")
			end := find(l, exited(pid))
			rows := all(l, created(pid))
			if len(rows) != 2 || rows[1].ProcessCommandLine != "/bin/true by-a-thread" || rows[0].ProcessUniqueId != end.ProcessUniqueId || rows[1].ProcessUniqueId != end.ProcessUniqueId {
				t.Errorf("%d rows", len(rows))
			}
			if n := len(all(l, exited(pid))); n != 1 {
				t.Errorf("ended %d times", n)
			}
		},
		"first thread ended": func(t *testing.T, l *live, e evader) {
			c := exec.Command(e.path, "dead-leader", e.file("x"))
			if err := c.Run(); c.ProcessState == nil {
				t.Fatal(err)
			}
			pid := c.Process.Pid
			start, end := find(l, created(pid)), find(l, exited(pid))
			file := find(l, onPath("FileCreated", e.file("x")))
			if file.InitiatingProcessUniqueId != start.ProcessUniqueId || end.ProcessUniqueId != start.ProcessUniqueId || end.Timestamp < file.Timestamp {
				t.Errorf("file by %s, started as %s, ended as %s", file.InitiatingProcessUniqueId, start.ProcessUniqueId, end.ProcessUniqueId)
			}
			if end.ProcessExitCode != event.LongOf(3) || len(all(l, exited(pid))) != 1 {
				t.Errorf("exit code %v, %d ends", end.ProcessExitCode, len(all(l, exited(pid))))
			}
		},
		"many children": func(t *testing.T, l *live, e evader) {
			const n = 500
			pid, _ := e.run(t, "bomb", itoa(n), "of-a-bomb")
			find(l, exited(pid))
			children := map[int64]int{}
			for _, r := range all(l, func(r *event.DeviceProcessEvents) bool {
				return r.ProcessCommandLine == "/bin/true of-a-bomb" && r.InitiatingProcessId == int64(pid)
			}) {
				children[r.ProcessId]++ // a start and an end
			}
			for child, rows := range children {
				if rows != 2 {
					t.Errorf("%d rows about %d", rows, child)
				}
			}
			if len(children) != n {
				t.Errorf("%d of %d children", len(children), n)
			}
		},
	})
}
