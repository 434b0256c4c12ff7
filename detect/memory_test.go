// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
)

func observe(m *memory, name string, rows ...event.Row) *device {
	d := m.device("t", name)
	b := batch(rows...)
	env := envelope(name)
	for i, blk := range b.Blocks {
		v := newView(blk)
		for k := range blk.Rows {
			m.observe(d, &row{env: &env, batch: b, view: &v, block: i, index: k, action: v.action.text(k)})
		}
	}
	return d
}

func guidOf(n int) guid {
	g, _ := parseGUID(id(n))
	return g
}

func TestMemoryForgetsOldProcesses(t *testing.T) {
	t.Parallel()
	m := newMemory(1 << 20)
	d := observe(m, "d", started(1, 1, 0, "/sbin/init", "init"), started(2, 2, 1, "/bin/bash", "bash"))
	for i := range 3 * maxDeviceProcesses {
		observe(m, "d", started(int64(i+3), i+3, 2, "/bin/true", "true"))
	}
	if len(d.procs) != maxDeviceProcesses || len(d.index) != maxDeviceProcesses || m.total != maxDeviceProcesses {
		t.Fatalf("%d processes, %d in the index, %d in total", len(d.procs), len(d.index), m.total)
	}
	if p := d.lookup(guidOf(2)); p == nil || string(p.command) != "bash" {
		t.Error("the parent of recent processes is forgotten")
	}
	if d.lookup(guidOf(3)) != nil {
		t.Error("an old process without children is remembered")
	}
	if d.lookup(guidOf(3*maxDeviceProcesses+2)) == nil {
		t.Error("the latest process is not remembered")
	}
}

func TestMemoryForgetsSilentDevices(t *testing.T) {
	t.Parallel()
	m := newMemory(100)
	for k := range 10 {
		var rows []event.Row
		for i := range 40 {
			rows = append(rows, started(int64(i+1), i+2, 1, "/bin/true", "true"))
		}
		observe(m, fmt.Sprint("d", k), rows...)
	}
	total := 0
	for e := m.recent.Front(); e != nil; e = e.Next() {
		total += len(e.Value.(*device).procs)
	}
	if m.total > 100 || total != m.total || len(m.devices) != m.recent.Len() {
		t.Errorf("%d processes, counted %d, %d devices", total, m.total, len(m.devices))
	}
	if _, ok := m.devices[deviceKey{"t", "d9"}]; !ok {
		t.Error("the most recent device is forgotten")
	}
	if _, ok := m.devices[deviceKey{"t", "d0"}]; ok {
		t.Error("the oldest device is remembered")
	}
	// One device alone never takes more than the bound either.
	for i := range 500 {
		observe(m, "d9", started(int64(i+1), i+1000, 1, "/bin/true", "true"))
	}
	if m.total > 100 {
		t.Errorf("%d processes", m.total)
	}
}

func TestMemoryCutsAndReplaces(t *testing.T) {
	t.Parallel()
	m := newMemory(100)
	d := observe(m, "d", started(1, 1, 0, "/"+strings.Repeat("p", 2000), strings.Repeat("c", 5000)))
	if p := d.lookup(guidOf(1)); len(p.path) != maxPathText || len(p.command) != maxCommandText {
		t.Errorf("keeps %d and %d bytes", len(p.path), len(p.command))
	}
	observe(m, "d", started(2, 1, 0, "/bin/new", "new")) // the process runs another image
	if p := d.lookup(guidOf(1)); string(p.path) != "/bin/new" || string(p.command) != "new" || len(d.procs) != 1 {
		t.Errorf("%+v", p)
	}
	bad := started(3, 7, 0, "/bin/x", "x")
	bad.ProcessUniqueId, bad.InitiatingProcessUniqueId = "not a guid", strings.Repeat("0", 32)
	observe(m, "d", bad)
	if len(d.procs) != 1 {
		t.Error("a process without identity is remembered")
	}
	for _, s := range []string{"", strings.Repeat("z", 32), strings.Repeat("0", 32)} {
		if g, ok := parseGUID(s); ok || g.String() != "" {
			t.Errorf("%q is a GUID", s)
		}
	}
	if g := guidOf(5); g.String() != id(5) {
		t.Error(g)
	}
}

// TestChainEnds: a forged circle of parents does not go on for ever.
func TestChainEnds(t *testing.T) {
	t.Parallel()
	e := engine(t, parse(t, "process_creation", "Evil", "s: {CommandLine: evil}\ncondition: s"))
	row := started(3, 3, 2, "/bin/e", "evil")
	row.InitiatingProcessParentUniqueId = id(1)
	a := feed(t, e, envelope("d"), batch(started(1, 1, 2, "/a", "a"), started(2, 2, 1, "/b", "b"), row))
	if len(a) != 1 || len(a[0].Evidence) > maxChain+4 {
		t.Errorf("%+v", a)
	}
}
