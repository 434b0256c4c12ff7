// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/store"
)

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 300 * time.Millisecond: "0 s", 59 * time.Second: "59 s", 4 * time.Minute: "4 min", 61 * time.Second: "1 min 1 s",
		90 * time.Minute: "1 h 30 min", 24 * time.Hour: "1 day", 47 * time.Hour: "1 day", 9 * 24 * time.Hour: "9 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestEveryStateHasAText has each state that Contact may give explained.
func TestEveryStateHasAText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, s := range []picket.ConnectionState{picket.Connected, picket.NeverConnected, picket.Asleep, picket.ShutDown, picket.SensorStopped, picket.Uninstalled, picket.NetworkCut, picket.HostGone} {
		if text := connectionText(s, time.Hour); !strings.HasSuffix(text, ".") || strings.Contains(text, "%") {
			t.Errorf("%s: %q", s, text)
		}
	}
	for s := range pasts {
		if text := silenceText(picket.Silence{From: at, To: at.Add(time.Hour), Reason: s}); !strings.Contains(text, " 1 h: ") || strings.Contains(text, "nobody knows why") {
			t.Errorf("%s: %q", s, text)
		}
	}
	if text := silenceText(picket.Silence{From: at, To: at, Reason: "x"}); text != "Nothing was heard of the device for 0 s: nobody knows why." {
		t.Errorf("unknown reason: %q", text)
	}
}

func TestSensorSentences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ action, fields, want string }{
		{"SensorStarted", `{"PreviousStop":"clean"}`, "The sensor started"},
		{"SensorStarted", `{"PreviousStop":"unclean before a boot"}`, "The sensor started; the run before did not stop in order"},
		{"SensorStopped", `{}`, "The sensor stopped"},
		{"SensorStopped", `{"Reason":"stop"}`, "The sensor stopped"},
		{"SensorStopped", `{"Reason":"shutdown"}`, "The sensor stopped because the host is shut down"},
		{"SensorStopped", `{"Reason":"uninstall"}`, "The sensor stopped to be uninstalled"},
		{"SensorLoss", `{"Lost":{"ring.file":132,"ring.exec":200}}`, "The sensor lost 200 events (ring.exec), 132 events (ring.file)"},
		{"SensorLoss", `{"Lost":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}}`, "The sensor lost 1 events (a), 1 events (b), 1 events (c), 1 events (d), and of 2 more kinds"},
		{"SensorLoss", `{"Lost":{}}`, "The sensor lost events"},
		{"SensorLoss", `not json`, "The sensor lost events"},
		{"SensorGap", `{"Lost":{"batches":1}}`, "1 batch of this device never arrived"},
		{"SensorGap", `{"Lost":{"batches":3}}`, "3 batches of this device never arrived"},
		{"SensorNote", `{"EventId":37,"Level":"warning","Message":"the spool holds {much}"}`, "Sensor warning: the spool holds {much}"},
		{"SensorNote", `{}`, "The sensor told of its health"},
		{"DeviceSilent", `{"From":"2026-03-04T10:00:00Z","To":"2026-03-04T10:04:00Z","Reason":"SensorKilled"}`, "Nothing was heard of the device for 4 min: the sensor was killed; what the host did meanwhile is not known"},
		{"DeviceSuspended", `{}`, "The host went to sleep"},
		{"DeviceResumed", `{"SleptSeconds":7200.4}`, "The host woke up after 2 h"},
		{"DeviceResumed", `{"SleptSeconds":1e300}`, "The host woke up after 24855 days"},
		{"ClockChanged", `{"StepSeconds":-90}`, "The clock of the host was set back by 1 min 30 s"},
		{"ClockChanged", `{"StepSeconds":3}`, "The clock of the host was set forward by 3 s"},
	} {
		it := store.Item{Table: "DeviceEvents", Fields: map[string]string{"ActionType": c.action, "AdditionalFields": c.fields}}
		if got := sentence(it); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.action, c.fields, got, c.want)
		}
	}
}

