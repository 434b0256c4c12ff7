// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/persist"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// watched is an offline collector that watches a tree of its own.
func watched(t *testing.T, files ...string) (f *offline, root string) {
	t.Helper()
	root = t.TempDir()
	for _, name := range files {
		put(t, filepath.Join(root, name), "old\n")
	}
	f = newOffline(t, logon.Paths{})
	f.watcher = newWatcher(f.Collector, root, math.MaxInt64)
	t.Cleanup(func() { f.watcher.close() })
	return f, root
}

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// settle lets the watcher work through what it was given and returns its rows.
func (f *offline) settle() (out []string) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f.watcher.run(ctx)
	for _, row := range f.take() {
		if r, ok := row.(*event.DeviceEvents); ok {
			out = append(out, r.ActionType+" "+r.FileName)
		}
	}
	return out
}

// Records of files and names become changes of what is watched.
func TestChangesReachTheWatcher(t *testing.T) {
	f, root := watched(t, "etc/crontab", "etc/cron.d/a")
	f.watcher.tracker.Baseline(func() bool { return false })
	at := func(name string) string { return filepath.Join(root, name) }
	file := func(name string, flags uint32) {
		put(t, at(name), "new\n")
		f.onFile(&record.File{Path: at(name), FileFlags: flags, Image: record.ImagePart{Ino: 1, Size: 4, Nlink: 1, Mode: 0o100644}})
	}
	name := func(op uint32, from, to string) {
		f.onPathOp(&record.PathOp{Op: op, Base: "/", Name: at(from), BaseNew: "/", NameNew: at(to)})
	}
	file("etc/crontab", 0)
	file("etc/cron.d/b", record.FileCreated)
	file("srv/other", record.FileCreated)
	if err := os.Rename(at("etc/cron.d/a"), at("etc/cron.d/c")); err != nil {
		t.Fatal(err)
	}
	name(record.OpRename, "etc/cron.d/a", "etc/cron.d/c")
	if err := os.Remove(at("etc/cron.d/b")); err != nil {
		t.Fatal(err)
	}
	name(record.OpUnlink, "etc/cron.d/b", "")
	if err := os.Symlink("/dev/null", at("etc/cron.d/d")); err != nil {
		t.Fatal(err)
	}
	name(record.OpSymlink, "/dev/null", "etc/cron.d/d")
	got := strings.Join(f.settle(), ", ")
	// b was made and removed before it was looked at.
	want := "ScheduledTaskUpdated crontab, ScheduledTaskCreated c, ScheduledTaskCreated d, ScheduledTaskDeleted a, ScheduledTaskCreated b, ScheduledTaskDeleted b"
	if got != want {
		t.Errorf("rows\n got %s\nwant %s", got, want)
	}
}

// A file that is replaced and removed again soon was removed by the last one.
func TestRemovedAfterReplaced(t *testing.T) {
	f, root := watched(t, "etc/cron.d/a")
	f.watcher.tracker.Baseline(func() bool { return false })
	name := filepath.Join(root, "etc/cron.d/a")
	change := func(op persist.Op, pid uint32) {
		p := &process{}
		p.key.pid = pid
		f.watch(persist.Change{Op: op, Path: name}, 1, p)
		f.watcher.take(<-f.watcher.queue)
	}
	remove := func(pid uint32) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		change(persist.Deleted, pid)
	}
	remove(7)
	put(t, name, "old\n")
	change(persist.Created, 8)
	remove(9)
	f.watcher.finish()
	var got []string
	for _, row := range f.take() {
		if r, ok := row.(*event.DeviceEvents); ok {
			got = append(got, fmt.Sprint(r.ActionType, " by ", r.InitiatingProcessId))
		}
	}
	if len(got) != 1 || got[0] != "ScheduledTaskDeleted by 9" {
		t.Errorf("%q", got)
	}
}

func TestWatchQueueIsBounded(t *testing.T) {
	f, root := watched(t)
	for range watchQueue + 3 {
		f.watch(persist.Change{Op: persist.Modified, Path: filepath.Join(root, "etc/crontab")}, 1, nil)
		f.watch(persist.Change{Op: persist.Modified, Path: "/etc/crontab"}, 1, nil) // of another tree
	}
	if n := f.lost.copy()["persist.queue_full"]; n != 3 {
		t.Errorf("%d lost", n)
	}
}

func TestWatcherWithoutTree(t *testing.T) {
	f := newOffline(t, logon.Paths{})
	f.watch(persist.Change{Op: persist.Modified, Path: "/etc/crontab"}, 1, nil)
	f.watcher = newWatcher(f.Collector, filepath.Join(t.TempDir(), "none"), 0)
	f.watch(persist.Change{Op: persist.Modified, Path: "/etc/crontab"}, 1, nil)
	if rows := f.settle(); rows != nil {
		t.Errorf("rows %v", rows)
	}
	if err := f.watcher.close(); err != nil {
		t.Error(err)
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{{"/a", "/a/b", "/b"}, {"/a", "/ab", ""}, {"/a", "/a", ""}, {"/a", "", ""}} {
		if got := within(c[0], c[1]); got != c[2] {
			t.Errorf("%v: %q", c, got)
		}
	}
}
