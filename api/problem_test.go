// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
)

// TestEveryRefusalCarriesTheRequestID covers refusals by handlers, by the
// permission check and by validation.
func TestEveryRefusalCarriesTheRequestID(t *testing.T) {
	w := newWorld(t)
	b := w.admin()
	for _, c := range []struct {
		who    *browser
		status int
		path   string
	}{
		{b, 404, "/devices/" + strings.Repeat("0", 40)},
		{b, 422, "/devices?limit=5000"},
		{b, 400, "/devices?sort=nonsense"},
		{w.anonymous(), 401, "/devices"},
	} {
		r := c.who.want(c.status, http.MethodGet, portal+c.path, nil, nil)
		var p Problem
		if err := json.Unmarshal([]byte(text(r)), &p); err != nil {
			t.Fatal(err)
		}
		if p.RequestID == "" || p.RequestID != r.Header.Get("X-Request-Id") || p.Status != c.status || p.Title == "" || p.Detail == "" {
			t.Errorf("%s: %+v, header %q", c.path, p, r.Header.Get("X-Request-Id"))
		}
		if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%s: content type %q", c.path, ct)
		}
	}
}

func TestProblemOfEveryKind(t *testing.T) {
	t.Parallel()
	want := map[error]int{
		picket.NotFound: 404, picket.Invalid: 400, picket.Denied: 403, picket.Conflict: 409, picket.TooLarge: 413,
		picket.Unavailable: 503, picket.Canceled: 408, picket.Internal: 500,
	}
	var log bytes.Buffer
	s := &server{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	for _, k := range picket.Kinds() {
		if p := s.problem(t.Context(), fmt.Errorf("reason: %w", k)); p.Status != want[k] {
			t.Errorf("%v: status %d, want %d", k, p.Status, want[k])
		}
	}
	log.Reset()
	p := s.problem(t.Context(), errors.New("secret path /var/x"))
	if p.Status != 500 || strings.Contains(p.Detail, "secret") || !strings.Contains(log.String(), "secret path") {
		t.Errorf("internal error: %+v, log %q", p, log.String())
	}
	if p := s.problem(t.Context(), auth.ErrUnauthenticated); p.Status != 401 {
		t.Errorf("unauthenticated: %+v", p)
	}
	if p := s.problem(t.Context(), &auth.LimitError{RetryAfter: 90 * time.Second}); p.Status != 429 || p.GetHeaders().Get("Retry-After") != "91" {
		t.Errorf("limit: %+v", p)
	}
	if s.fail(t.Context(), nil) != nil {
		t.Error("no error must stay none")
	}
}

// TestPanicsAreContained checks that one broken request does not reach the
// client as text or end the server.
func TestPanicsAreContained(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := &server{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now}}
	h := s.outer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("inner secret") }))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "secret") || !strings.Contains(log.String(), "inner secret") {
		t.Errorf("%d %q, log %q", rec.Code, rec.Body.String(), log.String())
	}
}
