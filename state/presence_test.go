// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

func TestDevicesComeAndGo(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		id := addDevice(t, db, ours, 1).ID
		addDevice(t, db, theirs, 1)
		clock := now
		arrive := func(run uint64, boot string, unclean bool, slept time.Duration) picket.Silence {
			t.Helper()
			return got(db.ArriveDevice(ctx, ours, id, state.Arrival{At: clock, Run: run, BootID: boot, Unclean: unclean, Suspended: slept}))(t)
		}
		leave := func(run uint64, why picket.Farewell) {
			t.Helper()
			if err := db.LeaveDevice(ctx, ours, id, run, why, clock); err != nil {
				t.Fatal(err)
			}
		}
		heard := func() {
			t.Helper()
			if err := db.TouchDevices(ctx, ours, []state.DeviceTouch{{DeviceID: id, Telemetry: clock}}); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(s picket.Silence, reason picket.ConnectionState, long time.Duration) {
			t.Helper()
			if s.Reason != reason || s.To.Sub(s.From) != long {
				t.Errorf("silence of %v: %s, want %v: %s", s.To.Sub(s.From), s.Reason, long, reason)
			}
		}
		if s := arrive(1, "a", false, 0); s.Reason != picket.NeverConnected {
			t.Errorf("first contact: %s", s.Reason)
		}
		if d := device(t, db, ours, id); !d.Live || d.Silence != (picket.Silence{}) {
			t.Errorf("connected for the first time: %+v", d.Device)
		}
		heard()
		clock = clock.Add(time.Minute)
		leave(1, picket.FarewellNone)
		leave(7, picket.FarewellStop) // of another run: late
		clock = clock.Add(time.Minute)
		expect(arrive(1, "a", false, 0), picket.NetworkCut, 2*time.Minute)
		if d := device(t, db, ours, id); d.Silence.Reason != picket.NetworkCut || !d.Silence.To.Equal(clock) || !d.Live {
			t.Errorf("after a cut: %+v", d.Device)
		}
		heard()
		clock = clock.Add(time.Minute)
		expect(arrive(1, "a", false, 50*time.Second), picket.Asleep, time.Minute)
		heard()
		clock = clock.Add(time.Second)
		expect(arrive(1, "a", false, 50*time.Second), picket.NetworkCut, time.Second)
		if d := device(t, db, ours, id); d.Silence.Reason != picket.Asleep {
			t.Errorf("a short silence took the place of a notable one: %+v", d.Silence)
		}
		leave(1, picket.FarewellUpgrade)
		if d := device(t, db, ours, id); d.Live || d.Farewell != picket.FarewellUpgrade || !d.LeftAt.Equal(clock) {
			t.Errorf("after a goodbye: %+v", d.Device)
		}
		clock = clock.Add(5 * time.Second)
		expect(arrive(2, "a", false, 0), picket.SensorUpgraded, 5*time.Second)
		heard()
		clock = clock.Add(5 * time.Second)
		expect(arrive(3, "a", true, 0), picket.SensorKilled, 5*time.Second)
		heard()
		clock = clock.Add(time.Hour)
		expect(arrive(4, "b", true, 0), picket.HostCrashed, time.Hour)
		leave(4, picket.FarewellShutdown)
		clock = clock.Add(time.Hour)
		expect(arrive(5, "c", false, 0), picket.ShutDown, time.Hour)
		heard()
		if err := db.LoseContacts(ctx, ours); err != nil {
			t.Fatal(err)
		}
		if d := device(t, db, ours, id); d.Live || d.Farewell != picket.FarewellServer {
			t.Errorf("the server was away: %+v", d.Device)
		}
		clock = clock.Add(time.Hour)
		expect(arrive(5, "c", false, 0), picket.ServerAway, time.Hour)
		_, err := db.ArriveDevice(ctx, theirs, deviceID(9), state.Arrival{At: clock})
		kind(t, "unknown device", err, picket.NotFound)
		kind(t, "unknown device", db.LeaveDevice(ctx, theirs, deviceID(9), 1, "", clock), picket.NotFound)
	})
}

func TestClockOfHost(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		id := addDevice(t, db, ours, 1).ID
		for _, changed := range []time.Time{now, {}, now.Add(-time.Hour)} {
			h := state.DeviceHealth{DeviceID: id, At: now, Run: 1, ClockChanged: changed, Suspended: time.Minute}
			if _, err := db.RecordHealth(t.Context(), ours, []state.DeviceHealth{h}); err != nil {
				t.Fatal(err)
			}
		}
		if d := device(t, db, ours, id); !d.ClockChanged.Equal(now) {
			t.Errorf("clock was set at %v, want %v", d.ClockChanged, now)
		}
	})
}

func TestNotesCountOnce(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		id := addDevice(t, db, ours, 1).ID
		for i, c := range []struct{ run, upTo, before uint64 }{
			{1, 3, 0}, {1, 3, 3}, {1, 2, 3}, {1, 5, 3}, {2, 1, 0}, {2, 1 << 63, 1}, {2, 7, 1<<63 - 1}, {1, 1, 0},
		} {
			if before := got(db.TakeNotes(t.Context(), ours, id, c.run, c.upTo))(t); before != c.before {
				t.Errorf("%d: %d notes were taken before, want %d", i, before, c.before)
			}
		}
		_, err := db.TakeNotes(t.Context(), theirs, id, 1, 1)
		kind(t, "other tenant", err, picket.NotFound)
	})
}
