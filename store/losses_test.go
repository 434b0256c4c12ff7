// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var toldAt = time.Date(2026, 11, 24, 12, 0, 10, 0, time.UTC)

// ago is seconds before the row was toldAt.
func ago(s float64) time.Time { return toldAt.Add(-time.Duration(s * float64(time.Second))) }

func TestLossesOfARow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, action, fields string
		want                 []Loss
	}{
		{"nothing", "SensorLoss", `{}`, nil},
		{"not an object", "SensorLoss", `[1]`, nil},
		{"totals alone", "SensorLoss", `{"Lost":{"ring.file":3}}`, []Loss{{From: toldAt, To: toldAt, Class: "ring.file", Count: 3}}},
		{"with a beginning", "SensorLoss", `{"Lost":{"ring.file":3},"Since":"2026-11-24T12:00:00Z"}`, []Loss{{From: ago(10), To: toldAt, Class: "ring.file", Count: 3}}},
		{"a beginning after the end", "SensorLoss", `{"Lost":{"ring.file":3},"Since":"2026-11-25T12:00:00Z"}`, []Loss{{From: toldAt, To: toldAt, Class: "ring.file", Count: 3}}},
		{
			"by second", "SensorLoss", `{"Lost":{"ring.file":5},"From":"2026-11-24T12:00:05Z","To":"2026-11-24T12:00:10Z","Seconds":[{"T":1795521606,"Lost":{"ring.file":2}},{"T":1795521608,"D":2,"Lost":{"ring.file":3}}]}`,
			[]Loss{{From: ago(4), To: ago(3), Class: "ring.file", Count: 2}, {From: ago(2), To: toldAt, Class: "ring.file", Count: 3}},
		},
		{
			"some without a second", "SensorLoss", `{"Lost":{"ring.file":5,"queue.full":1},"From":"2026-11-24T12:00:05Z","To":"2026-11-24T12:00:10Z","Seconds":[{"T":1795521606,"Lost":{"ring.file":2}}]}`,
			[]Loss{{From: ago(5), To: toldAt, Class: "queue.full", Count: 1}, {From: ago(5), To: toldAt, Class: "ring.file", Count: 3}, {From: ago(4), To: ago(3), Class: "ring.file", Count: 2}},
		},
		{
			"more by second than in all", "SensorLoss", `{"Lost":{"ring.file":1},"Seconds":[{"T":1795521606,"Lost":{"ring.file":2,"other":4}}]}`,
			[]Loss{{From: ago(4), To: ago(3), Class: "ring.file", Count: 1}},
		},
		{
			"a clock that is an hour behind", "SensorLoss", `{"Lost":{"ring.file":2},"From":"2026-11-24T11:00:05Z","To":"2026-11-24T11:00:10Z","Seconds":[{"T":1795518006,"Lost":{"ring.file":2}}]}`,
			[]Loss{{From: ago(4), To: ago(3), Class: "ring.file", Count: 2}},
		},
		{"times that are none", "SensorLoss", `{"Lost":{"a":1},"From":7,"To":"soon","Since":{}}`, []Loss{{From: toldAt, To: toldAt, Class: "a", Count: 1}}},
		{
			"with numbers of batches", "SensorLoss", `{"Lost":{"spool.low":3},"Spans":[{"Class":"spool.low","BootId":"b","FirstSequence":4,"LastSequence":9}]}`,
			[]Loss{{From: toldAt, To: toldAt, Class: "spool.low", Count: 3, span: numbers{"b", 4, 9}}},
		},
		{"a gap", "SensorGap", `{"Lost":{"batches":2},"From":"2026-11-24T12:00:00Z","To":"2026-11-24T12:00:10Z"}`, []Loss{{From: ago(10), To: toldAt, Class: "batches", Count: 2}}},
		{"the network was cut", "DeviceSilent", `{"From":"2026-11-24T12:00:00Z","To":"2026-11-24T12:00:10Z","Reason":"NetworkCut"}`, nil},
		{"the sensor was killed", "DeviceSilent", `{"From":"2026-11-24T12:00:00Z","To":"2026-11-24T12:00:10Z","Reason":"SensorKilled"}`, []Loss{{From: ago(10), To: toldAt, Class: BlindClass, Count: 0}}},
	} {
		got := losses(toldAt, c.action, c.fields)
		slices.SortStableFunc(got, byTime)
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(Loss{})); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestMergeLosses(t *testing.T) {
	t.Parallel()
	all := []Loss{
		{From: ago(10), To: ago(9), Class: "a", Count: 1}, {From: ago(9), To: ago(8), Class: "a", Count: 2}, {From: ago(9), To: ago(8), Class: "b", Count: 5}, {From: ago(7), To: ago(6), Class: "a", Count: 4},
		{From: ago(4), To: ago(3), Class: "a", Count: 7}, {From: ago(3), To: ago(3), Class: "b", Count: 1},
	}
	want := []Loss{{From: ago(10), To: ago(6), Class: "a", Count: 7}, {From: ago(9), To: ago(8), Class: "b", Count: 5}, {From: ago(4), To: ago(3), Class: "a", Count: 7}, {From: ago(3), To: ago(3), Class: "b", Count: 1}}
	if d := cmp.Diff([]Loss{want[1], want[0], want[2], want[3]}, MergeLosses(all), cmp.AllowUnexported(Loss{})); d != "" {
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
		for _, l := range losses(toldAt, action, fields) {
			if l.Count < 0 || l.To.Before(l.From) {
				t.Errorf("loss %+v", l)
			}
		}
	})
}
