// SPDX-License-Identifier: Apache-2.0

package picket

import (
	"regexp"
	"time"
)

// Device is one enrolled endpoint as the server knows it. Identity, tenant,
// group and tags are the server's word; the rest is what the sensor reported.
type Device struct {
	ID     string // 40 lower-case hexadecimal digits, given at enrolment
	Tenant string
	Name   string // lower-case host name, fully qualified where known
	Group  string
	Tags   []string

	OSPlatform     string // Linux, Windows11, ...
	OSDistribution string // Debian, Ubuntu, ...
	OSVersion      string
	OSArchitecture string // 64-bit names as Go spells them: amd64, arm64
	KernelVersion  string
	SensorVersion  string
	InternalIP     string // last address that the sensor reported
	ExternalIP     string // address that the gateway saw

	FirstSeen     time.Time
	LastHeartbeat time.Time // command channel
	LastTelemetry time.Time // event channel
	Offboarded    bool
	IdentityClash bool // two hosts present this identity at once

	Live         bool      // connected now
	Farewell     Farewell  // how the last connection ended
	LeftAt       time.Time // when
	Silence      Silence   // the last notable one that is over; zero: none
	ClockChanged time.Time // when the host's clock was last seen to be set

	BootID string
	Rung   string // rung of the hook ladder in use
	Hooks  []Hook
	Lost   map[string]int64 // events lost since the device enrolled, by class
}

// LastSeen is the later of the two channels.
func (d *Device) LastSeen() time.Time {
	if d.LastTelemetry.After(d.LastHeartbeat) {
		return d.LastTelemetry
	}
	return d.LastHeartbeat
}

// Hook tells how one kind of event is collected on a device, and what that
// way of collecting cannot see.
type Hook struct {
	Kind      string `json:"kind"`      // process, file, network, dns, logon
	Rung      string `json:"rung"`      // tracepoint, cgroup, proc, off
	Attached  bool   `json:"attached"`  // false: this kind is not collected
	BlindSpot string `json:"blindSpot"` // what this rung cannot see; empty: nothing known
	Error     string `json:"error"`     // why a better rung was not taken
}

// HealthState is the state of a sensor as seen from the server.
type HealthState string

// Sensor health states (names of the Defender API).
const (
	Active                HealthState = "Active"
	Inactive              HealthState = "Inactive"
	NoSensorData          HealthState = "NoSensorData"
	ImpairedCommunication HealthState = "ImpairedCommunication"
	NoSensorDataImpaired  HealthState = "NoSensorDataImpairedCommunication"
)

// HealthThresholds are the ages after which a silent channel counts.
type HealthThresholds struct {
	NoTelemetry time.Duration // default 24 h
	NoHeartbeat time.Duration // default 24 h
	Inactive    time.Duration // default 7 days
}

// DefaultHealthThresholds match the documented product.
var DefaultHealthThresholds = HealthThresholds{24 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}

// Health computes the state of the sensor at a moment from its two channels
// and from the kinds of events that it should collect but does not.
func (d *Device) Health(now time.Time, t HealthThresholds) HealthState {
	telemetry, heartbeat := now.Sub(d.LastTelemetry), now.Sub(d.LastHeartbeat)
	if telemetry > t.Inactive && heartbeat > t.Inactive {
		return Inactive
	}
	silent := telemetry > t.NoTelemetry
	for _, h := range d.Hooks {
		if !h.Attached {
			silent = true
		}
	}
	impaired := heartbeat > t.NoHeartbeat
	switch {
	case silent && impaired:
		return NoSensorDataImpaired
	case silent:
		return NoSensorData
	case impaired:
		return ImpairedCommunication
	}
	return Active
}

var deviceID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// ValidDeviceID reports whether id has the shape of a device id.
func ValidDeviceID(id string) bool { return deviceID.MatchString(id) }
