// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"fmt"
	"strings"
	"testing"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const aSecond = uint64(1e9)

// aLife is what the kernel tells of a process, in the order in which it was.
func aLife(pid uint32, start uint64) []any {
	head := func(at uint64) record.Header {
		return record.Header{Time: at, Start: start, PID: pid, TID: pid, PPID: 4_000_001, ParentStart: aSecond, Comm: "prog"}
	}
	parent := record.Header{Time: start, Start: aSecond, PID: 4_000_001, TID: 4_000_001, Comm: "sh"}
	exec := &record.Exec{Header: head(start + 1000), Exe: "/bin/prog", Cwd: "/", Args: []byte("prog\x00" + fmt.Sprint(start) + "\x00")}
	file := &record.File{Header: head(start + 2000), Path: "/tmp/x", OpenerPID: pid, OpenerStart: start, FileFlags: record.FileCreated,
		Image: record.ImagePart{Nlink: 1}}
	return []any{&record.Fork{Header: parent, ChildPID: pid, ChildStart: start}, exec, file, &record.Exit{Header: head(start + 3000)}}
}

// permutations calls f with every order of n things.
func permutations(n int, f func([]int)) {
	order := make([]int, n)
	var place func(k int)
	place = func(k int) {
		if k == n {
			f(order)
			return
		}
		for i := range order[:k+1] {
			copy(order[i+1:k+1], order[i:k])
			order[i] = k
			place(k + 1)
			copy(order[i:k], order[i+1:k+1])
		}
	}
	place(0)
}

// Records come from the rings of several processors: whatever their order, a
// process is one.
func TestRecordsOutOfOrder(t *testing.T) {
	t.Parallel()
	guid := picket.ProcessGUID(testDevice, "7d444840-9dc0-11d1-b245-5ffdce74fad2", 4_000_002, 10*aSecond)
	permutations(4, func(order []int) {
		f := newOffline(t, logon.Paths{})
		life := aLife(4_000_002, 10*aSecond)
		for _, i := range order {
			f.onRecord(life[i])
		}
		seen := map[string]int{}
		for _, row := range f.take() {
			switch r := row.(type) {
			case *event.DeviceProcessEvents:
				seen[r.ActionType+" "+r.ProcessUniqueId]++
			case *event.DeviceFileEvents:
				seen[r.ActionType+" "+r.InitiatingProcessUniqueId]++
			}
		}
		want := map[string]int{"ProcessCreated " + guid: 1, "FileCreated " + guid: 1, "ProcessExited " + guid: 1}
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("in the order %v: %v", order, seen)
		}
	})
}

// The records of one that is late are not given to the next with its id.
func TestLateRecordOfReusedID(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	first, second := aLife(4_000_002, 10*aSecond+1), aLife(4_000_002, 10*aSecond+5001)
	late := first[2]
	for _, rec := range []any{first[0], first[1], first[3], second[0], second[1], late, second[2]} {
		f.onRecord(rec)
	}
	var by []string
	guids := map[string]bool{}
	for _, row := range f.take() {
		if r, ok := row.(*event.DeviceFileEvents); ok {
			by = append(by, r.InitiatingProcessCommandLine)
			guids[r.InitiatingProcessUniqueId] = true
		}
	}
	if fmt.Sprint(by) != "[prog 10000000001 prog 10000005001]" || len(guids) != 2 {
		t.Errorf("files by %q, %d GUIDs", by, len(guids))
	}
}

// A process that was restored from a checkpoint, or whose start was lost,
// began at a time that nobody saw: it is told of under its own identity.
func TestProcessFromNowhere(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.snapshotAt = 100 * aSecond
	life := aLife(4_000_002, 5*aSecond)
	file := life[2].(*record.File)
	file.Time = 200 * aSecond
	f.onRecord(file)
	rows := f.take()
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	r := rows[0].(*event.DeviceFileEvents)
	if r.InitiatingProcessId != 4_000_002 || r.InitiatingProcessUniqueId == "" || r.InitiatingProcessCreationTime != f.clock.time(5*aSecond) || r.InitiatingProcessFileName != "prog" {
		t.Errorf("row %v", columns(r))
	}
	if f.lost.copy()["cache.unknown"] != 1 {
		t.Errorf("that it was not known is not counted: %v", f.lost.copy())
	}
}

// The wall clock is set while a process runs: what it is does not change, nor
// how long it lived; rows have the time that the host has by then.
func TestWallClockIsSet(t *testing.T) {
	t.Parallel()
	for _, step := range []int64{-3600e9, 3600e9, -1_700_000_000e9} {
		f := newOffline(t, logon.Paths{})
		life := aLife(4_000_002, 10*aSecond)
		f.onRecord(life[0])
		f.onRecord(life[1])
		start := f.take()[0].(*event.DeviceProcessEvents)
		f.clock.offset.Add(step)
		f.onRecord(life[2])
		f.onRecord(life[3])
		rows := f.take()
		file, end := rows[0].(*event.DeviceFileEvents), rows[1].(*event.DeviceProcessEvents)
		if end.ProcessUniqueId != start.ProcessUniqueId || file.InitiatingProcessUniqueId != start.ProcessUniqueId {
			t.Errorf("step %d: the process is another", step)
		}
		if end.ProcessCreationTime != start.ProcessCreationTime || end.ProcessLifetimeMs.Value != 0 {
			t.Errorf("step %d: began %d and %d, lived %d ms", step, start.ProcessCreationTime, end.ProcessCreationTime, end.ProcessLifetimeMs.Value)
		}
		if moved := int64(end.Timestamp-start.Timestamp) * 1000; moved < step || moved > step+1e6 {
			t.Errorf("step %d: rows moved by %d", step, moved)
		}
	}
}

// The host sleeps: the boot clock goes on meanwhile, so times and lives are
// right, and processes that run stay known.
func TestHostSleeps(t *testing.T) {
	t.Parallel()
	const night = 8 * 3600 * aSecond
	f := newOffline(t, logon.Paths{})
	life := aLife(4_000_002, 10*aSecond)
	f.onRecord(life[0])
	f.onRecord(life[1])
	start := f.take()[0].(*event.DeviceProcessEvents)
	f.cache.expire(10*aSecond + night)
	end := life[3].(*record.Exit)
	end.Time += night
	f.onRecord(end)
	row := f.take()[0].(*event.DeviceProcessEvents)
	if row.ProcessUniqueId != start.ProcessUniqueId || row.ProcessCommandLine != start.ProcessCommandLine || strings.Contains(row.AdditionalFields, "StartLost") {
		t.Errorf("ended as %v", columns(row))
	}
	if row.ProcessLifetimeMs.Value != int64(night/1e6) || int64(row.Timestamp-start.Timestamp) < int64(night/1e3) {
		t.Errorf("lived %d ms, %d µs between the rows", row.ProcessLifetimeMs.Value, row.Timestamp-start.Timestamp)
	}
}
