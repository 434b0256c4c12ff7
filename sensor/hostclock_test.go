// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
)

// scriptedClock gives readings in turn and the last one again and again.
func scriptedClock(all ...readings) func() (readings, bool) {
	return func() (readings, bool) {
		r := all[0]
		if len(all) > 1 {
			all = all[1:]
		}
		return r, true
	}
}

func TestHostClock(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, c := range []struct {
		name        string
		then        readings
		slept, step time.Duration
	}{
		{"a second later", readings{1001 * s, 11 * s, 11 * s}, 0, 0},
		{"the clock is slewed", readings{1001*s + time.Millisecond, 11 * s, 11 * s}, 0, 0},
		{"corrected by two seconds", readings{1003 * s, 11 * s, 11 * s}, 0, 0},
		{"set forward", readings{1003*s + 1, 11 * s, 11 * s}, 0, 2*s + 1},
		{"set back", readings{901 * s, 11 * s, 11 * s}, 0, -100 * s},
		{"slept", readings{1101 * s, 111 * s, 11 * s}, 100 * s, 0},
		{"slept less than a second", readings{1001*s + s/2, 11*s + s/2, 11 * s}, 0, 0},
		{"slept, and woke with another time", readings{5000 * s, 111 * s, 11 * s}, 100 * s, 3899 * s},
	} {
		h := newHostClock(scriptedClock(readings{1000 * s, 10 * s, 10 * s}, c.then))
		slept, step, before, now := h.look()
		if slept != c.slept || step != c.step || before.boot != 10*s || now != c.then {
			t.Errorf("%s: slept %v, step %v", c.name, slept, step)
		}
		f := h.facts()
		if f.SuspendedUs != uint64((c.then.boot-c.then.awake).Microseconds()) || (f.ChangedUs != 0) != (c.step != 0) {
			t.Errorf("%s: facts %v", c.name, f)
		}
		if slept, step, _, _ := h.look(); slept != 0 || step != 0 {
			t.Errorf("%s: told twice", c.name)
		}
	}
}

func TestClocksOfThisHost(t *testing.T) {
	t.Parallel()
	r, ok := readClocks()
	if !ok || r.wall < 0 || r.boot < r.awake || r.awake <= 0 {
		t.Errorf("readings %+v, %v", r, ok)
	}
	none := newHostClock(func() (readings, bool) { return readings{}, false })
	if slept, step, _, _ := none.look(); slept != 0 || step != 0 || none.facts().SuspendedUs != 0 {
		t.Error("a host that does not tell has neither slept nor been set")
	}
}

func TestSleepAndStepsBecomeRows(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	a := stopped(t, h)
	const s = time.Second
	a.clock = newHostClock(scriptedClock(readings{1000 * s, 10 * s, 10 * s}, readings{5000 * s, 111 * s, 11 * s}))
	a.watchClocks()
	a.watchClocks()
	var got []string
	for _, u := range a.intake.take() {
		for _, b := range u.blocks {
			for i := range b.Rows {
				got = append(got, b.Text("Timestamp", i)+" "+b.Text("ActionType", i))
				if b.Text("ActionType", i) == "ClockChanged" {
					var more map[string]any
					must(t, json.Unmarshal([]byte(b.Text("AdditionalFields", i)), &more))
					if more["StepSeconds"] != 3899.0 || more["OldTime"] != event.Time(1101*1e6).String() {
						t.Errorf("the step is told as %v", more)
					}
				}
			}
		}
	}
	equal(t, []string{event.Time(1000*1e6).String() + " DeviceSuspended", event.Time(5000*1e6).String() + " DeviceResumed", event.Time(5000*1e6).String() + " ClockChanged"}, got)
}
