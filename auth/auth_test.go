// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// cheap makes hashing fast; the tests are not about its strength.
var cheap = auth.Cost{Memory: 64, Passes: 1, Threads: 1}

const password = "correct horse battery"

// house is a Service over real records with three accounts.
type house struct {
	*auth.Service
	*clock
	t    *testing.T
	db   *state.DB
	opts auth.Options
}

func newHouse(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	h := &house{t: t, clock: &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}}
	var err error
	h.db, err = state.Open(t.Context(), state.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "state.db")})
	h.ok(err)
	t.Cleanup(func() { h.db.Close() })
	for _, id := range []string{picket.DefaultTenant, "other"} {
		h.ok(h.db.CreateTenant(t.Context(), picket.Tenant{ID: id, Name: id, Retention: picket.MinRetention, Created: h.now}))
	}
	h.opts = auth.Options{
		Users: h.db, Sessions: h.db, Tokens: h.db, Attempts: h.db, Audit: h.db, Tenant: picket.DefaultTenant, Now: h.Now, Cost: cheap,
	}
	h.Service, err = auth.New(h.opts)
	h.ok(err)
	for name, u := range map[string]picket.User{
		"ann": {Tenant: picket.DefaultTenant, Role: picket.RoleAdmin}, "vic": {Tenant: picket.DefaultTenant, Role: picket.RoleViewer},
		"eve": {Tenant: "other", Role: picket.RoleAdmin},
	} {
		u.Name, u.PasswordHash = name, auth.HashPassword(password, cheap)
		_, err := h.db.CreateUser(t.Context(), u.Tenant, u)
		h.ok(err)
	}
	return h
}

func (h *house) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// denied fails the test unless err is of kind Denied.
func (h *house) denied(what string, err error) {
	h.t.Helper()
	if !errors.Is(err, picket.Denied) {
		h.t.Errorf("%s: error %v, want %v", what, err, picket.Denied)
	}
}

var home = auth.Origin{Address: "192.0.2.1:4444", UserAgent: "test"}

func (h *house) signIn(name string) auth.SignedIn {
	h.t.Helper()
	in, err := h.SignIn(h.t.Context(), name, password, home)
	h.ok(err)
	return in
}

// request makes one with a session's cookie.
func request(method, cookie, csrf string) *http.Request {
	r := httptest.NewRequest(method, "/api/portal/alerts", nil)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: auth.CookieName, Value: cookie})
	}
	if csrf != "" {
		r.Header.Set(auth.CSRFHeader, csrf)
	}
	return r
}

// principal signs in and returns who it is.
func (h *house) principal(name string) auth.Principal {
	h.t.Helper()
	p, err := h.AuthenticateSession(h.t.Context(), h.signIn(name).Cookie, home)
	h.ok(err)
	return p
}

// log returns the audit log of a tenant as "action actor outcome", oldest
// first, and checks its chain and that no secret is in it.
func (h *house) log(tenant string, secrets ...string) []string {
	h.t.Helper()
	var b bytes.Buffer
	h.ok(h.db.ExportAudit(h.t.Context(), tenant, &b))
	for _, s := range append(secrets, password, "$argon2id", auth.TokenPrefix) {
		if strings.Contains(b.String(), s) {
			h.t.Errorf("the audit log holds a secret: %q", s)
		}
	}
	_, err := picket.VerifyAudit(&b)
	h.ok(err)
	page, err := h.db.Audit(h.t.Context(), tenant, state.AuditQuery{Limit: state.MaxLimit})
	h.ok(err)
	var out []string
	for _, e := range page.Items {
		out = append([]string{e.Action + " " + e.Actor + " " + e.Outcome}, out...)
	}
	return out
}

