// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/wire/wirepb"
)

// detail reads a row of the server.
func detail(t *testing.T, r event.Row) (*event.DeviceEvents, map[string]any) {
	t.Helper()
	e := r.(*event.DeviceEvents)
	var more map[string]any
	if err := json.Unmarshal([]byte(e.AdditionalFields), &more); err != nil {
		t.Fatal(err)
	}
	return e, more
}

func TestNotesAreRowsByTheServersClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	sensor := now.Add(-time.Hour).UnixMicro() // its clock is an hour behind
	notes := []*wirepb.Note{
		{Id: 37, Level: "warning", TimeUs: sensor - 90_000_000, Text: "the spool holds much"},
		{Id: 1, Level: "info", TimeUs: sensor + 5, Text: "from the future"},
		{Id: 2, Level: "info", Text: "without a time"},
	}
	rows := noteRows(notes, sensor, now)
	if len(rows) != 3 {
		t.Fatalf("%d rows", len(rows))
	}
	ids := map[int64]bool{}
	for i, want := range []time.Time{now.Add(-90 * time.Second), now, now} {
		e, more := detail(t, rows[i])
		if e.ActionType != "SensorNote" || !e.Timestamp.Time().Equal(want) || e.ReportId >= 0 || ids[e.ReportId] {
			t.Errorf("note %d: %+v, want time %v", i, e, want)
		}
		ids[e.ReportId] = true
		if n := notes[i]; more["Message"] != n.Text || more["Level"] != n.Level || more["EventId"] != float64(n.Id) {
			t.Errorf("note %d is told as %v", i, more)
		}
	}
	if noteRows(nil, sensor, now) != nil {
		t.Error("no notes, no rows")
	}
}

func TestArrivalsAndDepartures(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	db, err := state.Open(ctx, state.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "state.db"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Now().UTC().Truncate(time.Second)
	if err := db.CreateTenant(ctx, picket.Tenant{ID: "default", Name: "d", Retention: picket.DefaultRetention, Created: now}); err != nil {
		t.Fatal(err)
	}
	id := pki.Identity{Tenant: "default", DeviceID: state.NewDeviceID()}
	if err := db.CreateDevice(ctx, "default", picket.Device{ID: id.DeviceID, Tenant: "default", Name: "d", FirstSeen: now}, state.HostIdentity{}); err != nil {
		t.Fatal(err)
	}
	r := newRegistry(db, nil, &notifier{publish: func(string, []byte) error { return nil }, log: log}, log)
	r.now = func() time.Time { return now }
	arrive := func(run uint64, boot, stop string) []event.Row {
		t.Helper()
		rows, err := r.Arrived(ctx, id, &wirepb.Hello{Instance: run, Facts: &wirepb.Facts{BootId: boot}, PreviousStop: stop})
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if rows := arrive(1, "a", "clean"); len(rows) != 0 {
		t.Errorf("first contact is told as %v", rows)
	}
	report := &wirepb.Health{TimeUs: 5_000_000, Clock: &wirepb.HostClock{SuspendedUs: 7_000_000, ChangedUs: 2_000_000}, Notes: []*wirepb.Note{{Id: 1, Number: 1}, {Id: 4, Number: 2}, {Id: 4}}}
	for i, want := range []int{3, 1} { // sent again, only what has no number is new
		if rows, err := r.Health(ctx, id, 1, report); err != nil || len(rows) != want {
			t.Errorf("report %d: %v, %v", i, rows, err)
		}
	}
	d, err := db.Device(ctx, "default", id.DeviceID, now, picket.HealthThresholds{})
	if err != nil || !d.Live || !d.ClockChanged.Equal(now.Add(-3*time.Second)) {
		t.Errorf("device %+v, %v", d.Device, err)
	}
	r.Left(ctx, id, 1, picket.FarewellNone)
	now = now.Add(20 * time.Second)
	if rows := arrive(1, "a", "clean"); len(rows) != 0 {
		t.Errorf("a short cut is told as %v", rows)
	}
	if _, err := r.Health(ctx, id, 1, report); err != nil {
		t.Fatal(err)
	}
	from := now
	now = now.Add(2 * time.Second)
	rows := arrive(2, "a", "unclean")
	if len(rows) != 1 {
		t.Fatalf("a killed sensor is told as %v", rows)
	}
	e, more := detail(t, rows[0])
	if e.ActionType != "DeviceSilent" || !e.Timestamp.Time().Equal(now) || more["Reason"] != "SensorKilled" || more["From"] != from.Format(time.RFC3339) {
		t.Errorf("a killed sensor is told as %+v", e)
	}
	r.Left(ctx, pki.Identity{Tenant: "default", DeviceID: state.NewDeviceID()}, 1, picket.FarewellStop) // logged, no more
}

func TestGapsTellTheirTime(t *testing.T) {
	t.Parallel()
	e := &event.Envelope{Gap: 3, Received: 1_000_000_000, ClockOffset: 5_000_000}
	for _, c := range []struct {
		from, to, when event.Time
		begin          any
	}{
		{0, 0, 995_000_000, nil}, {0, 900_000_000, 900_000_000, nil}, {800_000_000, 900_000_000, 900_000_000, "1970-01-01T00:13:20Z"}, {950_000_000, 900_000_000, 900_000_000, nil},
	} {
		blocks := gapBlocks(e, c.from, c.to)
		if len(blocks) != 1 || blocks[0].Rows != 1 || blocks[0].Text("Timestamp", 0) != c.when.String() || blocks[0].Text("ActionType", 0) != "SensorGap" {
			t.Fatalf("%+v: %+v", c, blocks)
		}
		var more map[string]any
		if err := json.Unmarshal([]byte(blocks[0].Text("AdditionalFields", 0)), &more); err != nil || more["From"] != c.begin {
			t.Errorf("%+v: %v, %v", c, more, err)
		}
	}
}

func TestConnectedIsCounted(t *testing.T) {
	t.Parallel()
	for n, want := range []string{"0 devices connected", "1 device connected", "2 devices connected"} {
		if got := connected(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

func TestMicrosAreBounded(t *testing.T) {
	t.Parallel()
	if micros(1<<64-1) != maxSilence || micros(1_000_000) != time.Second || micros(0) != 0 {
		t.Error("durations that a sensor claims are not bounded")
	}
}
