// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
)

const portal = "/api/portal"

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	anyone := w.anonymous()
	anyone.want(401, http.MethodGet, portal+"/devices", nil, nil)
	anyone.want(401, http.MethodPost, portal+"/session", Credentials{"admin", "wrong password"}, nil)
	b := w.admin()
	var s Session
	b.want(200, http.MethodGet, portal+"/session", nil, &s)
	if s.User != "admin" || s.Role != "admin" || s.SetupDone || s.CSRFToken == "" {
		t.Errorf("session %+v", s)
	}
	r := b.do(http.MethodGet, portal+"/nope", nil, nil)
	if r.StatusCode != 404 || r.Header.Get("X-Request-Id") == "" {
		t.Errorf("unknown path: %s", r.Status)
	}
	csrf := b.csrf
	b.csrf = "wrong"
	b.want(403, http.MethodPut, portal+"/setup", map[string]any{"organisation": "X"}, nil)
	b.csrf = csrf
	b.want(200, http.MethodPut, portal+"/setup", map[string]any{"organisation": "X"}, nil)
	b.want(204, http.MethodDelete, portal+"/session", nil, nil)
	b.want(401, http.MethodGet, portal+"/session", nil, nil)
}

func TestSignInIsLimited(t *testing.T) {
	w := newWorld(t)
	var last *http.Response
	for range 7 {
		last = w.anonymous().do(http.MethodPost, portal+"/session", Credentials{"admin", "wrong password"}, nil)
	}
	if last.StatusCode != 429 || last.Header.Get("Retry-After") == "" {
		t.Errorf("seventh wrong password: %s, Retry-After %q", last.Status, last.Header.Get("Retry-After"))
	}
}

func TestBearerToken(t *testing.T) {
	w := newWorld(t)
	var tok BearerToken
	b := w.anonymous()
	b.want(200, http.MethodPost, portal+"/tokens", Credentials{"admin", w.password}, &tok)
	b.bearer = tok.Token
	b.want(200, http.MethodGet, portal+"/devices", nil, nil)
	b.want(200, http.MethodPut, portal+"/setup", map[string]any{"organisation": "by token"}, nil) // no CSRF token needed
	b.bearer = "pkt_nonsense"
	b.want(401, http.MethodGet, portal+"/devices", nil, nil)
}

func TestDevices(t *testing.T) {
	w := newWorld(t)
	w.attack()
	other := w.addDevice("other", "hidden.example")
	b := w.admin()
	var page Page[Device]
	b.want(200, http.MethodGet, portal+"/devices?q=web&sort=-activeAlerts", nil, &page)
	if page.Total != 1 || len(page.Items) != 1 {
		t.Fatalf("page %+v", page)
	}
	d := page.Items[0]
	if d.Name != "web-1.example" || d.Health != "Active" || d.Risk != "High" || d.ActiveAlerts.High != 1 || d.Tags == nil || d.HealthReason == "" {
		t.Errorf("device %+v", d)
	}
	b.want(404, http.MethodGet, portal+"/devices/"+other, nil, nil)
	b.want(422, http.MethodGet, portal+"/devices?limit=5000", nil, nil)
	b.want(400, http.MethodGet, portal+"/devices?sort=nonsense", nil, nil)
	b.want(200, http.MethodPatch, portal+"/devices/"+w.device, map[string]any{"tags": []string{"pci"}, "group": "servers"}, &d)
	if d.Group != "servers" || len(d.Tags) != 1 {
		t.Errorf("after the change %+v", d)
	}
	var users []User
	b.want(200, http.MethodGet, portal+"/devices/"+w.device+"/users", nil, &users)
	if len(users) != 1 || users[0].Account != "alice" || users[0].LogonTypes[0] != "RemoteInteractive" {
		t.Errorf("users %+v", users)
	}
	if csv := text(b.want(200, http.MethodGet, portal+"/devices.csv", nil, nil)); !strings.Contains(csv, "web-1.example,servers,pci") {
		t.Errorf("export %q", csv)
	}
	b.want(204, http.MethodPost, portal+"/devices/"+w.device+"/revoke", map[string]string{"reason": "stolen"}, nil)
	if len(w.revoked) != 1 || w.revoked[0] != w.device {
		t.Errorf("live streams closed: %v", w.revoked)
	}
}

