// SPDX-License-Identifier: Apache-2.0

package picket

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestKind(t *testing.T) {
	t.Parallel()
	for _, k := range Kinds() {
		if got := Kind(fmt.Errorf("x: %w", k)); got != k {
			t.Errorf("Kind(wrapped %v) = %v", k, got)
		}
	}
	if Kind(nil) != nil || Kind(errors.New("x")) != Internal {
		t.Error("nil has no kind, a foreign error is internal")
	}
}

func TestProcessGUID(t *testing.T) {
	t.Parallel()
	base := ProcessGUID("device", "boot", 4711, 123456789)
	if len(base) != 32 || base != ProcessGUID("device", "boot", 4711, 123456789) {
		t.Fatalf("not stable: %s", base)
	}
	for name, other := range map[string]string{
		"device": ProcessGUID("device2", "boot", 4711, 123456789),
		"boot":   ProcessGUID("device", "boot2", 4711, 123456789),
		"pid":    ProcessGUID("device", "boot", 4712, 123456789),
		"start":  ProcessGUID("device", "boot", 4711, 123456790),
		"seam":   ProcessGUID("deviceb", "oot", 4711, 123456789),
	} {
		if other == base {
			t.Errorf("another %s gives the same id", name)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name                 string
		telemetry, heartbeat time.Time
		hooks                []Hook
		want                 HealthState
	}{
		{"both fresh", ago(time.Minute), ago(time.Minute), nil, Active},
		{"no telemetry", ago(25 * time.Hour), ago(time.Minute), nil, NoSensorData},
		{"no heartbeat", ago(time.Minute), ago(25 * time.Hour), nil, ImpairedCommunication},
		{"neither for a day", ago(25 * time.Hour), ago(25 * time.Hour), nil, NoSensorDataImpaired},
		{"neither for eight days", ago(192 * time.Hour), ago(192 * time.Hour), nil, Inactive},
		{"never seen", time.Time{}, time.Time{}, nil, Inactive},
		{"one kind off", ago(time.Minute), ago(time.Minute), []Hook{{Kind: "dns"}}, NoSensorData},
	} {
		d := Device{LastTelemetry: c.telemetry, LastHeartbeat: c.heartbeat, Hooks: c.hooks}
		if got := d.Health(now, DefaultHealthThresholds); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	t.Parallel()
	for id, ok := range map[string]bool{"default": true, "a": true, "": false, "-a": false, "a-": false, "A": false, "a.b": false, "a/b": false} {
		if got := ValidTenantID(id) == nil; got != ok {
			t.Errorf("ValidTenantID(%q) = %v", id, got)
		}
	}
	if ValidDeviceID("zz") || !ValidDeviceID("0123456789abcdef0123456789abcdef01234567") {
		t.Error("device id shape")
	}
	for i, s := range []Severity{Informational, Low, Medium, High} {
		if s.Rank() != i {
			t.Errorf("%s ranks %d", s, s.Rank())
		}
	}
	if Severity("x").Rank() != -1 {
		t.Error("unknown severity has a rank")
	}
	d := Device{LastTelemetry: time.Unix(2, 0), LastHeartbeat: time.Unix(1, 0)}
	if d.LastSeen().Unix() != 2 {
		t.Error("last seen is the later channel")
	}
}
