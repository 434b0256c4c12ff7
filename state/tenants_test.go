// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

func ptr[T any](v T) *T { return &v }

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "mysql://x", "sqlite:", "sqlite::memory:", "postgres://%zz"} {
		_, err := state.Open(t.Context(), state.Options{URL: url})
		kind(t, url, err, picket.Invalid)
	}
	_, err := state.Open(t.Context(), state.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "none", "state.db")})
	kind(t, "missing directory", err, picket.Unavailable)
	_, err = state.Open(t.Context(), state.Options{URL: "postgres://nobody@127.0.0.1:1/x?sslmode=disable&connect_timeout=2"})
	kind(t, "nobody listens", err, picket.Unavailable)
}

func TestOpenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b%20#?.db") // needs escaping
	db := open(t, "sqlite:"+path)
	ok(t, db.Ping(t.Context()))
	info, err := os.Stat(path)
	ok(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	again, err := state.Open(t.Context(), state.Options{URL: "sqlite:" + path}) // migrations run once
	ok(t, err)
	tenants, err := again.Tenants(t.Context())
	ok(t, err)
	if len(tenants) != 2 {
		t.Errorf("%d tenants after reopening, want 2", len(tenants))
	}
	ok(t, again.Close())
}

func TestOpenTogether(t *testing.T) {
	t.Parallel()
	url := server.database(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := state.Open(context.Background(), state.Options{URL: url})
			if err != nil {
				t.Error(err)
				return
			}
			db.Close()
		})
	}
	wg.Wait()
}

func TestCanceled(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := db.Tenant(ctx, ours)
		kind(t, "read", err, picket.Canceled)
		_, err = db.AppendAudit(ctx, ours, picket.AuditEntry{})
		kind(t, "write", err, picket.Canceled)
	})
}

func TestTenants(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		want := picket.Tenant{ID: ours, Name: "Tenant default", Retention: picket.DefaultRetention, Created: now}
		if diff := cmp.Diff(want, got(db.Tenant(ctx, ours))(t)); diff != "" {
			t.Error(diff)
		}
		kind(t, "twice", db.CreateTenant(ctx, want), picket.Conflict)
		kind(t, "bad id", db.CreateTenant(ctx, picket.Tenant{ID: "A/b", Name: "x", Retention: picket.MinRetention}), picket.Invalid)
		kind(t, "no name", db.CreateTenant(ctx, picket.Tenant{ID: "c", Retention: picket.MinRetention}), picket.Invalid)
		_, err := db.Tenant(ctx, "nobody")
		kind(t, "missing", err, picket.NotFound)

		_, err = db.UpdateTenant(ctx, ours, state.TenantUpdate{Retention: ptr(time.Hour)})
		kind(t, "short retention", err, picket.Invalid)
		_, err = db.UpdateTenant(ctx, "nobody", state.TenantUpdate{})
		kind(t, "update missing", err, picket.NotFound)
		want.Name, want.Retention, want.SetupDone = "Ünïted", 30*24*time.Hour, true
		updated := got(db.UpdateTenant(ctx, ours, state.TenantUpdate{Name: &want.Name, Retention: &want.Retention, SetupDone: ptr(true)}))(t)
		if diff := cmp.Diff(want, updated); diff != "" {
			t.Error(diff)
		}
		other := picket.Tenant{ID: theirs, Name: "Tenant other", Retention: picket.DefaultRetention, Created: now}
		if diff := cmp.Diff([]picket.Tenant{want, other}, got(db.Tenants(ctx))(t)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSensorPolicy(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		p := got(db.SensorPolicy(ctx, ours))(t)
		if p.Version != 0 || string(p.JSON) != "{}" {
			t.Errorf("new tenant has policy %d %s", p.Version, p.JSON)
		}
		if v := got(db.SetSensorPolicy(ctx, ours, []byte(`{"a":"it''s ?"}`), 0))(t); v != 1 {
			t.Errorf("version %d, want 1", v)
		}
		_, err := db.SetSensorPolicy(ctx, ours, []byte(`{}`), 0)
		kind(t, "stale", err, picket.Conflict)
		_, err = db.SetSensorPolicy(ctx, ours, []byte(`{`), 1)
		kind(t, "no JSON", err, picket.Invalid)
		_, err = db.SetSensorPolicy(ctx, "nobody", []byte(`{}`), 0)
		kind(t, "missing", err, picket.NotFound)
		p = got(db.SensorPolicy(ctx, ours))(t)
		if p.Version != 1 || string(p.JSON) != `{"a":"it''s ?"}` {
			t.Errorf("policy %d %s", p.Version, p.JSON)
		}
		if p := got(db.SensorPolicy(ctx, theirs))(t); p.Version != 0 {
			t.Error("policy of another tenant changed")
		}
	})
}