func TestTimelineAndTree(t *testing.T) {
	w := newWorld(t)
	w.attack()
	b := w.admin()
	at := portal + "/devices/" + w.device
	titles := func(query string) (out []string, tl Timeline) {
		t.Helper()
		b.want(200, http.MethodGet, at+"/timeline?"+query, nil, &tl)
		for _, e := range tl.Items {
			out = append(out, e.Title)
		}
		return out, tl
	}
	got, tl := titles("types=process,network,file")
	want := []string{"curl created /tmp/x.sh", "curl connected to 192.0.2.1:80", "bash started curl", "sshd started bash"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if e := tl.Items[2]; e.Severity != "High" || len(e.AlertIDs) != 1 || e.User != "alice" || !cmp.Equal(e.Chain, []string{"sshd", "bash", "curl"}) {
		t.Errorf("event with an alert: %+v", e)
	}
	if len(tl.Gaps) != 1 || tl.Gaps[0].Lost != 7 || tl.Gaps[0].Class != "kernel.file" {
		t.Errorf("gaps %+v", tl.Gaps)
	}
	for query, n := range map[string]int{
		"level=detections": 1, "level=detections&q=ip:203.0.113.1": 0, "q=ip:192.0.2.1": 1, "q=cmd:curl": 1, "q=file:x.sh": 1, "q=ext:sh": 1,
		"q=hash:" + strings.Repeat("A", 40): 1, "q=bash": 2, "user=alice": 3, "types=logon": 1, "types=alert": 1, "level=behaviors&types=process": 2, "q=%25": 0,
	} {
		if got, _ := titles(query); len(got) != n {
			t.Errorf("%s: %d events %q, want %d", query, len(got), got, n)
		}
	}
	_, first := titles("limit=2")
	_, second := titles("limit=2&cursor=" + first.Next)
	if first.Next == "" || len(second.Items) != 2 || second.Items[0].ReportID != 4 {
		t.Errorf("second page %+v", second.Items)
	}
	b.want(400, http.MethodGet, at+"/timeline?cursor=zzz", nil, nil)
	b.want(400, http.MethodGet, at+"/timeline?types=nonsense", nil, nil)
	if csv := text(b.want(200, http.MethodGet, at+"/timeline.csv?types=process", nil, nil)); strings.Count(csv, "\n") != 3 || !strings.Contains(csv, "bash started curl") {
		t.Errorf("export %q", csv)
	}
	b.want(400, http.MethodGet, at+"/timeline.csv?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z", nil, nil)
	var tree ProcessTree
	b.want(200, http.MethodGet, at+"/processes/g-curl/tree", nil, &tree)
	var names []string
	for _, n := range tree.Nodes {
		names = append(names, n.FileName)
	}
	if d := cmp.Diff([]string{"sshd", "bash", "curl"}, names); d != "" {
		t.Error(d)
	}
	if n := tree.Nodes[2]; len(n.AlertIDs) != 1 || len(n.Events) != 2 || n.Events[0].Kind != "network" || n.ParentGUID != "g-bash" {
		t.Errorf("node %+v", n)
	}
	b.want(200, http.MethodGet, portal+"/alerts/"+strings.Repeat("a", 32)+"/tree", nil, &tree)
	b.want(404, http.MethodGet, at+"/processes/unknown/tree", nil, nil)
}

func TestAlerts(t *testing.T) {
	w := newWorld(t)
	w.attack()
	b := w.admin()
	id := strings.Repeat("a", 32)
	var page Page[Alert]
	b.want(200, http.MethodGet, portal+"/alerts?status=New&severity=High&period=1d", nil, &page)
	if page.Total != 1 || page.Items[0].ID != id {
		t.Fatalf("queue %+v", page)
	}
	var a Alert
	b.want(200, http.MethodPatch, portal+"/alerts/"+id, map[string]any{"status": "InProgress", "classification": "TruePositive", "assignedTo": "admin", "comment": "mine"}, &a)
	if a.Status != "InProgress" || a.AssignedTo != "admin" || len(a.Evidence) != 1 || len(a.Comments) < 2 {
		t.Errorf("after the change %+v", a)
	}
	b.want(409, http.MethodPatch, portal+"/alerts/"+id, map[string]any{"status": "Resolved", "revision": 1}, nil)
	b.want(422, http.MethodPatch, portal+"/alerts/"+id, map[string]any{"status": "Sleeping"}, nil)
	b.want(204, http.MethodPost, portal+"/alerts/batch", map[string]any{"ids": []string{id}, "status": "Resolved"}, nil)
	b.want(404, http.MethodPost, portal+"/alerts/batch", map[string]any{"ids": []string{id, "nope"}, "status": "New"}, nil)
	b.want(200, http.MethodGet, portal+"/alerts?assigned=me&status=Resolved", nil, &page)
	if page.Total != 1 {
		t.Errorf("mine and resolved: %d", page.Total)
	}
	b.want(200, http.MethodGet, portal+"/devices/"+w.device+"/alerts", nil, &page)
	if page.Total != 1 {
		t.Errorf("of the device: %d", page.Total)
	}
	var log AuditPage
	b.want(200, http.MethodGet, portal+"/audit?action=alert.update", nil, &log)
	if len(log.Items) != 4 || log.Items[0].Outcome != picket.AuditFailure || log.Items[0].Time.IsZero() {
		t.Errorf("%d audit entries: %+v", len(log.Items), log.Items)
	}
}

func TestRolesAreKept(t *testing.T) {
	w := newWorld(t)
	w.attack()
	admin, err := w.auth.SignIn(context.Background(), "admin", w.password, auth.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	p := auth.Principal{UserID: admin.User.ID, User: "admin", Tenant: "default", Role: picket.RoleAdmin, Method: auth.ByCookie, SessionID: admin.Session.ID}
	if _, err := w.auth.CreateUser(context.Background(), p, "eve", "a long pass phrase 7", picket.RoleViewer); err != nil {
		t.Fatal(err)
	}
	b := w.signIn("eve", "a long pass phrase 7")
	b.want(200, http.MethodGet, portal+"/alerts", nil, nil)
	b.want(403, http.MethodPatch, portal+"/alerts/"+strings.Repeat("a", 32), map[string]any{"status": "Resolved"}, nil)
	b.want(403, http.MethodPost, portal+"/devices/"+w.device+"/revoke", map[string]string{"reason": ""}, nil)
	b.want(403, http.MethodGet, portal+"/audit", nil, nil)
	b.want(403, http.MethodGet, portal+"/enrolment-tokens", nil, nil)
	b.want(403, http.MethodPut, portal+"/setup", map[string]any{"organisation": "X"}, nil)
}

func TestSetupAndEnrolment(t *testing.T) {
	w := newWorld(t)
	b := w.admin()
	var s SetupState
	b.want(200, http.MethodGet, portal+"/setup", nil, &s)
	if s.Done || s.RetentionDays != 180 || s.Steps.Sensor.Complete || s.DetectionTest.Command != "true" {
		t.Errorf("setup %+v", s)
	}
	b.want(422, http.MethodPut, portal+"/setup", map[string]any{"retentionDays": 10}, nil)
	b.want(200, http.MethodPut, portal+"/setup", map[string]any{"organisation": "Example", "retentionDays": 60, "done": true}, &s)
	if !s.Done || s.Organisation != "Example" || s.RetentionDays != 60 {
		t.Errorf("after the change %+v", s)
	}
	var n NewEnrolmentToken
	b.want(200, http.MethodPost, portal+"/enrolment-tokens", map[string]any{"group": "servers", "uses": 3}, &n)
	if n.Token != "pkt1.default" || !strings.Contains(n.InstallCommand, "install --server 127.0.0.1:8444 --token pkt1.default") {
		t.Errorf("token %+v", n)
	}
	var listed []EnrolmentToken
	b.want(200, http.MethodGet, portal+"/enrolment-tokens", nil, &listed)
	if len(listed) != 1 || listed[0].Uses != 3 || listed[0].Group != "servers" {
		t.Errorf("listed %+v", listed)
	}
	b.want(204, http.MethodDelete, portal+"/enrolment-tokens/"+n.ID, nil, nil)
	if got := text(w.anonymous().want(200, http.MethodGet, portal+"/downloads/sensor?arch=amd64", nil, nil)); got != "the sensor" {
		t.Errorf("downloaded %q", got)
	}
	w.anonymous().want(404, http.MethodGet, portal+"/downloads/sensor?arch=arm64", nil, nil)
	w.anonymous().want(422, http.MethodGet, portal+"/downloads/sensor?arch=../state.db", nil, nil)
}

func TestServiceEndpointsAndPortal(t *testing.T) {
	w := newWorld(t)
	a := w.anonymous()
	a.want(200, http.MethodGet, "/healthz", nil, nil)
	a.want(200, http.MethodGet, "/readyz", nil, nil)
	a.want(200, http.MethodGet, "/metrics", nil, nil)
	for _, path := range []string{"/", "/alerts/123", "/index.html"} {
		r := a.want(200, http.MethodGet, path, nil, nil)
		csp := r.Header.Get("Content-Security-Policy")
		page := text(r)
		_, rest, _ := strings.Cut(page, `content="`)
		nonce, _, _ := strings.Cut(rest, `"`)
		if len(nonce) < 20 || strings.Contains(page, nonceMark) || !strings.Contains(csp, "'nonce-"+nonce+"'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: page %q with policy %q", path, page, csp)
		}
	}
	if r := a.want(200, http.MethodGet, "/assets/a.js", nil, nil); !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
		t.Error("assets are to be cached")
	}
	b := w.admin()
	var n SensorCounts
	b.want(200, http.MethodGet, portal+"/health/sensors", nil, &n)
	if n.Active != 1 {
		t.Errorf("sensors %+v", n)
	}
	b.want(200, http.MethodGet, portal+"/health/service", nil, nil)
	b.want(200, http.MethodGet, portal+"/rules", nil, nil)
}

