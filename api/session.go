// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
)

// Session is what the portal knows of its user.
type Session struct {
	User      string   `json:"user"`
	Role      string   `json:"role" enum:"admin,analyst,viewer"`
	Tenant    string   `json:"tenant"`
	CSRFToken string   `json:"csrfToken" doc:"To send back as X-CSRF-Token with everything that changes something."`
	SetupDone bool     `json:"setupDone"`
	Can       []string `json:"can" doc:"Permissions of the user."`
}

// Credentials name a user.
type Credentials struct {
	User     string `json:"user" minLength:"1" maxLength:"64"`
	Password string `json:"password" minLength:"1" maxLength:"1024"`
}

// BearerToken is a new token for a program.
type BearerToken struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

type signInInput struct {
	Caller
	Body Credentials
}

// Caller is where a request comes from; its Resolve runs before the handler.
type Caller struct{ from auth.Origin }

// Resolve implements huma.Resolver.
func (o *Caller) Resolve(ctx huma.Context) []error {
	r := &http.Request{RemoteAddr: ctx.RemoteAddr(), Header: http.Header{"User-Agent": {ctx.Header("User-Agent")}}}
	o.from = auth.OriginOf(r)
	return nil
}

type sessionOutput struct {
	SetCookie string `header:"Set-Cookie"`
	Body      Session
}

func (s *server) sessionRoutes(api huma.API) {
	huma.Register(api, op(http.MethodPost, "/session", "sign-in", "Sign in", open), s.signIn)
	huma.Register(api, op(http.MethodGet, "/session", "get-session", "Who is signed in", signedIn), s.session)
	huma.Register(api, op(http.MethodDelete, "/session", "sign-out", "Sign out", signedIn), s.signOut)
	huma.Register(api, op(http.MethodPut, "/session/password", "change-password", "Change the own password", signedIn), s.changePassword)
	huma.Register(api, op(http.MethodPost, "/tokens", "create-token", "Get a bearer token for a program", open), s.token)
}

func (s *server) describe(ctx context.Context, user string, role picket.Role, tenant, csrf string) (Session, error) {
	t, err := s.Setup.Tenant(ctx, tenant)
	if err != nil {
		return Session{}, err
	}
	out := Session{User: user, Role: string(role), Tenant: tenant, CSRFToken: csrf, SetupDone: t.SetupDone, Can: []string{}}
	for _, p := range auth.PermissionsOf(role) {
		out.Can = append(out.Can, string(p))
	}
	return out, nil
}

// credentials turns a refused sign-in into 401: whoever failed is not known.
func (s *server) credentials(ctx context.Context, err error) error {
	p := s.problem(ctx, err)
	if p.Status == http.StatusForbidden {
		p.Status, p.Title, p.Detail = http.StatusUnauthorized, http.StatusText(http.StatusUnauthorized), "user or password is wrong"
	}
	return p
}

func (s *server) signIn(ctx context.Context, in *signInInput) (*sessionOutput, error) {
	got, err := s.Auth.SignIn(ctx, in.Body.User, in.Body.Password, in.from)
	if err != nil {
		return nil, s.credentials(ctx, err)
	}
	body, err := s.describe(ctx, got.User.Name, got.User.Role, got.User.Tenant, got.CSRF)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &sessionOutput{SetCookie: auth.SessionCookie(got.Cookie, got.Session.Expires, s.Secure).String(), Body: body}, nil
}

func (s *server) session(ctx context.Context, _ *struct{}) (*struct{ Body Session }, error) {
	p := who(ctx)
	body, err := s.describe(ctx, p.User, p.Role, p.Tenant, p.CSRF)
	return &struct{ Body Session }{body}, s.fail(ctx, err)
}

type signOutOutput struct {
	SetCookie string `header:"Set-Cookie"`
}

func (s *server) signOut(ctx context.Context, _ *struct{}) (*signOutOutput, error) {
	if err := s.Auth.SignOut(ctx, who(ctx)); err != nil {
		return nil, s.fail(ctx, err)
	}
	s.Hub.endSession(who(ctx).SessionID)
	return &signOutOutput{auth.ClearedCookie(s.Secure).String()}, nil
}

type passwordInput struct {
	Body struct {
		Old string `json:"old" maxLength:"1024"`
		New string `json:"new" maxLength:"1024"`
	}
}

func (s *server) changePassword(ctx context.Context, in *passwordInput) (*struct{}, error) {
	return nil, s.fail(ctx, s.Auth.ChangePassword(ctx, who(ctx), in.Body.Old, in.Body.New))
}

func (s *server) token(ctx context.Context, in *signInInput) (*struct{ Body BearerToken }, error) {
	got, err := s.Auth.IssueToken(ctx, in.Body.User, in.Body.Password, "rest", 0, in.from)
	if err != nil {
		return nil, s.credentials(ctx, err)
	}
	return &struct{ Body BearerToken }{BearerToken{got.Text, got.Token.Expires}}, nil
}
