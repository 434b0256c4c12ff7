// SPDX-License-Identifier: Apache-2.0

package picket

import (
	"testing"
	"time"
)

func TestContactState(t *testing.T) {
	t.Parallel()
	const minute, day = time.Minute, 24 * time.Hour
	run := &Return{SameRun: true, SameBoot: true}
	cases := []struct {
		name string
		c    Contact
		want ConnectionState
	}{
		{"live", Contact{Live: true, Ever: true}, Connected},
		{"live whatever was said before", Contact{Live: true, Ever: true, Farewell: FarewellStop}, Connected},
		{"never heard of", Contact{Silent: day}, NeverConnected},
		{"stopped", Contact{Ever: true, Farewell: FarewellStop, Silent: 30 * day}, SensorStopped},
		{"being upgraded", Contact{Ever: true, Farewell: FarewellUpgrade}, SensorStopped},
		{"shut down", Contact{Ever: true, Farewell: FarewellShutdown}, ShutDown},
		{"asleep", Contact{Ever: true, Farewell: FarewellSuspend}, Asleep},
		{"uninstalled", Contact{Ever: true, Farewell: FarewellUninstall, Silent: 90 * day}, Uninstalled},
		{"without a word", Contact{Ever: true, Silent: minute}, NetworkCut},
		{"without a word, long", Contact{Ever: true, Silent: LongSilence}, HostGone},
		{"the server was away", Contact{Ever: true, Farewell: FarewellServer, Silent: minute}, NetworkCut},
		{"the server was away, long ago", Contact{Ever: true, Farewell: FarewellServer, Silent: 2 * day}, HostGone},

		{"back: same run", Contact{Ever: true, Silent: minute, Back: run}, NetworkCut},
		{"back: same run, days later", Contact{Ever: true, Silent: 9 * day, Back: run}, NetworkCut},
		{"back: same run, slept", Contact{Ever: true, Silent: 2 * minute, Back: &Return{SameRun: true, SameBoot: true, Slept: minute}}, Asleep},
		{"back: same run, slept a little", Contact{Ever: true, Silent: 3 * minute, Back: &Return{SameRun: true, SameBoot: true, Slept: minute}}, NetworkCut},
		{"back: same run, server was away", Contact{Ever: true, Farewell: FarewellServer, Silent: minute, Back: run}, ServerAway},
		{"back: while the session is live", Contact{Live: true, Ever: true, Silent: minute, Back: run}, NetworkCut},
		{"back: new run, killed", Contact{Ever: true, Back: &Return{SameBoot: true, Unclean: true}}, SensorKilled},
		{"back: killed while the server was away", Contact{Ever: true, Farewell: FarewellServer, Back: &Return{SameBoot: true, Unclean: true}}, SensorKilled},
		{"back: new run, upgraded", Contact{Ever: true, Farewell: FarewellUpgrade, Back: &Return{SameBoot: true}}, SensorUpgraded},
		{"back: new run, stopped", Contact{Ever: true, Farewell: FarewellStop, Back: &Return{SameBoot: true}}, SensorStopped},
		{"back: new run, goodbye got lost", Contact{Ever: true, Back: &Return{SameBoot: true}}, SensorStopped},
		{"back: shutdown that did not come", Contact{Ever: true, Farewell: FarewellShutdown, Back: &Return{SameBoot: true}}, SensorStopped},
		{"back: new boot, said so", Contact{Ever: true, Farewell: FarewellShutdown, Back: &Return{}}, ShutDown},
		{"back: new boot, goodbye got lost", Contact{Ever: true, Back: &Return{}}, ShutDown},
		{"back: new boot, crashed", Contact{Ever: true, Silent: minute, Back: &Return{Unclean: true}}, HostCrashed},
		{"back: new boot, said so but ended unclean", Contact{Ever: true, Farewell: FarewellShutdown, Back: &Return{Unclean: true}}, ShutDown},
		{"back: sleep of another boot does not count", Contact{Ever: true, Silent: minute, Back: &Return{Unclean: true, Slept: day}}, HostCrashed},
		{"back: never seen before", Contact{Back: &Return{}}, NeverConnected},
	}
	for _, c := range cases {
		if got := c.c.State(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestSilenceIsNotable(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, c := range []struct {
		reason ConnectionState
		long   time.Duration
		want   bool
		blind  bool
	}{
		{NetworkCut, time.Second, false, false}, {NetworkCut, time.Minute, true, false}, {SensorKilled, time.Second, true, true},
		{SensorStopped, time.Second, true, true}, {SensorUpgraded, time.Second, true, true}, {HostCrashed, time.Second, true, false},
		{ShutDown, time.Second, false, false}, {ServerAway, time.Hour, true, false}, {Asleep, time.Hour, true, false},
	} {
		if got := (Silence{at, at.Add(c.long), c.reason}).Notable(); got != c.want {
			t.Errorf("%s for %v: notable %v", c.reason, c.long, got)
		}
		if c.reason.Blind() != c.blind {
			t.Errorf("%s: blind %v", c.reason, !c.blind)
		}
	}
}

func TestContactOfDevice(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	d := Device{LastHeartbeat: at, LastTelemetry: at.Add(time.Minute), Farewell: FarewellNone}
	if c := d.Contact(at.Add(time.Hour)); !c.Ever || c.Live || c.Silent != 59*time.Minute || c.State() != NetworkCut {
		t.Errorf("contact %+v", c)
	}
	if s := (&Device{}).Contact(at).State(); s != NeverConnected {
		t.Errorf("a device that never reported: %s", s)
	}
}

func TestKnownFarewell(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]Farewell{
		"stop": FarewellStop, "shutdown": FarewellShutdown, "upgrade": FarewellUpgrade, "suspend": FarewellSuspend,
		"uninstall": FarewellUninstall, "server": FarewellStop, "": FarewellStop, "\x00": FarewellStop,
	} {
		if got := KnownFarewell(word); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
