// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
)

// part is a batch of one device with rows of given numbers.
type part struct {
	device, boot string
	seq          uint64
	rest         int
	ids          []int64
}

func (p part) envelope() event.Envelope {
	return event.Envelope{Tenant: "t", DeviceID: p.device, BootID: p.boot, Seq: p.seq}
}

func (p part) batch() *event.Batch {
	var b event.Builder
	for _, id := range p.ids {
		b.Add(&event.DeviceFileEvents{ReportId: id, ActionType: "FileCreated"})
	}
	return &event.Batch{BootID: p.boot, Seq: p.seq, Rest: p.rest, Blocks: b.Take()}
}

// seen says which batch each moment begins with and the rows in the order in
// which an engine sees them.
func seen(moments []Moment) string {
	var all []string
	for _, m := range moments {
		var e Engine
		e.open(m.Batch)
		ids := []string{}
		for r := (row{env: &m.Envelope, batch: m.Batch}); e.next(&r); {
			ids = append(ids, fmt.Sprint(r.view.report.int(r.index)))
		}
		all = append(all, fmt.Sprintf("%s/%s/%d:%s", m.Envelope.DeviceID, m.Envelope.BootID, m.Envelope.Seq, strings.Join(ids, ",")))
	}
	return strings.Join(all, " ")
}

func TestGather(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		parts []part
		want  []string // after each part
		left  string   // given up on in the end
	}{
		{"alone", []part{{"d", "b", 1, 0, []int64{1}}}, []string{"d/b/1:1"}, ""},
		{
			"three classes", []part{{"d", "b", 1, 2, []int64{1, 5}}, {"d", "b", 2, 1, []int64{3, 6}}, {"d", "b", 3, 0, []int64{2, 4}}},
			[]string{"", "", "d/b/1:1,2,3,4,5,6"}, "",
		},
		{
			"devices between each other", []part{{"d", "b", 1, 1, []int64{1, 4}}, {"e", "b", 1, 1, []int64{2}}, {"d", "b", 2, 0, []int64{3}}, {"e", "b", 2, 0, []int64{1}}},
			[]string{"", "", "d/b/1:1,3,4", "e/b/1:1,2"}, "",
		},
		{
			"the rest was given up, the next moment comes", []part{{"d", "b", 1, 2, []int64{2}}, {"d", "b", 2, 1, []int64{1}}, {"d", "b", 3, 1, []int64{7}}, {"d", "b", 4, 0, []int64{6}}},
			[]string{"", "", "d/b/1:1,2", "d/b/3:6,7"}, "",
		},
		{"a batch is missing", []part{{"d", "b", 1, 1, []int64{2}}, {"d", "b", 3, 0, []int64{1}}}, []string{"", "d/b/1:2 d/b/3:1"}, ""},
		{"another boot", []part{{"d", "b", 1, 1, []int64{2}}, {"d", "c", 2, 0, []int64{1}}}, []string{"", "d/b/1:2 d/c/2:1"}, ""},
		{"what the server says passes", []part{{"d", "b", 1, 1, []int64{2}}, {"d", "b", 0, 0, []int64{-9}}, {"d", "b", 2, 0, []int64{1}}}, []string{"", "d/b/0:-9", "d/b/1:1,2"}, ""},
		{"the end never comes", []part{{"e", "b", 4, 1, []int64{8}}, {"d", "b", 1, 2, []int64{2}}, {"d", "b", 2, 1, []int64{1}}}, []string{"", "", ""}, "e/b/4:8 d/b/1:1,2"},
	} {
		var g Gather
		now := time.Unix(1_772_600_000, 0)
		held := false
		for i, p := range c.parts {
			place := uint64(i + 1)
			before := g.Clone()
			first := seen(before.Add(place, p.envelope(), p.batch(), now))
			if got := seen(g.Add(place, p.envelope(), p.batch(), now)); got != c.want[i] || got != first {
				t.Errorf("%s, part %d: %q, want %q; of the clone %q", c.name, i, got, c.want[i], first)
			}
			held = held || g.Before(place) < place
		}
		if (len(c.parts) > 1) != held {
			t.Errorf("%s: the position never stays behind", c.name)
		}
		if got := seen(g.Overdue(now.Add(gatherWait - 1))); got != "" {
			t.Errorf("%s: given up too early on %q", c.name, got)
		}
		if got := seen(g.Overdue(now.Add(gatherWait))); got != c.left {
			t.Errorf("%s: given up on %q, want %q", c.name, got, c.left)
		}
		if g.Before(9) != 9 {
			t.Errorf("%s: something is held back still", c.name)
		}
	}
}

// TestRowsOfADeviceAreSeenInOrder cuts rows into moments and classes in many
// ways: whatever the way, they are seen in the order of their numbers.
func TestRowsOfADeviceAreSeenInOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var g Gather
		seq, place, id := uint64(0), uint64(0), int64(0)
		var got []string
		for range 1 + random.IntN(20) {
			classes := make([][]int64, 3)
			for range 1 + random.IntN(10) {
				id++
				c := random.IntN(3)
				classes[c] = append(classes[c], id)
			}
			classes = slices.DeleteFunc(classes, func(ids []int64) bool { return len(ids) == 0 })
			for i, ids := range classes {
				seq++
				place++
				p := part{"d", "b", seq, len(classes) - 1 - i, ids}
				for _, m := range g.Add(place, p.envelope(), p.batch(), time.Unix(0, 0)) {
					_, rows, _ := strings.Cut(seen([]Moment{m}), ":")
					got = append(got, strings.Split(rows, ",")...)
				}
			}
		}
		for i, n := range got {
			if n != fmt.Sprint(i+1) {
				t.Fatalf("row %d is seen as number %d", i+1, i)
			}
		}
		if int64(len(got)) != id {
			t.Fatalf("%d rows of %d are seen", len(got), id)
		}
	}
}