func TestChangesReachTheBrowserOfTheTenant(t *testing.T) {
	w := newWorld(t)
	b := w.admin()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+portal+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", b.cookie)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	if !sc.Scan() || sc.Text() != ": hello" {
		t.Fatalf("first line %q", sc.Text())
	}
	w.hub.Send("other", Change{Event: "alert", ID: "not ours"})
	w.hub.Send("default", Change{Event: "alert", ID: "ours"})
	for sc.Scan() {
		data, ok := strings.CutPrefix(sc.Text(), "data: ")
		if !ok {
			continue
		}
		var c Change
		if err := json.Unmarshal([]byte(data), &c); err != nil || c.ID != "ours" {
			t.Errorf("got %q, %v", data, err)
		}
		return
	}
	t.Error("the stream ended")
}

func TestSlowBrowsersLoseChangesAndAreTold(t *testing.T) {
	t.Parallel()
	h := NewHub()
	sub, err := h.subscribe("default", "")
	if err != nil {
		t.Fatal(err)
	}
	for range subscriberRoom + 5 {
		h.Send("default", Change{Event: "device"})
	}
	if !h.tookLoss(sub) || h.tookLoss(sub) {
		t.Error("the loss must be told once")
	}
	h.unsubscribe(sub)
	h.Send("default", Change{})
}

func TestFormulasAreDefused(t *testing.T) {
	t.Parallel()
	if d := cmp.Diff([]string{"'=1+1", "a=b", "", "'@x", "'-2"}, safe([]string{"=1+1", "a=b", "", "@x", "-2"})); d != "" {
		t.Error(d)
	}
}