func TestNewRefuses(t *testing.T) {
	h := newHouse(t)
	for name, change := range map[string]func(*auth.Options){
		"no records": func(o *auth.Options) { o.Audit = nil }, "no clock": func(o *auth.Options) { o.Now = nil },
		"tenant": func(o *auth.Options) { o.Tenant = "A" }, "cost": func(o *auth.Options) { o.Cost = auth.Cost{Memory: 8, Passes: 100, Threads: 1} },
	} {
		o := h.opts
		change(&o)
		if _, err := auth.New(o); !errors.Is(err, picket.Invalid) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestSignIn(t *testing.T) {
	h := newHouse(t)
	in, err := h.SignIn(t.Context(), " ANN ", password, home)
	h.ok(err)
	if in.User.Name != "ann" || in.User.Tenant != picket.DefaultTenant || len(in.Cookie) != 43 || len(in.CSRF) != 43 || in.Cookie == in.CSRF {
		t.Errorf("signed in: %+v", in)
	}
	if strings.Contains(in.Session.TokenHash, in.Cookie) || in.Session.Address != "192.0.2.1" {
		t.Errorf("session %+v", in.Session)
	}
	u, err := h.db.UserByName(t.Context(), "ann")
	h.ok(err)
	if !u.LastSignIn.Equal(h.now) {
		t.Errorf("last sign-in %s", u.LastSignIn)
	}
	h.ok(h.db.SetUserAccess(t.Context(), picket.DefaultTenant, h.principal("vic").UserID, picket.RoleViewer, true))
	var texts []string
	for _, c := range []struct{ name, password string }{
		{"ann", "wrong"}, {"nobody", password}, {"vic", password}, {"ann", ""}, {"", ""}, {"Passw0rd!", password}, {"ann", strings.Repeat("x", 1<<20)},
	} {
		_, err := h.SignIn(t.Context(), c.name, c.password, auth.Origin{Address: "192.0.2.9"})
		h.denied(c.name, err)
		texts = append(texts, err.Error())
	}
	for _, text := range texts {
		if text != texts[0] {
			t.Errorf("failures differ: %q and %q", texts[0], text)
		}
	}
	want := []string{
		"session.create ann success", "session.create vic success", "session.create ann failure", "session.create nobody failure",
		"session.create vic failure", "session.create ann failure", "session.create (not a user name) failure",
		"session.create (not a user name) failure", "session.create ann failure",
	}
	if got := h.log(picket.DefaultTenant, in.Cookie, in.CSRF, "Passw0rd!"); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("audit log %q", got)
	}
	_, err = h.SignIn(t.Context(), "eve", "wrong", home)
	h.denied("eve", err)
	if got := h.log("other"); len(got) != 1 {
		t.Errorf("audit log of the other tenant %q", got)
	}
}

func TestAuthenticate(t *testing.T) {
	h := newHouse(t)
	in := h.signIn("ann")
	tok, err := h.IssueToken(t.Context(), "eve", password, "cli", 0, home)
	h.ok(err)
	bearer := func(values ...string) *http.Request {
		r := request("POST", in.Cookie, in.CSRF) // the cookie does not help a bad token
		for _, v := range values {
			r.Header.Add("Authorization", v)
		}
		return r
	}
	two := request("GET", in.Cookie, "")
	for name, c := range map[string]struct {
		r    *http.Request
		user string
		who  bool // refused for not knowing who it is
	}{
		"read by cookie":          {request("GET", in.Cookie, ""), "ann", false},
		"head by cookie":          {request("HEAD", in.Cookie, ""), "ann", false},
		"change by cookie":        {request("POST", in.Cookie, in.CSRF), "ann", false},
		"change without CSRF":     {request("DELETE", in.Cookie, ""), "", false},
		"change with wrong CSRF":  {request("PATCH", in.Cookie, in.Cookie), "", false},
		"odd method without CSRF": {request("PROPFIND", in.Cookie, ""), "", false},
		"nothing":                 {request("GET", "", ""), "", true},
		"short cookie":            {request("GET", in.Cookie[1:], ""), "", true},
		"cookie of nobody":        {request("GET", strings.Repeat("A", 43), ""), "", true},
		"cookie not canonical":    {request("GET", in.Cookie[:42]+"B", ""), "", true},
		"CSRF value as cookie":    {request("GET", in.CSRF, ""), "", true},
		"token":                   {bearer("Bearer " + tok.Text), "eve", false},
		"token, lower case":       {bearer("bearer  " + tok.Text), "eve", false},
		"token without prefix":    {bearer("Bearer " + strings.TrimPrefix(tok.Text, auth.TokenPrefix)), "", true},
		"token of nobody":         {bearer("Bearer " + auth.TokenPrefix + strings.Repeat("A", 43)), "", true},
		"cookie as token":         {bearer("Bearer " + auth.TokenPrefix + in.Cookie), "", true},
		"basic":                   {bearer("Basic YW5uOng="), "", true},
		"two headers":             {bearer("Bearer "+tok.Text, "Bearer "+tok.Text), "", true},
		"empty header":            {bearer(""), "", true},
	} {
		p, err := h.Authenticate(t.Context(), c.r)
		if c.user != "" {
			if err != nil || p.User != c.user {
				t.Errorf("%s: %q, %v", name, p.User, err)
			}
			continue
		}
		h.denied(name, err)
		if errors.Is(err, auth.ErrUnauthenticated) != c.who || p != (auth.Principal{}) {
			t.Errorf("%s: error %v, principal %+v", name, err, p)
		}
	}
	p, err := h.Authenticate(t.Context(), two)
	h.ok(err)
	want := auth.Principal{
		UserID: in.User.ID, User: "ann", Tenant: picket.DefaultTenant, Role: picket.RoleAdmin, Method: auth.ByCookie,
		SessionID: in.Session.ID, CSRF: in.CSRF, Address: "192.0.2.1",
	}
	if p != want {
		t.Errorf("principal %+v, want %+v", p, want)
	}
	h.log(picket.DefaultTenant, in.Cookie, in.CSRF)
	h.log("other", tok.Text)
}

func TestSessionEnds(t *testing.T) {
	h := newHouse(t)
	alive := func(cookie string) bool {
		_, err := h.AuthenticateSession(t.Context(), cookie, home)
		if err != nil && !errors.Is(err, auth.ErrUnauthenticated) {
			t.Fatal(err)
		}
		return err == nil
	}
	idle := h.signIn("ann").Cookie
	h.pass(auth.DefaultSessionIdle - time.Second)
	if !alive(idle) { // this use counts
		t.Error("session ended before it was idle for long")
	}
	h.pass(auth.DefaultSessionIdle - time.Second)
	if !alive(idle) {
		t.Error("the use of a session was not recorded")
	}
	h.pass(auth.DefaultSessionIdle)
	if alive(idle) {
		t.Error("idle session lives")
	}
	used := h.signIn("ann").Cookie
	for hour := 1; hour < 24; hour++ {
		h.pass(time.Hour)
		if !alive(used) {
			t.Fatalf("used session ended after %d h", hour)
		}
	}
	h.pass(time.Hour)
	if alive(used) {
		t.Error("a session lives longer than 24 h")
	}

	in := h.signIn("vic")
	h.ok(h.SetUserAccess(t.Context(), h.principal("ann"), in.User.ID, picket.RoleViewer, true))
	if alive(in.Cookie) {
		t.Error("session of a disabled account lives")
	}
	h.ok(h.Prune(t.Context()))
}

func TestTokens(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	tok, err := h.IssueToken(ctx, "vic", password, "cli", time.Hour, home)
	h.ok(err)
	if !strings.HasPrefix(tok.Text, auth.TokenPrefix) || !tok.Token.Expires.Equal(h.now.Add(time.Hour)) {
		t.Errorf("token %+v", tok)
	}
	long, err := h.IssueToken(ctx, "vic", password, "cli", 0, home)
	h.ok(err)
	if !long.Token.Expires.Equal(h.now.Add(auth.DefaultTokenLife)) {
		t.Errorf("expires %s", long.Token.Expires)
	}
	for _, life := range []time.Duration{-1, auth.MaxTokenLife + 1} {
		if _, err := h.IssueToken(ctx, "vic", password, "cli", life, home); !errors.Is(err, picket.Invalid) {
			t.Errorf("life %s: error %v", life, err)
		}
	}
	_, err = h.IssueToken(ctx, "vic", "wrong", "cli", 0, home)
	h.denied("wrong password", err)

	p, err := h.AuthenticateToken(ctx, tok.Text, home)
	h.ok(err)
	if p.Method != auth.ByToken || p.TokenID != tok.Token.ID || !h.CheckCSRF(p, "") {
		t.Errorf("principal %+v", p)
	}
	h.pass(time.Hour)
	_, err = h.AuthenticateToken(ctx, tok.Text, home)
	h.denied("expired", err)

	mine, err := h.Tokens(ctx, p)
	h.ok(err)
	all, err := h.Tokens(ctx, h.principal("ann"))
	h.ok(err)
	theirs, err := h.Tokens(ctx, h.principal("eve"))
	h.ok(err)
	if len(mine) != 2 || len(all) != 2 || len(theirs) != 0 {
		t.Errorf("tokens: %d own, %d seen by the administrator, %d by another tenant's", len(mine), len(all), len(theirs))
	}
	if err := h.RevokeToken(ctx, h.principal("eve"), long.Token.ID); !errors.Is(err, picket.NotFound) {
		t.Errorf("revoked by another tenant: %v", err)
	}
	h.ok(h.RevokeToken(ctx, h.principal("ann"), long.Token.ID))
	_, err = h.AuthenticateToken(ctx, long.Text, home)
	h.denied("revoked", err)

	own, err := h.IssueToken(ctx, "vic", password, "cli", 0, home)
	h.ok(err)
	p, err = h.AuthenticateToken(ctx, own.Text, home)
	h.ok(err)
	h.ok(h.SignOut(ctx, p))
	_, err = h.AuthenticateToken(ctx, own.Text, home)
	h.denied("signed out", err)
	h.log(picket.DefaultTenant, tok.Text, long.Text, own.Text)
}

func TestSignOut(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	in := h.signIn("ann")
	p, err := h.AuthenticateSession(ctx, in.Cookie, home)
	h.ok(err)
	h.ok(h.SignOut(ctx, p))
	h.ok(h.SignOut(ctx, p))
	_, err = h.AuthenticateSession(ctx, in.Cookie, home)
	h.denied("signed out", err)

	p = h.principal("ann")
	other := h.signIn("ann")
	if err := h.EndSession(ctx, h.principal("vic"), other.Session.ID); !errors.Is(err, picket.NotFound) {
		t.Errorf("ended by another account: %v", err)
	}
	h.ok(h.EndSession(ctx, p, other.Session.ID))
	own, err := h.Sessions(ctx, p)
	h.ok(err)
	if len(own) != 1 || own[0].ID != p.SessionID {
		t.Errorf("sessions %+v", own)
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	c := auth.SessionCookie("v", time.Now().Add(time.Hour), true)
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Name != auth.CookieName {
		t.Errorf("cookie %+v", c)
	}
	if s := auth.ClearedCookie(false).String(); !strings.Contains(s, "Max-Age=0") || strings.Contains(s, "Secure") {
		t.Errorf("cleared cookie %s", s)
	}
}

func TestUnavailable(t *testing.T) {
	h := newHouse(t)
	in := h.signIn("ann")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.AuthenticateSession(ctx, in.Cookie, home)
	if errors.Is(err, auth.ErrUnauthenticated) || !errors.Is(err, picket.Canceled) {
		t.Errorf("records that do not answer look like a bad cookie: %v", err)
	}
	_, err = h.SignIn(ctx, "ann", password, home)
	if !errors.Is(err, picket.Canceled) {
		t.Errorf("sign-in: %v", err)
	}
}

// deaf is an audit log that does not work.
type deaf struct{}

func (deaf) AppendAudit(context.Context, string, picket.AuditEntry) (picket.AuditEntry, error) {
	return picket.AuditEntry{}, picket.Unavailable
}

func TestNoSignInWithoutTrace(t *testing.T) {
	h := newHouse(t)
	h.opts.Audit = deaf{}
	s, err := auth.New(h.opts)
	h.ok(err)
	if _, err := s.SignIn(t.Context(), "ann", password, home); !errors.Is(err, picket.Unavailable) {
		t.Errorf("sign-in: %v", err)
	}
	if _, err := s.IssueToken(t.Context(), "ann", password, "", 0, home); !errors.Is(err, picket.Unavailable) {
		t.Errorf("token: %v", err)
	}
	u, err := h.db.UserByName(t.Context(), "ann")
	h.ok(err)
	sessions, err := h.db.Sessions(t.Context(), u.Tenant, u.ID)
	h.ok(err)
	tokens, err := h.db.APITokens(t.Context(), u.Tenant, u.ID)
	h.ok(err)
	if len(sessions) != 0 || len(tokens) != 1 || !tokens[0].Revoked {
		t.Errorf("left: %d sessions, tokens %+v", len(sessions), tokens)
	}
}
