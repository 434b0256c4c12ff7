// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
)

// eachRoute calls f for every route, with ids filled in.
func eachRoute(device string, f func(o *huma.Operation, path string)) {
	fill := strings.NewReplacer("{guid}", "g-curl", "{id}", device)
	for path, item := range described().OpenAPI().Paths {
		at := fill.Replace(path)
		if strings.Contains(path, "/alerts/{id}") {
			at = strings.ReplaceAll(path, "{id}", strings.Repeat("a", 32))
		}
		for _, o := range []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if o != nil {
				f(o, at)
			}
		}
	}
}

// TestStrangersGetNothing asks every route without signing in, with a made-up
// cookie and with a made-up token.
func TestStrangersGetNothing(t *testing.T) {
	w := newWorld(t)
	w.attack()
	cookie, token := w.anonymous(), w.anonymous()
	cookie.cookie = auth.CookieName + "=" + strings.Repeat("A", 43)
	token.bearer = "pkt_" + strings.Repeat("A", 43)
	eachRoute(w.device, func(o *huma.Operation, path string) {
		if o.Metadata[permissionKey] == open {
			return
		}
		for _, b := range []*browser{w.anonymous(), cookie, token} {
			if r := b.do(o.Method, path, nil, nil); r.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s: %s", o.Method, path, r.Status)
			}
		}
	})
}

// TestChangesNeedTheCSRFToken sends every change by cookie alone, as a page of
// another site would.
func TestChangesNeedTheCSRFToken(t *testing.T) {
	w := newWorld(t)
	w.attack()
	b := w.admin()
	b.csrf = ""
	n := 0
	eachRoute(w.device, func(o *huma.Operation, path string) {
		if o.Method == http.MethodGet || o.Metadata[permissionKey] == open {
			return
		}
		n++
		if r := b.do(o.Method, path, map[string]any{}, nil); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s: %s", o.Method, path, r.Status)
		}
	})
	if n < 8 {
		t.Errorf("only %d routes change something", n)
	}
}

// TestTenantsDoNotSeeEachOther asks as the administrator of another tenant
// for what exists in the first: nothing of it may be read or changed.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	w := newWorld(t)
	w.attack()
	admin := auth.Principal{UserID: "x", User: "x", Tenant: "other", Role: picket.RoleAdmin, Method: auth.ByToken}
	if _, err := w.auth.CreateUser(t.Context(), admin, "mallory", "a long pass phrase 7", picket.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	b := w.signIn("mallory", "a long pass phrase 7")
	bodies := map[string]any{
		"update-alert": map[string]any{"status": "Resolved"}, "update-device": map[string]any{"group": "mine"}, "revoke-device": map[string]any{"reason": "mine"},
	}
	n := 0
	eachRoute(w.device, func(o *huma.Operation, path string) {
		if !strings.Contains(path, w.device) && !strings.Contains(path, strings.Repeat("a", 32)) {
			return
		}
		n++
		if r := b.do(o.Method, path, bodies[o.OperationID], nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s %s: %s", o.Method, path, r.Status)
		}
	})
	if n < 10 {
		t.Errorf("only %d routes name a device or an alert", n)
	}
	b.want(404, http.MethodPost, portal+"/alerts/batch", map[string]any{"ids": []string{strings.Repeat("a", 32)}, "status": "Resolved"}, nil)
	for _, path := range []string{"/devices", "/alerts", "/devices.csv", "/health/sensors", "/enrolment-tokens"} {
		if got := text(b.want(200, http.MethodGet, portal+path, nil, nil)); strings.Contains(got, w.device) || strings.Contains(got, "web-1") {
			t.Errorf("%s shows another tenant's device: %s", path, got)
		}
	}
	// The log of the other tenant names what was asked for there, and nothing of this one.
	if got := text(b.want(200, http.MethodGet, portal+"/audit", nil, nil)); strings.Contains(got, `"tenant":"default"`) {
		t.Errorf("the audit log shows another tenant: %s", got)
	}
	var a Alert
	w.admin().want(200, http.MethodGet, portal+"/alerts/"+strings.Repeat("a", 32), nil, &a)
	if a.Status != "New" || len(w.revoked) != 0 {
		t.Errorf("changed from outside: %+v, revoked %v", a, w.revoked)
	}
}
