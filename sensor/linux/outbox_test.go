// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
	"pgregory.net/rapid"
)

type box struct {
	*outbox
	rows   []event.Row
	refuse bool
	time   time.Time
}

func newBox() *box {
	b := &box{time: time.Unix(1, 0)}
	var id int64
	b.outbox = newOutbox(func(r event.Row) bool {
		if b.refuse {
			return false
		}
		b.rows = append(b.rows, r)
		return true
	}, func() int64 { id++; return id }, newTally(), newTally())
	b.now = func() time.Time { return b.time }
	return b
}

func TestOutboxWaitsForHashes(t *testing.T) {
	t.Parallel()
	b := newBox()
	i := &image{sha256: "aa"}
	first, second := &event.DeviceProcessEvents{}, &event.DeviceFileEvents{}
	b.push(first, i, nil, true)
	b.push(second, nil, i, false)
	if len(b.rows) != 0 || b.idle() {
		t.Fatal("a row did not wait for its hash, or one overtook it")
	}
	i.state.Store(hashDone)
	b.flush(false)
	if len(b.rows) != 2 || first.SHA256 != "aa" || second.InitiatingProcessSHA256 != "aa" || first.ReportId != 1 || second.ReportId != 2 {
		t.Errorf("rows %+v", b.rows)
	}
	if n := b.lost.copy()["hash.late"]; n != 0 || !b.idle() {
		t.Errorf("late %d", n)
	}
}

func TestOutboxDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	b := newBox()
	b.push(&event.DeviceProcessEvents{}, &image{}, nil, true)
	b.time = b.time.Add(hashWait - 1)
	b.flush(false)
	if len(b.rows) != 0 {
		t.Fatal("went too early")
	}
	b.time = b.time.Add(1)
	b.flush(false)
	if len(b.rows) != 1 || b.lost.copy()["hash.late"] != 1 {
		t.Errorf("%d rows, lost %v", len(b.rows), b.lost.copy())
	}
	b.push(&event.DeviceProcessEvents{}, &image{}, nil, true)
	b.flush(true)
	if len(b.rows) != 2 {
		t.Error("the last flush held a row back")
	}
}

func TestOutboxIsBounded(t *testing.T) {
	t.Parallel()
	b := newBox()
	for range maxOutbox + 10 {
		b.push(&event.DeviceProcessEvents{}, &image{}, nil, true)
	}
	if len(b.waiting) > maxOutbox || len(b.rows) != 10 {
		t.Errorf("%d wait, %d went", len(b.waiting), len(b.rows))
	}
}

func TestOutboxTellsLosses(t *testing.T) {
	t.Parallel()
	b := newBox()
	b.miss("DeviceFileEvents", 3)
	b.refuse = true
	b.push(&event.DeviceFileEvents{}, nil, nil, false)
	b.push(&event.DeviceProcessEvents{}, nil, nil, false)
	b.refuse = false
	file, process, again := &event.DeviceFileEvents{}, &event.DeviceProcessEvents{}, &event.DeviceFileEvents{}
	b.push(file, nil, nil, false)
	b.push(process, nil, nil, false)
	b.push(again, nil, nil, false)
	if file.EvidenceLoss != 4 || process.EvidenceLoss != 1 || again.EvidenceLoss != 0 {
		t.Errorf("losses %d %d %d", file.EvidenceLoss, process.EvidenceLoss, again.EvidenceLoss)
	}
	if b.lost.copy()["queue.full"] != 2 || b.sent.copy()["DeviceFileEvents"] != 2 {
		t.Errorf("lost %v, sent %v", b.lost.copy(), b.sent.copy())
	}
}

func TestSealReachesEveryTable(t *testing.T) {
	t.Parallel()
	for _, row := range []event.Row{&event.DeviceProcessEvents{}, &event.DeviceFileEvents{}, &event.DeviceNetworkEvents{},
		&event.DeviceLogonEvents{}, &event.DeviceEvents{}, &event.DeviceInfo{}, &event.DeviceNetworkInfo{}} {
		seal(row, 5, 6)
		if c := columns(row); c["ReportId"] != int64(5) || c["EvidenceLoss"] != int64(6) {
			t.Errorf("%s: %v", row.Table().Name, c)
		}
	}
}

// Whatever waits for whatever, rows leave in the order in which they came,
// each exactly once.
func TestOutboxKeepsOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := newBox()
		images := make([]*image, 4)
		for i := range images {
			images[i] = &image{}
		}
		pushed := 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				pushed++
				b.push(&event.DeviceProcessEvents{ProcessId: int64(pushed)}, images[rapid.IntRange(0, 3).Draw(t, "image")], nil, rapid.Bool().Draw(t, "wait"))
			},
			"settle": func(t *rapid.T) {
				images[rapid.IntRange(0, 3).Draw(t, "image")].state.Store(hashDone)
				b.flush(false)
			},
			"time": func(t *rapid.T) {
				b.time = b.time.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "ms")) * time.Millisecond)
				b.flush(false)
			},
			"": func(t *rapid.T) {
				for i, row := range b.rows {
					r := row.(*event.DeviceProcessEvents)
					if r.ProcessId != int64(i+1) || r.ReportId != int64(i+1) {
						t.Fatalf("row %d is number %d, report %d", i+1, r.ProcessId, r.ReportId)
					}
				}
				if len(b.rows)+len(b.waiting) != pushed {
					t.Fatalf("%d left and %d wait of %d", len(b.rows), len(b.waiting), pushed)
				}
			},
		})
	})
}
