// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

// device reads one device with the default thresholds.
func device(t *testing.T, db *state.DB, tenant, id string) state.Device {
	t.Helper()
	return got(db.Device(t.Context(), tenant, id, now, picket.HealthThresholds{}))(t)
}

func TestDevice(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		d := addDevice(t, db, ours, 1)
		d.Lost = map[string]int64{}
		d.Hooks = []picket.Hook{}
		want := state.Device{
			Device: d, Health: picket.Active, Risk: picket.RiskNone, Host: state.HostIdentity{MachineID: "machine-host-01", HardwareUUID: "uuid"},
		}
		if diff := cmp.Diff(want, device(t, db, ours, d.ID)); diff != "" {
			t.Error(diff)
		}
		kind(t, "same id", db.CreateDevice(ctx, ours, d, state.HostIdentity{}), picket.Conflict)
		kind(t, "bad id", db.CreateDevice(ctx, ours, picket.Device{ID: "x"}, state.HostIdentity{}), picket.Invalid)
		kind(t, "no tenant", db.CreateDevice(ctx, "nobody", d, state.HostIdentity{}), picket.NotFound)
		_, err := db.Device(ctx, theirs, d.ID, now, picket.HealthThresholds{})
		kind(t, "other tenant", err, picket.NotFound)
		if id := state.NewDeviceID(); !picket.ValidDeviceID(id) || id == state.NewDeviceID() {
			t.Errorf("NewDeviceID makes %q", id)
		}
	})
}

func TestDeviceChanges(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		id := addDevice(t, db, ours, 1).ID
		addDevice(t, db, theirs, 1)
		before := device(t, db, theirs, id)

		ok(t, db.UpdateDeviceFacts(ctx, ours, id, state.DeviceFacts{
			Name: "HOST-01.Example\x00\n", KernelVersion: strings.Repeat("é", 200), InternalIP: "10.1.1.1",
			Identity: state.HostIdentity{MachineID: "m2"},
		}))
		ok(t, db.SetIdentityClash(ctx, ours, id, true))
		ok(t, db.SetDeviceGroup(ctx, ours, id, "databases"))
		ok(t, db.SetDeviceTags(ctx, ours, id, []string{"web", "a,b \"c\"", "web"}))
		ok(t, db.AddDeviceLost(ctx, ours, id, map[string]int64{"gap": 3, "bad": -5}))
		ok(t, db.AddDeviceLost(ctx, ours, id, map[string]int64{"gap": math.MaxInt64}))
		d := device(t, db, ours, id)
		if d.Name != "host-01.example" || d.OSPlatform != "Linux" || len(d.KernelVersion) != 254 || d.InternalIP != "10.1.1.1" ||
			!d.IdentityClash || d.Group != "databases" || d.Host.MachineID != "m2" || d.Host.HardwareUUID != "uuid" {
			t.Errorf("device %+v", d)
		}
		if diff := cmp.Diff([]string{"a,b \"c\"", "web"}, d.Tags); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]int64{"gap": math.MaxInt64}, d.Lost); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{id}, got(db.DevicesOfHost(ctx, ours, "m2"))(t)); diff != "" {
			t.Error(diff)
		}
		ok(t, db.SetDeviceTags(ctx, ours, id, nil))
		if tags := device(t, db, ours, id).Tags; len(tags) != 0 {
			t.Errorf("tags %q after removal", tags)
		}
		if diff := cmp.Diff(before, device(t, db, theirs, id)); diff != "" {
			t.Errorf("device of another tenant changed: %s", diff)
		}
		if n := len(got(db.DevicesOfHost(ctx, theirs, "m2"))(t)); n != 0 {
			t.Error("found a device of another tenant by its host")
		}

		none := deviceID(99)
		kind(t, "facts", db.UpdateDeviceFacts(ctx, ours, none, state.DeviceFacts{}), picket.NotFound)
		kind(t, "clash", db.SetIdentityClash(ctx, ours, none, true), picket.NotFound)
		kind(t, "group", db.SetDeviceGroup(ctx, ours, none, "x"), picket.NotFound)
		kind(t, "tags", db.SetDeviceTags(ctx, ours, none, []string{"x"}), picket.NotFound)
		kind(t, "lost", db.AddDeviceLost(ctx, ours, none, nil), picket.NotFound)
		kind(t, "bad tag", db.SetDeviceTags(ctx, ours, id, []string{"a\nb"}), picket.Invalid)
		var many []string
		for i := range 51 {
			many = append(many, fmt.Sprint(i))
		}
		kind(t, "many tags", db.SetDeviceTags(ctx, ours, id, many), picket.Invalid)
	})
}

