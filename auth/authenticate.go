// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

// Names in requests.
const (
	CookieName = "picket_session"
	CSRFHeader = "X-CSRF-Token"
)

// ErrUnauthenticated means that a request does not show who it comes from, or
// no longer validly. It is of kind Denied; other errors of that kind mean that
// the caller is known and may not.
var ErrUnauthenticated = fmt.Errorf("sign in first: %w", picket.Denied)

// touchEvery is how often the use of a session or token is recorded.
const touchEvery = time.Minute

// Authenticate says who sent a request. A bearer token counts before a cookie.
// A request by cookie that may change something (any method but GET, HEAD and
// OPTIONS) must carry the session's CSRF value in its header: Denied.
func (s *Service) Authenticate(ctx context.Context, r *http.Request) (Principal, error) {
	from := OriginOf(r)
	if h := r.Header.Values("Authorization"); len(h) > 0 {
		scheme, token, _ := strings.Cut(h[0], " ")
		if len(h) > 1 || !strings.EqualFold(scheme, "Bearer") {
			return Principal{}, ErrUnauthenticated
		}
		return s.AuthenticateToken(ctx, strings.TrimSpace(token), from)
	}
	c, err := r.Cookie(CookieName)
	if err != nil {
		return Principal{}, ErrUnauthenticated
	}
	p, err := s.AuthenticateSession(ctx, c.Value, from)
	if err != nil || r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return p, err
	}
	if !s.CheckCSRF(p, r.Header.Get(CSRFHeader)) {
		return Principal{}, fmt.Errorf("header %s does not carry the session's value: %w", CSRFHeader, picket.Denied)
	}
	return p, nil
}

// CheckCSRF reports whether a value is the one bound to the session of a
// principal. Principals by token need none: no browser adds their token by
// itself.
func (s *Service) CheckCSRF(p Principal, value string) bool {
	if p.Method == ByToken {
		return true
	}
	return p.CSRF != "" && subtle.ConstantTimeCompare([]byte(p.CSRF), []byte(value)) == 1
}

// AuthenticateSession says whose session a cookie's value opens.
func (s *Service) AuthenticateSession(ctx context.Context, cookie string, from Origin) (Principal, error) {
	hash, err := secretHash(cookie)
	if err != nil {
		return Principal{}, ErrUnauthenticated
	}
	session, u, err := s.o.Sessions.SessionByToken(ctx, hash)
	if err != nil {
		return Principal{}, unauthenticated(err)
	}
	now := s.o.Now()
	if !now.Before(session.Expires) || now.Sub(session.LastUsed) >= s.o.SessionIdle || u.Disabled {
		err := s.o.Sessions.DeleteSession(ctx, session.Tenant, session.ID)
		if err != nil && picket.Kind(err) != picket.NotFound {
			return Principal{}, err
		}
		return Principal{}, ErrUnauthenticated
	}
	if now.Sub(session.LastUsed) >= touchEvery {
		if err := s.o.Sessions.TouchSession(ctx, session.Tenant, session.ID, now); err != nil {
			return Principal{}, err
		}
	}
	return Principal{
		UserID: u.ID, User: u.Name, Tenant: u.Tenant, Role: u.Role, Method: ByCookie, SessionID: session.ID, CSRF: session.CSRF,
		Address: host(from.Address),
	}, nil
}

// AuthenticateToken says whose a bearer token is.
func (s *Service) AuthenticateToken(ctx context.Context, token string, from Origin) (Principal, error) {
	hash, err := tokenHash(token)
	if err != nil {
		return Principal{}, ErrUnauthenticated
	}
	t, u, err := s.o.Tokens.APITokenByHash(ctx, hash)
	if err != nil {
		return Principal{}, unauthenticated(err)
	}
	now := s.o.Now()
	if t.Revoked || !now.Before(t.Expires) || u.Disabled {
		return Principal{}, ErrUnauthenticated
	}
	if now.Sub(t.LastUsed) >= touchEvery {
		if err := s.o.Tokens.TouchAPIToken(ctx, t.Tenant, t.ID, now); err != nil {
			return Principal{}, err
		}
	}
	return Principal{
		UserID: u.ID, User: u.Name, Tenant: u.Tenant, Role: u.Role, Method: ByToken, TokenID: t.ID, Address: host(from.Address),
	}, nil
}

// unauthenticated tells a secret that nobody has from records that do not
// answer.
func unauthenticated(err error) error {
	if errors.Is(err, picket.NotFound) {
		return ErrUnauthenticated
	}
	return err
}

// SessionCookie is the cookie of a session. secure is true when the portal is
// served over TLS.
func SessionCookie(value string, expires time.Time, secure bool) *http.Cookie {
	return &http.Cookie{
		Name: CookieName, Value: value, Path: "/", Expires: expires, HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
	}
}

// ClearedCookie makes a browser forget its session.
func ClearedCookie(secure bool) *http.Cookie {
	c := SessionCookie("", time.Time{}, secure)
	c.MaxAge = -1
	return c
}

// Origin is where the principal calls from, for calls made in its name.
func (p Principal) Origin() Origin { return Origin{Address: p.Address} }

// SignOut ends the session or revokes the token that the principal came with.
func (s *Service) SignOut(ctx context.Context, p Principal) error {
	action, target := "session.delete", p.SessionID
	var err error
	if p.Method == ByToken {
		action, target = "token.revoke", p.TokenID
		err = s.o.Tokens.RevokeAPIToken(ctx, p.Tenant, p.TokenID)
	} else {
		err = s.o.Sessions.DeleteSession(ctx, p.Tenant, p.SessionID)
	}
	if err != nil && picket.Kind(err) != picket.NotFound {
		return err
	}
	return s.audit(ctx, p.Tenant, p.User, action, target, picket.AuditSuccess, p.Origin(), nil)
}
