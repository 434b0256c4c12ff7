// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
)

func TestBytesWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags     uint32
		size, pos uint64
		before    int64
		want      int64
	}{
		"new, start to end":          {record.FileCreated | record.FileWriteOnly, 10, 10, 0, 10},
		"new, position elsewhere":    {record.FileCreated | record.FileWriteOnly, 10, 4, 0, 0},
		"new, also read":             {record.FileCreated, 10, 10, 0, 0},
		"emptied and written":        {record.FileTruncated | record.FileWriteOnly, 7, 7, 0, 7},
		"appended":                   {record.FileAppend | record.FileWriteOnly, 15, 15, 5, 10},
		"appended, shrunk meanwhile": {record.FileAppend | record.FileWriteOnly, 3, 3, 5, 0},
		"overwritten":                {record.FileWriteOnly, 10, 10, 10, 0},
		"told before":                {record.FileCreated | record.FileWriteOnly | record.FileReported, 10, 10, 0, 0},
	} {
		r := &record.File{FileFlags: c.flags, SizeAtOpen: c.before, Pos: c.pos}
		r.Image.Size = c.size
		if got := bytesWritten(r); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestProcFiles(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	for path, told := range map[string]bool{
		"/proc/sys/kernel/core_pattern": true, "/proc/1/mem": true, "/proc/sysrq-trigger": true,
		"/proc/77/oom_score_adj": false, "/proc/self/attr/current": false, "/proc/1/uid_map": false,
	} {
		r := &record.File{Path: path}
		r.Image.Sup = procMagic
		f.onFile(r)
		if got := len(f.take()) > 0; got != told {
			t.Errorf("%s is told: %v", path, got)
		}
	}
}

// held is a record of a file whose last close is still to come.
func held(path string, at uint64) *record.File {
	r := &record.File{Path: path, OpenedAt: at, Key: 0xffff888000000000, Held: true, FileFlags: record.FileCreated}
	r.Time = at
	r.Image.Size = 3
	return r
}

func TestHeldFilesAreToldOnce(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.onFile(held("/a", 100))
	last := held("/a", 100)
	last.Held, last.Image.Size = false, 9
	f.onFile(last)
	f.onFile(held("/b", 200)) // its last close never comes
	if rows := f.take(); len(rows) != 1 || rows[0].(*event.DeviceFileEvents).FileSize != 9 {
		t.Fatalf("%d rows", len(rows))
	}
	f.releaseHeld(200+heldFor-1, false)
	if len(f.take()) != 0 {
		t.Error("told too early")
	}
	f.releaseHeld(200+heldFor, false)
	f.releaseHeld(200+2*heldFor, false)
	rows := f.take()
	if len(rows) != 1 || rows[0].(*event.DeviceFileEvents).FolderPath != "/b" || rows[0].(*event.DeviceFileEvents).ActionType != "FileCreated" {
		t.Errorf("%d rows", len(rows))
	}
	for i := range uint64(maxHeld + 10) {
		f.onFile(held("/c", 1000+i))
	}
	if len(f.held) > maxHeld || len(f.take()) != 10 {
		t.Errorf("%d are held", len(f.held))
	}
}

func TestPathOperations(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	for _, c := range []struct {
		r                  record.PathOp
		action, path, from string
		extra              string
	}{
		{record.PathOp{Op: record.OpUnlink, Base: "/tmp", Name: "../etc/x"}, "FileDeleted", "/etc/x", "", ""},
		{record.PathOp{Op: record.OpRename, Base: "/a", Name: "x", BaseNew: "/b", NameNew: "y", Arg: renameSwap}, "FileRenamed", "/b/y", "/a/x", "Exchanged"},
		{record.PathOp{Op: record.OpLink, Base: "/a", Name: "x", BaseNew: "/b", NameNew: "y"}, "FileCreated", "/b/y", "", `"Target":"/a/x"`},
		{record.PathOp{Op: record.OpSymlink, Base: "/", Name: "../up", BaseNew: "/b", NameNew: "y"}, "FileCreated", "/b/y", "", `"Target":"../up"`},
		{record.PathOp{Op: record.OpTruncate, Base: "/a", Name: "x", IncompleteBaseName: true}, "FileModified", "/a/x", "", "PathCut"},
	} {
		f.onPathOp(&c.r)
		rows := f.take()
		if len(rows) != 1 {
			t.Fatalf("%d rows", len(rows))
		}
		r := rows[0].(*event.DeviceFileEvents)
		if r.ActionType != c.action || r.FolderPath != c.path || r.PreviousFolderPath != c.from || !strings.Contains(r.AdditionalFields, c.extra) {
			t.Errorf("row %v", columns(r))
		}
	}
	f.onPathOp(&record.PathOp{Op: 99})
	f.onNet(&record.Net{Op: 99})
	if n := f.lost.copy()["decode"]; n != 2 || len(f.take()) != 0 {
		t.Errorf("unknown operations: counted %d", n)
	}
}

// A process whose start was lost must not be told with the image that it had
// from its parent.
func TestLostStart(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	parent := f.cache.add(10, 100, nil)
	parent.name, parent.path, parent.cmdline, parent.reported = "bash", "/bin/bash", "bash -i", true
	f.cache.fork(parent, 11, 200)
	end := &record.Exit{}
	end.PID, end.Start, end.Time, end.Comm = 11, 200, 300, "curl"
	f.onExit(end)
	f.cache.fork(parent, 12, 400)
	quiet := &record.Exit{NeverExec: true}
	quiet.PID, quiet.Start, quiet.Time = 12, 400, 500
	f.onExit(quiet)
	rows := f.take()
	if len(rows) != 1 {
		t.Fatalf("%d rows: a fork that runs no image is no event", len(rows))
	}
	r := rows[0].(*event.DeviceProcessEvents)
	if r.FileName != "curl" || r.FolderPath != "" || r.ProcessCommandLine != "" || !strings.Contains(r.AdditionalFields, "StartLost") ||
		r.InitiatingProcessFileName != "bash" {
		t.Errorf("row %v", columns(r))
	}
}