func TestTouchDevices(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		a, b := addDevice(t, db, ours, 1).ID, addDevice(t, db, ours, 2).ID
		addDevice(t, db, theirs, 1)
		ok(t, db.TouchDevices(ctx, ours, nil))
		touches := []state.DeviceTouch{
			{DeviceID: a, Telemetry: now.Add(2 * time.Minute)},
			{DeviceID: a, Telemetry: now.Add(time.Minute)},
			{DeviceID: b, Heartbeat: now.Add(-time.Minute)}, // never back
			{DeviceID: deviceID(77), Heartbeat: now},
		}
		for i := range 600 { // more than one statement
			touches = append(touches, state.DeviceTouch{DeviceID: deviceID(1000 + i), Heartbeat: now})
		}
		ok(t, db.TouchDevices(ctx, ours, touches))
		if d := device(t, db, ours, a); !d.LastTelemetry.Equal(now.Add(2*time.Minute)) || !d.LastHeartbeat.Equal(now) {
			t.Errorf("telemetry %s, heartbeat %s", d.LastTelemetry, d.LastHeartbeat)
		}
		if d := device(t, db, ours, b); !d.LastHeartbeat.Equal(now) {
			t.Errorf("heartbeat went back to %s", d.LastHeartbeat)
		}
		if d := device(t, db, theirs, a); !d.LastTelemetry.Equal(now) {
			t.Error("device of another tenant touched")
		}
	})
}

func TestRecordHealth(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		id := addDevice(t, db, ours, 1).ID
		addDevice(t, db, theirs, 1)
		report := func(run uint64, lost map[string]uint64) int {
			return got(db.RecordHealth(ctx, ours, []state.DeviceHealth{
				{DeviceID: deviceID(9)},
				{DeviceID: id, At: now.Add(time.Minute), Run: run, Rung: "tracepoint", Lost: lost, Hooks: []picket.Hook{{Kind: "process", Attached: true}}},
			}))(t)
		}
		for _, c := range []struct {
			run  uint64
			lost map[string]uint64
			want map[string]int64
		}{
			{1, map[string]uint64{"a": 5}, map[string]int64{"a": 5}},
			{1, map[string]uint64{"a": 5}, map[string]int64{"a": 5}}, // the same report again
			{1, map[string]uint64{"a": 7, "b": 1}, map[string]int64{"a": 7, "b": 1}},
			{1, map[string]uint64{"a": 6}, map[string]int64{"a": 7, "b": 1}},             // an older report late
			{1, map[string]uint64{"a": 7, "b": 1}, map[string]int64{"a": 7, "b": 1}},     // nothing counted twice
			{1 << 63, map[string]uint64{"a": 2}, map[string]int64{"a": 9, "b": 1}},       // a new run counts from zero
			{1 << 63, map[string]uint64{"a": 1 << 63}, map[string]int64{"a": 9, "b": 1}}, // impossible
		} {
			if known := report(c.run, c.lost); known != 1 {
				t.Errorf("%d devices known, want 1", known)
			}
			if diff := cmp.Diff(c.want, device(t, db, ours, id).Lost); diff != "" {
				t.Errorf("run %d %v: %s", c.run, c.lost, diff)
			}
		}
		d := device(t, db, ours, id)
		if !d.LastHeartbeat.Equal(now.Add(time.Minute)) || d.Rung != "tracepoint" || len(d.Hooks) != 1 || d.Health != picket.Active {
			t.Errorf("device %+v", d)
		}
		// A kind of event that is not collected shows in the health state.
		got(db.RecordHealth(ctx, ours, []state.DeviceHealth{{DeviceID: id, At: now, Hooks: []picket.Hook{{Kind: "dns", Error: "x"}}}}))(t)
		if h := device(t, db, ours, id).Health; h != picket.NoSensorData {
			t.Errorf("health %s, want %s", h, picket.NoSensorData)
		}
		if d := device(t, db, theirs, id); len(d.Lost) != 0 || len(d.Hooks) != 0 {
			t.Error("device of another tenant changed")
		}
		var classes = map[string]uint64{}
		for i := range 5000 {
			classes[fmt.Sprint(i)] = 1
		}
		report(3, classes)
		report(4, classes)
		if n := len(device(t, db, ours, id).Lost); n > 200 {
			t.Errorf("%d classes of lost events kept", n)
		}
	})
}

