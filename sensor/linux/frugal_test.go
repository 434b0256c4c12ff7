// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/budget"
	"github.com/picket-edr/picket/sensor/linux/kernel"
	"github.com/picket-edr/picket/sensor/linux/logon"
)

func additional(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return m
}

func TestShedEventsAreSummarized(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	counters := make([]kernel.Counter, len(kernel.Classes))
	counters[3].Limited = 5
	f.takeLimited(append([]kernel.Counter(nil), counters...))
	f.takeLimited(append([]kernel.Counter(nil), counters...)) // nothing new
	counters[3].Limited = 12
	f.takeLimited(append([]kernel.Counter(nil), counters...))
	rows := f.take()
	if len(rows) != 2 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, want := range []float64{5, 7} {
		r := rows[i].(*event.DeviceEvents)
		m := additional(t, r.AdditionalFields)
		if r.ActionType != "EventsSummarized" || m["Class"] != "ring.file" || m["Count"] != want {
			t.Errorf("%s %s", r.ActionType, r.AdditionalFields)
		}
	}
	if n := f.Limited()["ring.file"]; n != 12 {
		t.Errorf("%d left out in all", n)
	}
	if n := f.lost.copy()["ring.file"]; n != 0 {
		t.Errorf("%d counted as lost", n)
	}
}

func TestGoverningIsTold(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.frugal.governor.SetCeiling(budget.Ceiling{CPUPercent: 0.0001, MemoryBytes: 1})
	at := time.Now()
	f.govern(at)
	f.govern(at.Add(time.Minute))
	rows := f.take()
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	r := rows[0].(*event.DeviceEvents)
	if m := additional(t, r.AdditionalFields); r.ActionType != "SensorShedding" || m["Level"] != 1.0 || m["Reason"] != "memory" {
		t.Errorf("%s %s", r.ActionType, r.AdditionalFields)
	}
}

// A flood of one process becomes rows up to its limit and a count of the
// rest: together they are the truth. Another process is not held back.
func TestLiveFloodIsSummarized(t *testing.T) {
	const n = 400
	l := startLive(t, nil)
	l.SetBudget(Budget{Limits: budget.Limits{Process: map[string]budget.Rate{"file": {PerSecond: 1, Burst: 50}}}, Ceiling: budget.DefaultCeiling})
	dir := t.TempDir()
	before := filepath.Join(dir, "before")
	for i := 0; ; i++ { // until the limit is in force
		if err := os.WriteFile(before+strconv.Itoa(i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if l.Limited()["ring.file"] > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, "flood"+strconv.Itoa(i)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	summary := find(l, func(r *event.DeviceEvents) bool {
		return r.ActionType == "EventsSummarized" && r.InitiatingProcessId == int64(os.Getpid())
	})
	if m := additional(t, summary.AdditionalFields); m["Reason"] != "rate limit" || m["Class"] != "ring.file" {
		t.Errorf("%s", summary.AdditionalFields)
	}
	other := filepath.Join(dir, "other")
	if err := exec.Command("/bin/sh", "-c", "echo x > "+other).Run(); err != nil {
		t.Fatal(err)
	}
	find(l, func(r *event.DeviceFileEvents) bool { return r.FolderPath == other })
	l.stop()
	told := len(all(l, func(r *event.DeviceFileEvents) bool {
		return r.ActionType == "FileCreated" && r.InitiatingProcessId == int64(os.Getpid()) && filepath.Dir(r.FolderPath) == dir && len(filepath.Base(r.FolderPath)) > 5 && filepath.Base(r.FolderPath)[:5] == "flood"
	}))
	var left float64
	for _, r := range all(l, func(r *event.DeviceEvents) bool {
		return r.ActionType == "EventsSummarized" && r.InitiatingProcessId == int64(os.Getpid())
	}) {
		left += additional(t, r.AdditionalFields)["Count"].(float64)
	}
	if told >= n/2 || float64(told)+left < n {
		t.Errorf("%d files of %d told, %v left out", told, n, left)
	}
}
