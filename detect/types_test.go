// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/schema"
)

// TestColumnTypes: how rules see columns of every type, present and absent.
func TestColumnTypes(t *testing.T) {
	t.Parallel()
	row := func(change func(*event.DeviceProcessEvents)) *event.DeviceProcessEvents {
		r := started(1, 2, 1, "/bin/a", "a b")
		change(r)
		return r
	}
	plain := row(func(*event.DeviceProcessEvents) {})
	root := row(func(r *event.DeviceProcessEvents) { r.ProcessUserId = event.LongOf(0) })
	memory := row(func(r *event.DeviceProcessEvents) { r.IsFileless = true })
	early := row(func(r *event.DeviceProcessEvents) {
		r.ProcessCreationTime = event.TimeOf(time.Date(2025, 3, 4, 3, 5, 0, 0, time.UTC))
	})
	for _, c := range []struct {
		selection string
		row       event.Row
		want      bool
	}{
		{"ProcessId: 2", plain, true},
		{"ProcessId: '2'", plain, true},
		{"ProcessId: 0x2", plain, true},
		{"ProcessId|gt: 1", plain, true},
		{"ProcessId|lt: 2", plain, false},
		{"ProcessId|re: '^[0-9]$'", plain, true},
		{"ProcessId|cased: 2", plain, true},
		{"ProcessId|fieldref: ReportId", plain, false},
		{"ProcessId|fieldref|neq: ReportId", plain, true},
		{"ProcessUserId: 0", root, true},
		{"ProcessUserId: 0", plain, false},
		{"ProcessUserId: null", plain, true},
		{"ProcessUserId: null", root, false},
		{"ProcessUserId|exists: true", root, true},
		{"IsFileless: true", memory, true},
		{"IsFileless: true", plain, false},
		{"IsFileless: false", plain, true},
		{"IsFileless: false", memory, false},
		{"ProcessCreationTime|hour: 3", early, true},
		{"ProcessCreationTime|minute|lte: 5", early, true},
		{"ProcessCreationTime|startswith: 2025-03-04T03", early, true},
		{"ProcessCreationTime: null", plain, true},
		{"CommandLine|cased: 'a b'", plain, true},
		{"CommandLine|cased: 'A b'", plain, false},
		{"CommandLine: ''", plain, false},
		{"ProcessTty: ''", plain, true},
		{"ProcessTty: null", plain, true},
		{"ProcessTty|contains: ''", plain, false},
		{"ActionType: ProcessCreated", plain, true},
		{"ParentImage|fieldref|startswith: Image", plain, false},
	} {
		r := parse(t, "process_creation", "R", "s:\n    "+c.selection+"\ncondition: s")
		if got := len(feed(t, engine(t, r), envelope("d"), batch(c.row))) == 1; got != c.want {
			t.Errorf("%s: %v", c.selection, got)
		}
	}
}

// TestRealColumn: no table has one yet, so a group is given one by hand.
func TestRealColumn(t *testing.T) {
	t.Parallel()
	def := &schema.Column{Name: "Score", Type: schema.Real}
	c := &columnState{def: def, bound: []*event.Column{{Name: "Score", Type: schema.Real, Reals: []float64{1.5, 0}}}}
	g := &group{columns: []*columnState{c}, row: 1}
	env := envelope("d")
	v := g.read(0, &row{env: &env})
	l := &rule.Leaf{Kind: rule.Compare, Compare: rule.Greater, Number: 1}
	if v.Raw != "1.5" || !l.Match(v, nil) {
		t.Errorf("%+v", v)
	}
	g.row = 2
	if v := g.read(0, &row{env: &env, index: 1}); v.Presence != rule.Absent {
		t.Errorf("%+v", v)
	}
}

// TestRowNumbersStartOver: after as many rows as fit into their number, old
// results are not taken for new ones.
func TestRowNumbersStartOver(t *testing.T) {
	t.Parallel()
	e := engine(t, parse(t, "process_creation", "Evil", "s:\n    CommandLine|contains: evil\ncondition: s"))
	d := e.finders[0].(*rules)
	if n := len(feed(t, e, envelope("d"), batch(started(1, 2, 1, "/bin/a", "evil")))); n != 1 {
		t.Fatalf("%d alerts", n)
	}
	for _, g := range d.groups {
		g.row = ^uint32(0) - 1
	}
	d.row = ^uint32(0) - 1
	for i, want := range []int{0, 1, 0, 1} {
		command := "harmless"
		if want == 1 {
			command = "evil"
		}
		if n := len(feed(t, e, envelope("d"), batch(started(int64(i+2), i+2, 1, "/bin/a", command)))); n != want {
			t.Errorf("row %d: %d alerts, want %d", i, n, want)
		}
	}
}

// TestHugeText: a text far above anything usual neither fails nor stays in memory.
func TestHugeText(t *testing.T) {
	t.Parallel()
	e := engine(t, parse(t, "process_creation", "Evil", "s:\n    CommandLine|contains: [a, evil]\ncondition: s"))
	huge := started(1, 2, 1, "/bin/a", "")
	huge.ProcessCommandLine = repeat("a", 1<<20)
	if n := len(feed(t, e, envelope("d"), batch(huge, started(2, 3, 2, "/bin/a", "b"), started(3, 4, 2, "/bin/a", "b")))); n != 1 {
		t.Errorf("%d alerts", n)
	}
	for _, g := range e.finders[0].(*rules).groups {
		if cap(g.found) > maxKeptBuffer {
			t.Errorf("keeps room for %d findings", cap(g.found))
		}
		for _, c := range g.columns {
			if cap(c.buf) > maxKeptBuffer {
				t.Errorf("keeps %d bytes for %s", cap(c.buf), c.def.Name)
			}
		}
	}
}