func TestDeviceHealthInSQL(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		n := 0
		age := rapid.OneOf(
			rapid.Int64Range(-1000, 10*24*3600*1_000_000),
			rapid.SampledFrom([]int64{0, 3_600_000_000 * 24, 3_600_000_000*24 + 1, 3_600_000_000 * 168, 3_600_000_000*168 + 1, 1}),
			rapid.Just(now.UnixMicro()), // never
		)
		rapid.Check(t, func(rt *rapid.T) {
			n++
			moment := func(name string) time.Time {
				us := now.UnixMicro() - age.Draw(rt, name)
				if us == 0 {
					return time.Time{}
				}
				return time.UnixMicro(us).UTC()
			}
			var th picket.HealthThresholds
			if rapid.Bool().Draw(rt, "own thresholds") {
				hours := rapid.Int64Range(1, 200)
				th = picket.HealthThresholds{
					NoTelemetry: time.Duration(hours.Draw(rt, "t")) * time.Hour,
					NoHeartbeat: time.Duration(hours.Draw(rt, "h")) * time.Hour,
					Inactive:    time.Duration(hours.Draw(rt, "i")) * time.Hour,
				}
			}
			d := picket.Device{ID: deviceID(n), LastTelemetry: moment("telemetry"), LastHeartbeat: moment("heartbeat")}
			for range rapid.IntRange(0, 3).Draw(rt, "hooks") {
				d.Hooks = append(d.Hooks, picket.Hook{Attached: rapid.Bool().Draw(rt, "attached")})
			}
			if err := db.CreateDevice(t.Context(), ours, d, state.HostIdentity{}); err != nil {
				rt.Fatal(err)
			}
			kept, err := db.Device(t.Context(), ours, d.ID, now, th)
			if err != nil {
				rt.Fatal(err)
			}
			if th == (picket.HealthThresholds{}) {
				th = picket.DefaultHealthThresholds
			}
			if want := d.Health(now, th); kept.Health != want {
				rt.Fatalf("SQL says %s, Go says %s", kept.Health, want)
			}
		})
	})
}

