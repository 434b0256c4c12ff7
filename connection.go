// SPDX-License-Identifier: Apache-2.0

package picket

import "time"

// Farewell is why a sensor went, in its own words; FarewellServer is the
// server's: it went itself, and the device is not to blame.
type Farewell string

// Farewells. None says that the connection ended without a word.
const (
	FarewellNone      Farewell = ""
	FarewellStop      Farewell = "stop"
	FarewellUpgrade   Farewell = "upgrade"
	FarewellShutdown  Farewell = "shutdown"
	FarewellSuspend   Farewell = "suspend"
	FarewellUninstall Farewell = "uninstall"
	FarewellServer    Farewell = "server"
)

// KnownFarewell returns the farewell that a sensor may say with a word; any
// other word is a stop for a reason that this version does not know.
func KnownFarewell(word string) Farewell {
	switch f := Farewell(word); f {
	case FarewellUpgrade, FarewellShutdown, FarewellSuspend, FarewellUninstall:
		return f
	}
	return FarewellStop
}

// ConnectionState is whether a device is connected, and if not, why. It also
// names why a device was silent once it is back.
type ConnectionState string

// Connection states. The last four are told only of a silence that is over.
const (
	Connected      ConnectionState = "Connected"
	NeverConnected ConnectionState = "NeverConnected"
	Asleep         ConnectionState = "Asleep"
	ShutDown       ConnectionState = "ShutDown"
	SensorStopped  ConnectionState = "SensorStopped"
	Uninstalled    ConnectionState = "Uninstalled"
	NetworkCut     ConnectionState = "NetworkCut"
	HostGone       ConnectionState = "HostGone"
	SensorUpgraded ConnectionState = "SensorUpgraded"
	SensorKilled   ConnectionState = "SensorKilled"
	HostCrashed    ConnectionState = "HostCrashed"
	ServerAway     ConnectionState = "ServerAway"
)

// LongSilence is how long a device may be silent without a word before it
// counts as gone and not as cut off.
const LongSilence = 24 * time.Hour

// Contact is what is known about the connection of a device: how it ended,
// and how the device came back.
type Contact struct {
	Live     bool // connected now
	Ever     bool // it was connected before
	Farewell Farewell
	Silent   time.Duration // since the device was last heard of, or until it was back
	Back     *Return       // nil: it is not back
}

// Return is how a device came back after a silence.
type Return struct {
	SameRun  bool          // the very run of the sensor that was silent
	SameBoot bool          // the host was not started again
	Unclean  bool          // the run of the sensor before did not stop in order
	Slept    time.Duration // time that the host slept within the silence
}

// State is the one place where it is decided what a connection's state means.
func (c Contact) State() ConnectionState {
	switch {
	case c.Live && c.Back == nil:
		return Connected
	case !c.Ever:
		return NeverConnected
	case c.Back != nil:
		return c.past()
	}
	switch c.Farewell {
	case FarewellStop, FarewellUpgrade:
		return SensorStopped
	case FarewellShutdown:
		return ShutDown
	case FarewellSuspend:
		return Asleep
	case FarewellUninstall:
		return Uninstalled
	}
	if c.Silent >= LongSilence {
		return HostGone
	}
	return NetworkCut
}

// past says what a silence has been. What the host shows on its return counts
// for more than what the sensor had announced.
func (c Contact) past() ConnectionState {
	b := c.Back
	switch {
	case b.SameBoot && b.Slept > 0 && 2*b.Slept >= c.Silent:
		return Asleep
	case c.Farewell == FarewellServer && (b.SameRun || !b.Unclean && b.SameBoot):
		return ServerAway
	case b.SameRun:
		return NetworkCut
	case b.SameBoot && b.Unclean:
		return SensorKilled
	case b.SameBoot && c.Farewell == FarewellUpgrade:
		return SensorUpgraded
	case b.SameBoot:
		return SensorStopped
	case b.Unclean && c.Farewell != FarewellShutdown:
		return HostCrashed
	}
	return ShutDown
}

// Blind reports whether things happened on the host in such a silence that
// nobody saw: it ran, and the sensor did not.
func (s ConnectionState) Blind() bool {
	return s == SensorKilled || s == SensorStopped || s == SensorUpgraded
}

// Silence is a time in which nothing was heard of a device, and why.
type Silence struct {
	From, To time.Time
	Reason   ConnectionState
}

// shortSilence is what a new connection may take.
const shortSilence = 30 * time.Second

// Notable reports whether a silence is worth an event of its own.
func (s Silence) Notable() bool {
	return s.To.Sub(s.From) >= shortSilence || s.Reason.Blind() || s.Reason == HostCrashed
}

// Contact returns what is known about the connection of a device at a moment.
func (d *Device) Contact(now time.Time) Contact {
	return Contact{Live: d.Live, Ever: !d.LastSeen().IsZero(), Farewell: d.Farewell, Silent: now.Sub(d.LastSeen())}
}