// append stores rows of the world's device.
func (w *world) append(seq uint64, rows ...event.Row) {
	w.t.Helper()
	var b event.Builder
	for _, r := range rows {
		b.Add(r)
	}
	env := event.Envelope{Tenant: "default", DeviceID: w.device, DeviceName: "web-1.example", Received: event.TimeOf(w.now), BootID: "boot", Seq: seq}
	if err := w.events.Append(context.Background(), []store.Delivery{{Position: store.Position{Epoch: "e", Sequence: seq}, Envelope: env, Batch: &event.Batch{Blocks: b.Take()}}}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.events.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

func TestConnectionOfADevice(t *testing.T) {
	w := newWorld(t)
	b := w.admin()
	ctx := context.Background()
	path := "/api/portal/devices/" + w.device
	shows := func(want string) Device {
		t.Helper()
		var d Device
		b.want(http.StatusOK, http.MethodGet, path, nil, &d)
		if d.ConnectionState != want {
			t.Errorf("the device is %s (%s), want %s", d.ConnectionState, d.ConnectionReason, want)
		}
		return d
	}
	if d := shows("NetworkCut"); d.LastSilence != nil || d.ClockChanged != nil {
		t.Errorf("a new device: %+v", d)
	}
	arrive := func(run uint64, unclean bool, at time.Time) {
		t.Helper()
		if _, err := w.db.ArriveDevice(ctx, "default", w.device, state.Arrival{At: at, Run: run, BootID: "boot", Unclean: unclean}); err != nil {
			t.Fatal(err)
		}
	}
	arrive(1, false, w.now)
	shows("Connected")
	if err := w.db.LeaveDevice(ctx, "default", w.device, 1, picket.FarewellShutdown, w.now); err != nil {
		t.Fatal(err)
	}
	shows("ShutDown")
	arrive(2, true, w.now.Add(time.Second))
	if d := shows("Connected"); d.LastSilence == nil || d.LastSilence.Reason != "SensorKilled" {
		t.Errorf("silence %+v", d.LastSilence)
	}
	if r := text(b.want(http.StatusOK, http.MethodGet, "/api/portal/devices.csv", nil, nil)); !strings.Contains(r, "connection") || !strings.Contains(r, "Connected") {
		t.Errorf("export: %s", r)
	}
}

func TestLossesAroundAnAlert(t *testing.T) {
	w := newWorld(t)
	w.attack()
	b := w.admin()
	path := "/api/portal/alerts/" + strings.Repeat("a", 32)
	var a Alert
	b.want(http.StatusOK, http.MethodGet, path, nil, &a)
	if len(a.Losses) != 0 || a.LossesUnknown {
		t.Fatalf("losses after the alert: %+v", a.Losses)
	}
	first := a.FirstActivity
	told := first.Add(4 * time.Second)
	begin := first.Truncate(time.Second).Add(-10 * time.Second)
	loss := fmt.Sprintf(`{"Lost":{"ring.file":7,"ring.exec":1},"From":%q,"To":%q,"Seconds":[{"T":%d,"Lost":{"ring.file":2}},{"T":%d,"Lost":{"ring.file":3,"ring.exec":1}},{"T":%d,"Lost":{"ring.file":2}}]}`,
		begin.Format(time.RFC3339Nano), told.Format(time.RFC3339Nano), begin.Unix(), begin.Unix()+1, begin.Unix()+13)
	w.append(2,
		&event.DeviceEvents{Timestamp: event.TimeOf(told), ReportId: 10, ActionType: "SensorLoss", AdditionalFields: loss},
		&event.DeviceEvents{Timestamp: event.TimeOf(first.Add(-70 * time.Second)), ReportId: 7, ActionType: "SensorLoss", AdditionalFields: `{"Lost":{"ring.dns":9}}`},
		&event.DeviceEvents{Timestamp: event.TimeOf(first.Add(-20 * time.Second)), ReportId: 8, ActionType: "DeviceSilent",
			AdditionalFields: fmt.Sprintf(`{"From":%q,"To":%q,"Reason":"SensorKilled"}`, first.Add(-2*time.Minute).Format(time.RFC3339Nano), first.Add(-20*time.Second).Format(time.RFC3339Nano))},
	)
	b.want(http.StatusOK, http.MethodGet, path, nil, &a)
	got := ""
	for _, g := range a.Losses {
		got += fmt.Sprintf("%s %d in %v; ", g.Class, g.Lost, g.To.Sub(g.From).Round(time.Second))
	}
	if want := "blind 0 in 1m40s; ring.exec 1 in 1s; ring.file 5 in 2s; "; got != want {
		t.Errorf("around the alert: %q, want %q", got, want)
	}
	var all []Gap
	query := url.Values{"from": {first.Add(-5 * time.Minute).Format(time.RFC3339)}, "to": {w.now.Format(time.RFC3339)}}
	b.want(http.StatusOK, http.MethodGet, "/api/portal/devices/"+w.device+"/losses?"+query.Encode(), nil, &all)
	if len(all) != 7 || all[0].Class != "blind" || all[1].Class != "ring.dns" {
		t.Errorf("losses of the device: %+v", all)
	}
	query.Set("from", first.Add(-8*24*time.Hour).Format(time.RFC3339))
	b.want(http.StatusBadRequest, http.MethodGet, "/api/portal/devices/"+w.device+"/losses?"+query.Encode(), nil, nil)
	b.want(http.StatusNotFound, http.MethodGet, "/api/portal/devices/"+strings.Repeat("0", 40)+"/losses", nil, nil)
}