func TestDeviceListFilters(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		for n := range 6 {
			addDevice(t, db, ours, n+1)
		}
		addDevice(t, db, theirs, 1)
		old := picket.Device{
			ID: deviceID(50), Name: "old_100%!", Group: "x", OSPlatform: "Windows11", LastTelemetry: now.Add(-30 * 24 * time.Hour), LastHeartbeat: now.Add(-30 * 24 * time.Hour),
		}
		ok(t, db.CreateDevice(ctx, ours, old, state.HostIdentity{}))
		ok(t, db.SetDeviceTags(ctx, ours, deviceID(2), []string{"Prod"}))
		ok(t, db.SetDeviceTags(ctx, theirs, deviceID(1), []string{"Prod"}))
		got(db.FoldAlerts(ctx, ours, []picket.Alert{raised(1, deviceID(3), picket.High, 1), raised(2, deviceID(4), picket.Low, 1)}, now))(t)
		got(db.FoldAlerts(ctx, theirs, []picket.Alert{raised(1, deviceID(1), picket.High, 1)}, now))(t)

		for name, c := range map[string]struct {
			q    state.DeviceQuery
			want []int
		}{
			"all":               {state.DeviceQuery{}, []int{1, 2, 3, 4, 5, 6, 50}},
			"by name":           {state.DeviceQuery{Text: "HOST-02"}, []int{2}},
			"by tag":            {state.DeviceQuery{Text: "prod"}, []int{2}},
			"by address":        {state.DeviceQuery{Text: "10.0.0.3"}, []int{3}},
			"by id":             {state.DeviceQuery{Text: deviceID(4)}, []int{4}},
			"wildcards are not": {state.DeviceQuery{Text: "_100%!"}, []int{50}},
			"percent":           {state.DeviceQuery{Text: "%1%"}, nil},
			"injection":         {state.DeviceQuery{Text: "' OR 1=1 --"}, nil},
			"question mark":     {state.DeviceQuery{Text: "?"}, nil},
			"platform":          {state.DeviceQuery{OS: "windows11"}, []int{50}},
			"distribution":      {state.DeviceQuery{OS: "Debian"}, []int{1, 2, 3, 4, 5, 6}},
			"health":            {state.DeviceQuery{Health: []picket.HealthState{picket.Inactive, picket.NoSensorData}}, []int{50}},
			"risk":              {state.DeviceQuery{Risk: []picket.RiskLevel{picket.RiskHigh, picket.RiskLow}}, []int{3, 4}},
			"no risk":           {state.DeviceQuery{Risk: []picket.RiskLevel{picket.RiskNone}}, []int{1, 2, 5, 6, 50}},
			"group":             {state.DeviceQuery{Group: "x"}, []int{50}},
			"tag":               {state.DeviceQuery{Tag: "Prod"}, []int{2}},
			"tag of another":    {state.DeviceQuery{Tag: "prod"}, nil},
			"seen":              {state.DeviceQuery{SeenSince: now.Add(-24 * time.Hour)}, []int{1, 2, 3, 4, 5, 6}},
			"together":          {state.DeviceQuery{Text: "host", Group: "servers", Risk: []picket.RiskLevel{picket.RiskHigh}}, []int{3}},
		} {
			page, err := db.Devices(ctx, ours, c.q, now)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			var want, have []string
			for _, n := range c.want {
				want = append(want, deviceID(n))
			}
			for _, d := range page.Items {
				have = append(have, d.ID)
			}
			if diff := cmp.Diff(want, have); diff != "" || page.Total != int64(len(want)) || page.Next != "" {
				t.Errorf("%s: total %d, next %q: %s", name, page.Total, page.Next, diff)
			}
		}
		if page := got(db.Devices(ctx, theirs, state.DeviceQuery{}, now))(t); page.Total != 1 || page.Items[0].Tenant != theirs {
			t.Errorf("other tenant sees %d devices", page.Total)
		}
		want := map[picket.HealthState]int64{picket.Active: 6, picket.Inactive: 1}
		if diff := cmp.Diff(want, got(db.HealthCounts(ctx, ours, now, picket.HealthThresholds{}))(t)); diff != "" {
			t.Error(diff)
		}
		if n := got(db.HealthCounts(ctx, theirs, now, picket.HealthThresholds{}))(t)[picket.Active]; n != 1 {
			t.Errorf("other tenant counts %d sensors", n)
		}
	})
}

