// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

// Origin is where a request comes from.
type Origin struct {
	Address   string // with or without port
	UserAgent string
}

// OriginOf returns where a request comes from: the other end of its
// connection. Headers that name another address are not believed.
func OriginOf(r *http.Request) Origin {
	return Origin{Address: r.RemoteAddr, UserAgent: r.UserAgent()}
}

// SignedIn is a new session.
type SignedIn struct {
	Cookie  string // value for SessionCookie; known to nobody else
	CSRF    string
	User    picket.User
	Session picket.Session
}

// errWrong answers every sign-in that fails, whatever the reason.
var errWrong = fmt.Errorf("user name or password is wrong: %w", picket.Denied)

// SignIn checks a name and a password and opens a session. A wrong name, a
// wrong password and a disabled account give the same error after the same
// work; after too many failures the error is a *LimitError.
func (s *Service) SignIn(ctx context.Context, name, password string, from Origin) (SignedIn, error) {
	u, err := s.check(ctx, "session.create", name, password, from)
	if err != nil {
		return SignedIn{}, err
	}
	now := s.o.Now()
	u.LastSignIn = now
	if err := s.o.Users.SetLastSignIn(ctx, u.Tenant, u.ID, now); err != nil {
		return SignedIn{}, err
	}
	out := SignedIn{Cookie: newSecret(), CSRF: newSecret(), User: u}
	hash, err := secretHash(out.Cookie)
	if err != nil {
		return SignedIn{}, err
	}
	out.Session, err = s.o.Sessions.CreateSession(ctx, u.Tenant, picket.Session{
		UserID: u.ID, TokenHash: hash, CSRF: out.CSRF, Created: now, LastUsed: now, Expires: now.Add(s.o.SessionLife),
		Address: host(from.Address), UserAgent: from.UserAgent,
	})
	if err != nil {
		return SignedIn{}, err
	}
	if err := s.audit(ctx, u.Tenant, u.Name, "session.create", out.Session.ID, picket.AuditSuccess, from, nil); err != nil {
		// A sign-in that leaves no trace does not happen.
		return SignedIn{}, errors.Join(err, s.o.Sessions.DeleteSession(ctx, u.Tenant, out.Session.ID))
	}
	return out, nil
}

// NewToken is a new bearer token.
type NewToken struct {
	Text  string // to send as "Authorization: Bearer Text"; shown once
	User  picket.User
	Token picket.APIToken
}

// IssueToken checks a name and a password, with the limits of SignIn, and
// makes a bearer token for a program. A life of zero is DefaultTokenLife.
func (s *Service) IssueToken(ctx context.Context, name, password, purpose string, life time.Duration, from Origin) (NewToken, error) {
	if life == 0 {
		life = DefaultTokenLife
	}
	if life < 0 || life > MaxTokenLife {
		return NewToken{}, fmt.Errorf("bearer token for %s: at most %s: %w", life, MaxTokenLife, picket.Invalid)
	}
	u, err := s.check(ctx, "token.create", name, password, from)
	if err != nil {
		return NewToken{}, err
	}
	now := s.o.Now()
	u.LastSignIn = now
	if err := s.o.Users.SetLastSignIn(ctx, u.Tenant, u.ID, now); err != nil {
		return NewToken{}, err
	}
	out := NewToken{Text: TokenPrefix + newSecret(), User: u}
	hash, err := tokenHash(out.Text)
	if err != nil {
		return NewToken{}, err
	}
	out.Token, err = s.o.Tokens.CreateAPIToken(ctx, u.Tenant, picket.APIToken{
		UserID: u.ID, Name: purpose, TokenHash: hash, Created: now, Expires: now.Add(life),
	})
	if err != nil {
		return NewToken{}, err
	}
	if err := s.audit(ctx, u.Tenant, u.Name, "token.create", out.Token.ID, picket.AuditSuccess, from, nil); err != nil {
		return NewToken{}, errors.Join(err, s.o.Tokens.RevokeAPIToken(ctx, u.Tenant, out.Token.ID))
	}
	return out, nil
}

// noName stands for a name that nobody can have. What was typed is not
// written down: it may be a password in the wrong field.
const noName = "(not a user name)"

