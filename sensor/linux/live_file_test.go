// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

// onFile matches rows about one path.
func onPath(action, path string) func(*event.DeviceFileEvents) bool {
	return func(r *event.DeviceFileEvents) bool { return r.ActionType == action && r.FolderPath == path }
}

func TestLiveFiles(t *testing.T) {
	l := startLive(t, nil)
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := os.WriteFile(a, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(a, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := f.WriteString("exit 0\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// Opened for writing, left alone.
	untouched, err := os.OpenFile(a, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	untouched.Close()
	changed := find(l, onPath("FileModified", a)) // hashed by its name, so before that goes
	if changed.FileSize != 31 || changed.BytesWritten != 21 || changed.SHA256 == "" && l.lost.copy()["hash.late"] == 0 {
		t.Errorf("modified %v", columns(changed))
	}
	for _, err := range []error{os.Rename(a, b), os.Symlink("/etc/passwd", a), os.Link(b, filepath.Join(dir, "c")), os.Remove(b)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	made := find(l, onPath("FileCreated", a))
	if made.FileSize != 10 || made.BytesWritten != 10 || made.FileName != "a" || made.InitiatingProcessId != int64(os.Getpid()) ||
		made.FileMode&0o777 != 0o755 || made.FileOwnerUserId != event.LongOf(0) || made.FileInode == 0 {
		t.Errorf("created %v", columns(made))
	}
	moved := find(l, onPath("FileRenamed", b))
	if moved.PreviousFolderPath != a || moved.PreviousFileName != "a" {
		t.Errorf("renamed %v", columns(moved))
	}
	find(l, func(r *event.DeviceFileEvents) bool {
		return r.ActionType == "FileCreated" && r.FolderPath == a && strings.Contains(r.AdditionalFields, `"Target":"/etc/passwd"`)
	})
	find(l, func(r *event.DeviceFileEvents) bool {
		return r.FolderPath == filepath.Join(dir, "c") && strings.Contains(r.AdditionalFields, "HardLink")
	})
	find(l, onPath("FileDeleted", b))
	if n := len(all(l, onPath("FileModified", a))); n != 1 {
		t.Errorf("%d rows about one change: a file that was only opened counts", n)
	}
}

// The ways in which programs and shells open, pass on and drop descriptors.
func TestLiveClosingWays(t *testing.T) {
	l := startLive(t, nil)
	dir := t.TempDir()
	for name, script := range map[string]string{
		"redirect": "echo hello > redirect",
		"child":    "cat /etc/hostname > child",
		"exit":     "exec 7> exit; echo x >&7",
		"twice":    "exec 7> twice 8>&7; echo x >&8; exec 7>&-; echo y >&8; exec 8>&-",
		"vanish":   "exec 7> vanish; echo x >&7; exec /bin/true",
		"killed":   "exec 7> killed; echo x >&7; kill -9 $$",
	} {
		c := exec.Command("/bin/sh", "-c", script)
		c.Dir = dir
		_ = c.Run() // one of them kills itself
		path := filepath.Join(dir, name)
		r := find(l, onPath("FileCreated", path))
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if r.FileSize != st.Size() {
			t.Errorf("%s: told %d of %d bytes", name, r.FileSize, st.Size())
		}
	}
	l.stop()
	for _, r := range all(l, func(r *event.DeviceFileEvents) bool {
		return r.FolderPath != dir && strings.HasPrefix(r.FolderPath, dir)
	}) {
		if r.ActionType != "FileCreated" {
			t.Errorf("more than one row: %v", columns(r))
		}
	}
}

// A range of descriptors closed at once, in the middle of the table and
// at the ends of its 64-bit words.
func TestLiveCloseRange(t *testing.T) {
	l := startLive(t, nil)
	dir := t.TempDir()
	for _, at := range []int{940, 959, 960} { // far above what the collector has open here
		name := filepath.Join(dir, itoa(uint32(at)))
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(fd, at, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		if _, err := unix.Write(at, []byte("abc")); err != nil {
			t.Fatal(err)
		}
		if err := unix.CloseRange(uint(at), uint(at), 0); err != nil {
			t.Skipf("no close_range here: %v", err)
		}
		if r := find(l, onPath("FileCreated", name)); r.FileSize != 3 {
			t.Errorf("%s: %d bytes", name, r.FileSize)
		}
	}
}

// A file that is written and kept open, like a log, is told of after a while
// and when the sensor stops.
func TestLiveStillOpen(t *testing.T) {
	l := startLive(t, nil)
	name := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("line\n"); err != nil {
		t.Fatal(err)
	}
	l.stop()
	r := find(l, onPath("FileCreated", name))
	if !strings.Contains(r.AdditionalFields, "StillOpen") || r.FileSize != 5 {
		t.Errorf("row %v", columns(r))
	}
}

func TestLiveMapping(t *testing.T) {
	l := startLive(t, nil)
	name := filepath.Join(t.TempDir(), "mapped")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	b[0] = 1
	f.Close()
	find(l, onPath("FileCreated", name))
	if err := unix.Munmap(b); err != nil {
		t.Fatal(err)
	}
}

// What a program passes as a name is relative to a folder, open or working.
func TestLiveRelativeNames(t *testing.T) {
	l := startLive(t, nil)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "sub", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/bin/sh", "-c", "echo x > one; mv one ../two; rm ../two; mkdir ../dir; rmdir ../dir")
	c.Dir = filepath.Join(dir, "sub", "deep")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	find(l, onPath("FileCreated", filepath.Join(dir, "sub", "deep", "one")))
	find(l, onPath("FileRenamed", filepath.Join(dir, "sub", "two")))
	find(l, onPath("FileDeleted", filepath.Join(dir, "sub", "two")))
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	h, err := unix.Openat(fd, "sub/by-fd", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(h)
	if err := unix.Unlinkat(fd, "sub/by-fd", 0); err != nil {
		t.Fatal(err)
	}
	find(l, onPath("FileCreated", filepath.Join(dir, "sub", "by-fd")))
	find(l, onPath("FileDeleted", filepath.Join(dir, "sub", "by-fd")))
	if n := len(all(l, onPath("FileDeleted", filepath.Join(dir, "sub", "dir")))); n != 0 {
		t.Error("a removed folder is told as a deleted file")
	}
}

func TestLiveExcluded(t *testing.T) {
	l := startLive(t, func(o *Options) { o.ExcludePIDs = []int{os.Getpid()} })
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/bin/sh", "-c", "echo x > theirs")
	c.Dir = dir
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	find(l, onPath("FileCreated", filepath.Join(dir, "theirs")))
	l.stop()
	if n := len(all(l, onPath("FileCreated", filepath.Join(dir, "mine")))); n != 0 {
		t.Error("the doings of an excluded process are told")
	}
}
