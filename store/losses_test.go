// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var told = time.Date(2026, 11, 24, 12, 0, 10, 0, time.UTC)

// ago is seconds before the row was told.
func ago(s float64) time.Time { return told.Add(-time.Duration(s * float64(time.Second))) }

func TestLossesOfARow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, action, fields string
		want                 []Loss
	}{
		{"nothing", "SensorLoss", `{}`, nil},
		{"not an object", "SensorLoss", `[1]`, nil},
		{"totals alone", "SensorLoss", `{"Lost":{"ring.file":3}}`, []Loss{{told, told, "ring.file", 3}}},
		{"with a beginning", "SensorLoss", `{"Lost":{"ring.file":3},"Since":"2026-11-24T12:00:00Z"}`, []Loss{{ago(10), told, "ring.file", 3}}},
		{"a beginning after the end", "SensorLoss", `{"Lost":{"ring.file":3},"Since":"2026-11-25T12:00:00Z"}`, []Loss{{told, told, "ring.file", 3}}},
		{
			"by second", "SensorLoss", `{"Lost":{"ring.file":5},"From":"2026-11-24T12:00:05Z","To":"2026-11-24T12:00:10Z","Seconds":[{"T":1795521606,"Lost":{"ring.file":2}},{"T":1795521608,"D":2,"Lost":{"ring.file":3}}]}`,
			[]Loss{{ago(4), ago(3), "ring.file", 2}, {ago(2), told, "ring.file", 3}},
		},
		{
			"some without a second", "SensorLoss", `{"Lost":{"ring.file":5,"queue.full":1},"From":"2026-11-24T12:00:05Z","To":"2026-11-24T12:00:10Z","Seconds":[{"T":1795521606,"Lost":{"ring.file":2}}]}`,
			[]Loss{{ago(5), told, "queue.full", 1}, {ago(5), told, "ring.file", 3}, {ago(4), ago(3), "ring.file", 2}},
		},
		{
			"more by second than in all", "SensorLoss", `{"Lost":{"ring.file":1},"Seconds":[{"T":1795521606,"Lost":{"ring.file":2,"other":4}}]}`,
			[]Loss{{ago(4), ago(3), "ring.file", 1}},
		},
		{
			"a clock that is an hour behind", "SensorLoss", `{"Lost":{"ring.file":2},"From":"2026-11-24T11:00:05Z","To":"2026-11-24T11:00:10Z","Seconds":[{"T":1795518006,"Lost":{"ring.file":2}}]}`,
			[]Loss{{ago(4), ago(3), "ring.file", 2}},
		},
		{"times that are none", "SensorLoss", `{"Lost":{"a":1},"From":7,"To":"soon","Since":{}}`, []Loss{{told, told, "a", 1}}},
		{"a gap", "SensorGap", `{"Lost":{"batches":2},"From":"2026-11-24T12:00:00Z","To":"2026-11-24T12:00:10Z"}`, []Loss{{ago(10), told, "batches", 2}}},
		{"the network was cut", "DeviceSilent", `{"From":"2026-11-24T12:00:00Z","To":"2026-11-24T12:00:10Z","Reason":"NetworkCut"}`, nil},
		{"the sensor was killed", "DeviceSilent", `{"From":"2026-11-24T12:00:00Z","To":"2026-11-24T12:00:10Z","Reason":"SensorKilled"}`, []Loss{{ago(10), told, BlindClass, 0}}},
	} {
		got := losses(told, c.action, c.fields)
		slices.SortStableFunc(got, byTime)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestMergeLosses(t *testing.T) {
	t.Parallel()
	all := []Loss{
		{ago(10), ago(9), "a", 1}, {ago(9), ago(8), "a", 2}, {ago(9), ago(8), "b", 5}, {ago(7), ago(6), "a", 4},
		{ago(4), ago(3), "a", 7}, {ago(3), ago(3), "b", 1},
	}
	want := []Loss{{ago(10), ago(6), "a", 7}, {ago(9), ago(8), "b", 5}, {ago(4), ago(3), "a", 7}, {ago(3), ago(3), "b", 1}}
	if d := cmp.Diff([]Loss{want[1], want[0], want[2], want[3]}, MergeLosses(all)); d != "" {
		t.Error(d)
	}
	if got := MergeLosses(nil); len(got) != 0 {
		t.Errorf("nothing merged is %v", got)
	}
}

func TestLossTouches(t *testing.T) {
	t.Parallel()
	l := Loss{From: ago(5), To: ago(3)}
	for _, c := range []struct {
		from, to time.Time
		want     bool
	}{
		{ago(10), ago(6), false}, {ago(10), ago(5), false}, {ago(10), ago(4), true}, {ago(4), ago(4), true}, {ago(3), ago(1), true}, {ago(2), ago(1), false},
		{time.Time{}, ago(4), true}, {ago(4), time.Time{}, true}, {ago(2), time.Time{}, false}, {time.Time{}, time.Time{}, true},
	} {
		if got := l.touches(c.from, c.to); got != c.want {
			t.Errorf("%v to %v: %v", c.from, c.to, got)
		}
	}
}

func FuzzLosses(f *testing.F) {
	f.Add("SensorLoss", `{"Lost":{"ring.file":5},"From":"2026-11-24T12:00:05Z","To":"2026-11-24T12:00:10Z","Seconds":[{"T":1795521606,"D":9,"Lost":{"ring.file":2}}]}`)
	f.Add("DeviceSilent", `{"From":"2026-11-24T12:00:00Z","Reason":"SensorKilled"}`)
	f.Add("SensorLoss", `{"Lost":{"a":1e300,"b":"9","c":-1},"Seconds":`+strings.Repeat("[", 50))
	f.Fuzz(func(t *testing.T, action, fields string) {
		for _, l := range losses(told, action, fields) {
			if l.Count < 0 || l.To.Before(l.From) {
				t.Errorf("loss %+v", l)
			}
		}
	})
}
