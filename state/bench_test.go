// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

// fill makes a tenant with many devices and alerts.
func fill(b *testing.B, devices, alerts int) *state.DB {
	b.Helper()
	db := open(b, sqliteURL(b))
	for n := range devices {
		d := picket.Device{ID: deviceID(n), Name: fmt.Sprintf("host-%05d", n), OSPlatform: "Linux", LastHeartbeat: now, LastTelemetry: now}
		if err := db.CreateDevice(b.Context(), ours, d, state.HostIdentity{}); err != nil {
			b.Fatal(err)
		}
	}
	for from := 0; from < alerts; from += 500 {
		var batch []picket.Alert
		for n := from; n < min(from+500, alerts); n++ {
			batch = append(batch, raised(n, deviceID(n%devices), picket.Medium, int64(n)))
		}
		if _, err := db.FoldAlerts(b.Context(), ours, batch, now); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	return db
}

func BenchmarkDevices(b *testing.B) {
	db := fill(b, 2000, 10000)
	for b.Loop() {
		if _, err := db.Devices(b.Context(), ours, state.DeviceQuery{Sort: "-risk"}, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDevice(b *testing.B) {
	db := fill(b, 2000, 10000)
	for b.Loop() {
		if _, err := db.Device(b.Context(), ours, deviceID(7), now, picket.HealthThresholds{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAlerts(b *testing.B) {
	db := fill(b, 2000, 10000)
	q := state.AlertQuery{Status: []picket.AlertStatus{picket.StatusNew, picket.StatusInProgress}, ActiveSince: now.Add(-30 * 24 * time.Hour)}
	for b.Loop() {
		if _, err := db.Alerts(b.Context(), ours, q); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFold folds one alert a transaction: one fsync each.
func BenchmarkFold(b *testing.B) {
	db := fill(b, 1, 0)
	for n := 0; b.Loop(); n++ {
		if _, err := db.FoldAlerts(b.Context(), ours, []picket.Alert{raised(n%100, deviceID(0), picket.Low, int64(n))}, now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTouch moves the times of 1000 devices.
func BenchmarkTouch(b *testing.B) {
	db := fill(b, 1000, 0)
	for n := 0; b.Loop(); n++ {
		var touches []state.DeviceTouch
		for d := range 1000 {
			touches = append(touches, state.DeviceTouch{DeviceID: deviceID(d), Telemetry: now.Add(time.Duration(n) * time.Second)})
		}
		if err := db.TouchDevices(b.Context(), ours, touches); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAudit(b *testing.B) {
	db := fill(b, 1, 0)
	for b.Loop() {
		if _, err := db.AppendAudit(b.Context(), ours, picket.AuditEntry{Time: now, Actor: "ann", Action: "alert.update"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecordHealth(b *testing.B) {
	db := fill(b, 100, 0)
	var reports []state.DeviceHealth
	for d := range 100 {
		reports = append(reports, state.DeviceHealth{DeviceID: deviceID(d), At: now, Hooks: []picket.Hook{{Kind: "process", Attached: true}}})
	}
	for b.Loop() {
		if _, err := db.RecordHealth(b.Context(), ours, reports); err != nil {
			b.Fatal(err)
		}
	}
}
