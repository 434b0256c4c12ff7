// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"slices"
	"testing"

	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
)

func TestUsageNamesKindsAndPrograms(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	_, records := captured(t)
	for range 3 {
		for _, b := range records {
			f.handle(b)
		}
	}
	f.publish()
	u := f.Usage()
	var n uint64
	for _, k := range u.Kinds {
		n += k.Records
	}
	if n != uint64(3*len(records)) {
		t.Errorf("%d of %d records are counted", n, 3*len(records))
	}
	if !slices.ContainsFunc(u.Kinds, func(k KindUsage) bool { return k.Kind == "process start" && k.Records > 0 }) {
		t.Errorf("kinds %+v", u.Kinds)
	}
	if len(u.Processes) == 0 || u.Processes[0].Records == 0 {
		t.Errorf("programs %+v", u.Processes)
	}
	for i := range u.Processes[1:] {
		if u.Processes[i].Records < u.Processes[i+1].Records {
			t.Errorf("not in order: %+v", u.Processes)
		}
	}
}

// A flood of processes that come and go does not make the meter grow, and
// those that cause most stay.
func TestMeterIsBounded(t *testing.T) {
	t.Parallel()
	m := newMeter()
	busy := &record.File{Header: record.Header{PID: 1, Start: 1}}
	for i := range uint32(5 * maxCausers) {
		m.note(busy)
		m.note(&record.Exit{Header: record.Header{PID: 10 + i, Start: 1}})
	}
	if len(m.causers) > maxCausers {
		t.Errorf("%d processes are counted", len(m.causers))
	}
	if c := m.causers[procKey{1, 1}]; c == nil || c.n != 5*maxCausers {
		t.Errorf("the busiest: %+v", c)
	}
}

// The kernel times the programs that run.
func TestLiveTiming(t *testing.T) {
	l := startLive(t, nil)
	timing, err := l.kernel.StartTiming()
	if err != nil {
		t.Skipf("the kernel does not time programs: %v", err)
	}
	hashed(t, l, "/bin/true")
	spent := timing.Stop()
	if spent["process_exec"] <= 0 || spent["process_exit"] <= 0 {
		t.Errorf("spent %v", spent)
	}
}
