// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/store"
)

// Options are everything that the API needs from outside.
type Options struct {
	Auth     Auth
	Devices  Devices
	Alerts   Alerts
	Marks    Marks
	Setup    Setup
	Tokens   EnrolmentTokens
	Policies SensorPolicies
	Audit    Audit
	Events   func(tenant string) (store.Events, error)
	Hub      *Hub
	Rules    []Rule // built-in rules, as listed
	Roles    func(ctx context.Context) []RoleState

	TokenText     func(tenant string, secret [32]byte) string // text of an enrolment token
	RevokeDevice  func(tenant, device string)                 // closes its live stream
	CheckPolicy   func(policy []byte) error                   // as sensors check one
	PolicyChanged func(tenant string)                         // sends it to connected sensors
	Gateway       string                                      // host:port that sensors dial
	PortalURL     string
	DetectionTest string // command of the detection test
	SensorDir     string // holds picket-sensor-linux-amd64 and the like
	Portal        fs.FS  // built portal; nil: none
	Secure        bool   // the portal is reached over TLS
	Metrics       prometheus.Gatherer
	Log           *slog.Logger
	Now           func() time.Time
}

// Auth signs people and programs in; *auth.Service satisfies it.
type Auth interface {
	Authenticate(ctx context.Context, r *http.Request) (auth.Principal, error)
	SignIn(ctx context.Context, name, password string, from auth.Origin) (auth.SignedIn, error)
	SignOut(ctx context.Context, p auth.Principal) error
	IssueToken(ctx context.Context, name, password, purpose string, life time.Duration, from auth.Origin) (auth.NewToken, error)
	ChangePassword(ctx context.Context, p auth.Principal, old, password string) error
}

// Audit keeps and reads the audit log; *state.DB satisfies it.
type Audit interface {
	AppendAudit(ctx context.Context, tenant string, e picket.AuditEntry) (picket.AuditEntry, error)
	Audit(ctx context.Context, tenant string, q state.AuditQuery) (state.AuditPage, error)
}

// server holds the options for the handlers.
type server struct {
	Options
	assets *assets
}

// base is the path of the portal's API.
const base = "/api/portal"

// New returns the handler of the whole HTTP interface.
func New(o Options) (http.Handler, error) {
	s := &server{Options: o}
	mux := http.NewServeMux()
	s.routes(newAPI(mux))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))
	if o.Portal != nil {
		a, err := newAssets(o.Portal)
		if err != nil {
			return nil, err
		}
		s.assets = a
		mux.Handle("GET /", a)
	}
	return s.outer(mux), nil
}

func newAPI(mux *http.ServeMux) huma.API {
	c := huma.DefaultConfig("Picket", picket.Version)
	c.Info.Version = "1" // of the interface, not of the release, so that the description changes only when the interface does
	c.DocsPath = ""
	c.OpenAPIPath = base + "/openapi"
	c.SchemasPath = ""
	c.CreateHooks = nil // no $schema links in answers
	c.Transformers = append(c.Transformers, identify)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session": {Type: "apiKey", In: "cookie", Name: auth.CookieName},
		"token":   {Type: "http", Scheme: "bearer"},
	}
	return humago.New(mux, c)
}

// routes registers every resource.
func (s *server) routes(api huma.API) {
	api.UseMiddleware(s.authorize(api))
	s.sessionRoutes(api)
	s.deviceRoutes(api)
	s.timelineRoutes(api)
	s.alertRoutes(api)
	s.treeRoutes(api)
	s.setupRoutes(api)
	s.policyRoutes(api)
	s.enrolmentRoutes(api)
	s.healthRoutes(api)
	s.auditRoutes(api)
	s.ruleRoutes(api)
	s.eventRoutes(api)
}

// permissionKey marks the permission of a route in its metadata. open is for
// the routes that anybody may call.
const (
	permissionKey                 = "permission"
	open          auth.Permission = "open"
	signedIn      auth.Permission = "signed-in"
)

// op describes a route. Every route names its permission here.
func op(method, path, id, summary string, perm auth.Permission) huma.Operation {
	o := huma.Operation{Method: method, Path: base + path, OperationID: id, Summary: summary, MaxBodyBytes: 256 << 10, Metadata: map[string]any{permissionKey: perm}}
	if perm != open {
		o.Security = []map[string][]string{{"session": {}}, {"token": {}}}
	}
	return o
}

type contextKey int

const (
	principalKey contextKey = iota
	requestIDKey
)

// who is the caller of a request that passed authorize.
func who(ctx context.Context) auth.Principal {
	p, _ := ctx.Value(principalKey).(auth.Principal)
	return p
}

// authorize lets a request through when its caller has the permission of its
// route.
func (s *server) authorize(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		perm, _ := ctx.Operation().Metadata[permissionKey].(auth.Permission)
		if perm == open {
			next(ctx)
			return
		}
		r, _ := humago.Unwrap(ctx)
		p, err := s.Auth.Authenticate(r.Context(), r)
		if err == nil && perm != signedIn && !auth.Allow(p, perm) {
			err = errDenied
			s.audit(huma.WithValue(ctx, principalKey, p).Context(), "access.deny", ctx.Operation().OperationID, picket.AuditDenied, nil)
		}
		if err != nil {
			pr := s.problem(r.Context(), err)
			_ = huma.WriteErr(api, ctx, pr.Status, pr.Detail)
			return
		}
		next(huma.WithValue(ctx, principalKey, p))
	}
}

// outer is what every answer of the server gets: headers, a request id, a log
// line, and a stop to panics.
func (s *server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := rand.Text()[:16]
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if s.Secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		rec := &recorder{ResponseWriter: w}
		began := s.Now()
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // a panic value
				s.Log.Error("panic in a handler", "request", id, "path", r.URL.Path, "panic", v)
				if rec.status == 0 {
					http.Error(w, "internal error", http.StatusInternalServerError)
				}
			}
			s.Log.Debug("request", "request", id, "method", r.Method, "path", r.URL.Path, "status", rec.status, "took", s.Now().Sub(began))
		}()
		next.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), requestIDKey, id)))
	})
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Flush implements http.Flusher.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// audit writes an entry in the caller's name. A change that cannot be audited
// is logged; the change itself has happened.
func (s *server) audit(ctx context.Context, action, target, outcome string, detail map[string]string) {
	p := who(ctx)
	if p.Tenant == "" {
		return
	}
	e := picket.AuditEntry{Time: s.Now(), Actor: p.User, Action: action, Target: target, Outcome: outcome, Address: p.Address, Detail: detail}
	if _, err := s.Audit.AppendAudit(ctx, p.Tenant, e); err != nil {
		s.Log.Error("audit entry is not written", "action", action, "target", target, "error", err)
	}
}

// changed is audit for a change: its outcome follows from err.
func (s *server) changed(ctx context.Context, action, target string, err error, detail map[string]string) {
	outcome := picket.AuditSuccess
	if err != nil {
		outcome = picket.AuditFailure
		if errors.Is(err, picket.Denied) {
			outcome = picket.AuditDenied
		}
	}
	s.audit(ctx, action, target, outcome, detail)
}