func TestValues(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		_, err := db.Value(ctx, ours, "a/1")
		kind(t, "never set", err, picket.NotFound)
		ok(t, db.SetValues(ctx, ours, nil))
		ok(t, db.SetValues(ctx, ours, map[string]string{"a/1": "x", "a/2": "y", "b": "z", "a%": "w"}))
		ok(t, db.SetValues(ctx, theirs, map[string]string{"a/1": "theirs"}))
		ok(t, db.SetValues(ctx, ours, map[string]string{"a/1": "x2"}))
		if v := got(db.Value(ctx, ours, "a/1"))(t); v != "x2" {
			t.Errorf("value %q", v)
		}
		if diff := cmp.Diff(map[string]string{"a/1": "x2", "a/2": "y"}, got(db.Values(ctx, ours, "a/"))(t)); diff != "" {
			t.Error(diff)
		}
		if n := len(got(db.Values(ctx, ours, ""))(t)); n != 4 {
			t.Errorf("%d values, want 4", n)
		}
		ok(t, db.DeleteValue(ctx, ours, "a/1"))
		ok(t, db.DeleteValue(ctx, ours, "a/1"))
		if v := got(db.Value(ctx, theirs, "a/1"))(t); v != "theirs" {
			t.Errorf("value of another tenant %q", v)
		}
		for name, values := range map[string]map[string]string{
			"no name": {"": "x"}, "NUL": {"a\x00": "x"}, "no UTF-8": {"a": "\xff"}, "big": {"a": strings.Repeat("x", 70<<10)},
		} {
			kind(t, name, db.SetValues(ctx, ours, values), picket.Invalid)
		}
		kind(t, "no tenant", db.SetValues(ctx, "nobody", map[string]string{"a": "b"}), picket.NotFound)
	})
}

func TestPositions(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		if p := got(db.Position(ctx, ours, "detect"))(t); p != 0 {
			t.Errorf("position %d before any", p)
		}
		ok(t, db.SetPosition(ctx, ours, "detect", 1<<63+5))
		ok(t, db.SetPosition(ctx, ours, "detect2", 7))
		if p := got(db.Position(ctx, ours, "detect"))(t); p != 1<<63+5 {
			t.Errorf("position %d", p)
		}
		if p := got(db.Position(ctx, theirs, "detect"))(t); p != 0 {
			t.Errorf("position %d of another tenant", p)
		}
	})
}

func TestSetupSteps(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		first := state.SetupStep{At: now, DeviceID: deviceID(1), DeviceName: "host"}
		if !got(db.CompleteSetupStep(ctx, ours, state.StepSensor, first))(t) {
			t.Error("first completion is not new")
		}
		if got(db.CompleteSetupStep(ctx, ours, state.StepSensor, state.SetupStep{At: now.Add(time.Hour)}))(t) {
			t.Error("second completion is new")
		}
		if diff := cmp.Diff(map[string]state.SetupStep{state.StepSensor: first}, got(db.SetupSteps(ctx, ours))(t)); diff != "" {
			t.Error(diff)
		}
		if n := len(got(db.SetupSteps(ctx, theirs))(t)); n != 0 {
			t.Errorf("%d steps of another tenant", n)
		}
		_, err := db.CompleteSetupStep(ctx, ours, "dance", first)
		kind(t, "unknown step", err, picket.Invalid)
	})
}