func TestDeviceListPages(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		var alerts []picket.Alert
		severities := []picket.Severity{picket.Informational, picket.Low, picket.Medium, picket.High}
		for n := range 23 {
			d := addDevice(t, db, ours, n+1)
			ok(t, db.TouchDevices(ctx, ours, []state.DeviceTouch{{DeviceID: d.ID, Telemetry: now.Add(time.Duration(n%5) * time.Second)}}))
			for i := range n % 6 {
				alerts = append(alerts, raised(100*n+i, d.ID, severities[n%4], 1))
			}
		}
		got(db.FoldAlerts(ctx, ours, alerts, now))(t)
		for _, sort := range []string{"name", "health", "risk", "os", "group", "firstSeen", "lastSeen", "internalIp", "activeAlerts"} {
			for _, order := range []string{sort, "-" + sort} {
				whole := got(db.Devices(ctx, ours, state.DeviceQuery{Sort: order, Limit: 1000}, now))(t)
				var paged []state.Device
				for cursor, pages := "", 0; ; pages++ {
					p := got(db.Devices(ctx, ours, state.DeviceQuery{Sort: order, Limit: 4, Cursor: cursor}, now))(t)
					paged = append(paged, p.Items...)
					if p.Next == "" || pages > 20 {
						break
					}
					cursor = p.Next
				}
				if diff := cmp.Diff(whole.Items, paged); diff != "" {
					t.Errorf("pages by %s: %s", order, diff)
				}
				if !slices.IsSortedFunc(whole.Items, compareDevices(order)) {
					t.Errorf("not sorted by %s", order)
				}
			}
		}
		for name, q := range map[string]state.DeviceQuery{
			"sort": {Sort: "id; DROP TABLE devices"}, "limit": {Limit: 1001}, "negative": {Limit: -1}, "cursor": {Cursor: "{"},
			"cursor of another order": {Sort: "risk", Cursor: got(db.Devices(ctx, ours, state.DeviceQuery{Limit: 1}, now))(t).Next},
		} {
			_, err := db.Devices(ctx, ours, q, now)
			kind(t, name, err, picket.Invalid)
		}
	})
}

// compareDevices says independently of SQL what some orders mean.
func compareDevices(order string) func(a, b state.Device) int {
	name, desc := strings.CutPrefix(order, "-")
	risk := map[picket.RiskLevel]int{picket.RiskLow: 1, picket.RiskMedium: 2, picket.RiskHigh: 3}
	return func(a, b state.Device) int {
		c := 0
		switch name {
		case "name", "internalIp": // host-07 has 10.0.0.7
			c = strings.Compare(a.Name, b.Name)
		case "risk":
			c = risk[a.Risk] - risk[b.Risk]
		case "lastSeen":
			c = a.LastSeen().Compare(b.LastSeen())
		case "activeAlerts":
			for _, n := range []int64{a.Active.High - b.Active.High, a.Active.Medium - b.Active.Medium, a.Active.Low - b.Active.Low, a.Active.Informational - b.Active.Informational} {
				if c == 0 {
					c = int(n)
				}
			}
		}
		if desc {
			return -c
		}
		return c
	}
}

func TestRiskInSQL(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			n++
			id := deviceID(n)
			if err := db.CreateDevice(t.Context(), ours, picket.Device{ID: id}, state.HostIdentity{}); err != nil {
				rt.Fatal(err)
			}
			var alerts []picket.Alert
			var want picket.AlertCounts
			for i, s := range rapid.SliceOfN(rapid.SampledFrom([]picket.Severity{picket.Informational, picket.Low, picket.Low, picket.Low, picket.Medium, picket.High}), 0, 8).Draw(rt, "alerts") {
				alerts = append(alerts, raised(1000*n+i, id, s, 1))
				switch s {
				case picket.High:
					want.High++
				case picket.Medium:
					want.Medium++
				case picket.Low:
					want.Low++
				case picket.Informational:
					want.Informational++
				}
			}
			if _, err := db.FoldAlerts(t.Context(), ours, alerts, now); err != nil {
				rt.Fatal(err)
			}
			d, err := db.Device(t.Context(), ours, id, now, picket.HealthThresholds{})
			if err != nil {
				rt.Fatal(err)
			}
			counts, err := db.ActiveAlerts(t.Context(), ours, id)
			if err != nil {
				rt.Fatal(err)
			}
			if d.Active != want || counts != want || d.Risk != picket.Risk(want) {
				rt.Fatalf("device has %+v, risk %s; counted %+v; want %+v, risk %s", d.Active, d.Risk, counts, want, picket.Risk(want))
			}
		})
	})
}