// check is the common part of everything that takes a password: limits, the
// password itself, the record of a failure.
func (s *Service) check(ctx context.Context, action, name, password string, from Origin) (picket.User, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if picket.ValidUserName(name) != nil {
		name = noName
	}
	u, err := s.o.Users.UserByName(ctx, name)
	known := err == nil
	if err != nil && picket.Kind(err) != picket.NotFound {
		return picket.User{}, err
	}
	tenant := s.o.Tenant
	if known {
		tenant = u.Tenant
	}
	fail := func(err error, reason string) (picket.User, error) {
		outcome := picket.AuditFailure
		var limit *LimitError
		if errors.As(err, &limit) {
			outcome = picket.AuditDenied
		}
		if err2 := s.audit(ctx, tenant, name, action, "", outcome, from, map[string]string{"reason": reason}); err2 != nil {
			return picket.User{}, err2
		}
		return picket.User{}, err
	}
	locks, note, err := s.admit(ctx, name, from)
	if note {
		return fail(err, "too many failures")
	}
	if err != nil {
		return picket.User{}, err
	}
	match, err := s.compare(ctx, &u, known, password)
	switch {
	case err != nil:
		return picket.User{}, err
	case !known:
		return fail(errWrong, "unknown user")
	case !match:
		return fail(errWrong, "wrong password")
	case u.Disabled:
		return fail(errWrong, "account is disabled")
	}
	return u, s.forgive(ctx, name, from, locks)
}

// compare hashes the given password in any case and renews a hash that was
// made at another cost.
func (s *Service) compare(ctx context.Context, u *picket.User, known bool, password string) (bool, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	stored := s.nobody
	if known {
		stored = u.PasswordHash
	}
	if len(password) > maxPassword {
		known, password = false, ""
	}
	match, outdated, err := s.verify(stored, password, s.o.Cost)
	if err != nil {
		return false, fmt.Errorf("stored password of user %q: %v: %w", u.Name, err, picket.Internal)
	}
	if known && match && outdated {
		u.PasswordHash = HashPassword(password, s.o.Cost)
		if err := s.o.Users.SetPasswordHash(ctx, u.Tenant, u.ID, u.PasswordHash); err != nil {
			return false, err
		}
	}
	return known && match, nil
}

// counter is one limit and the key that it counts under.
type counter struct {
	key    string
	limit  Limit
	shared bool // by other accounts
}

// counters of a sign-in, the tightest first.
func (s *Service) counters(name string, from Origin) []counter {
	place := addressKey(from.Address)
	return []counter{
		{"pair:" + name + " " + place, s.o.Limits.Pair, false},
		{"address:" + place, s.o.Limits.Address, true},
		{"account:" + name, s.o.Limits.Account, false},
	}
}

// refusalNote is how often the refusals of one counter are written to the
// audit log while its lock lasts: whoever is locked out could fill it.
const refusalNote = time.Minute

// admit counts an attempt against every limit and returns the lock that each
// has now. The error is a *LimitError for a refusal; note says whether to
// write that to the audit log.
func (s *Service) admit(ctx context.Context, name string, from Origin) (locks []time.Time, note bool, err error) {
	now := s.o.Now()
	for _, c := range s.counters(name, from) {
		var wait time.Duration
		a, err := s.o.Attempts.UpdateAttempts(ctx, c.key, func(a picket.SignInAttempts) picket.SignInAttempts {
			a, wait = c.limit.reserve(a, now)
			note = wait > 0 && now.Sub(a.Last) >= refusalNote
			if note {
				a.Last = now
			}
			return a
		})
		if err != nil {
			return nil, false, err
		}
		if wait > 0 {
			return nil, note, &LimitError{RetryAfter: wait}
		}
		locks = append(locks, a.LockedUntil)
	}
	return locks, false, nil
}

// forgive takes the attempt back after a success. The account's own counts
// start again; the address keeps its other failures, or one account that an
// attacker owns would clear them.
func (s *Service) forgive(ctx context.Context, name string, from Origin, locks []time.Time) error {
	for i, c := range s.counters(name, from) {
		_, err := s.o.Attempts.UpdateAttempts(ctx, c.key, func(a picket.SignInAttempts) picket.SignInAttempts {
			if c.shared {
				return c.limit.refund(a, locks[i])
			}
			return picket.SignInAttempts{}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
