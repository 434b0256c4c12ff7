// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
)

func TestLossesBySecond(t *testing.T) {
	t.Parallel()
	const base = 1_772_600_000 * second
	at := func(ms int64) event.Time { return event.Time(base + ms*1000) }
	type look struct {
		ms   int64
		lost map[string]uint64
	}
	one := func(t int64, n uint64) lossSecond {
		return lossSecond{T: 1_772_600_000 + t, Lost: map[string]uint64{"ring.file": n}}
	}
	for _, c := range []struct {
		name  string
		looks []look
		want  []lossSecond
	}{
		{"nothing", []look{{0, nil}, {500, nil}}, nil},
		{"details are no events", []look{{0, nil}, {500, map[string]uint64{"hash.late": 9, "cache.full": 1, "proc.gone": 1}}}, nil},
		{"within one second", []look{{0, nil}, {400, map[string]uint64{"ring.file": 2}}, {900, map[string]uint64{"ring.file": 5}}}, []lossSecond{one(0, 5)}},
		{"seconds of their own", []look{{0, nil}, {500, map[string]uint64{"ring.file": 2}}, {1000, map[string]uint64{"ring.file": 2}}, {1500, map[string]uint64{"ring.file": 9}}}, []lossSecond{one(0, 2), one(1, 7)}},
		{
			"classes apart", []look{{0, nil}, {500, map[string]uint64{"ring.file": 2, "queue.full": 1}}},
			[]lossSecond{{T: 1_772_600_000, Lost: map[string]uint64{"ring.file": 2, "queue.full": 1}}},
		},
		{
			"a reader that was held up", []look{{0, nil}, {3500, map[string]uint64{"ring.file": 2}}},
			[]lossSecond{{T: 1_772_600_000, D: 4, Lost: map[string]uint64{"ring.file": 2}}},
		},
		{"a clock that was set back", []look{{0, nil}, {-90_000, map[string]uint64{"ring.file": 2}}}, []lossSecond{one(-90, 2)}},
		{"lost before the first look", []look{{0, map[string]uint64{"ring.file": 2}}}, []lossSecond{one(0, 2)}},
	} {
		var l lossTimes
		for _, k := range c.looks {
			l.look(at(k.ms), k.lost)
		}
		end := at(c.looks[len(c.looks)-1].ms)
		from, got := l.take(end)
		if d := cmp.Diff(c.want, got); d != "" || from > end {
			t.Errorf("%s: from %v, %s", c.name, from, d)
		}
		if from, got := l.take(end); from != end || got != nil {
			t.Errorf("%s: told twice: %v, %v", c.name, from, got)
		}
	}
	var l lossTimes
	for i := range uint64(1000) {
		l.look(at(int64(i)*1000), map[string]uint64{"ring.file": i})
	}
	if _, got := l.take(at(999_000)); len(got) != maxLossSeconds {
		t.Errorf("%d seconds are listed", len(got))
	}
}

func TestRowsOfLossesTellTheirTime(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.clock.sync()
	f.countLosses()
	f.lost.add("queue.full", 3)
	f.lost.add("hash.late", 3)
	f.countLosses()
	f.tellLosses()
	rows := f.take()
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	loss := rows[0].(*event.DeviceEvents)
	var told struct {
		Lost     map[string]uint64
		Seconds  []lossSecond
		From, To string
	}
	if err := json.Unmarshal([]byte(loss.AdditionalFields), &told); err != nil {
		t.Fatal(err)
	}
	if told.To != loss.Timestamp.String() || told.From == "" || told.From > told.To || told.Lost["queue.full"] != 3 {
		t.Errorf("told %+v at %v", told, loss.Timestamp)
	}
	if len(told.Seconds) != 1 || told.Seconds[0].Lost["queue.full"] != 3 || len(told.Seconds[0].Lost) != 1 || told.Seconds[0].T > int64(loss.Timestamp)/second {
		t.Errorf("by second %+v", told.Seconds)
	}
}
