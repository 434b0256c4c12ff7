// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/picket-edr/picket"
)

// Users are the accounts. Names are unique in the deployment.
type Users interface {
	UserByName(ctx context.Context, name string) (picket.User, error)
	Users(ctx context.Context, tenant string) ([]picket.User, error)
	CreateUser(ctx context.Context, tenant string, u picket.User) (picket.User, error)
	SetPasswordHash(ctx context.Context, tenant, id, hash string) error
	SetUserAccess(ctx context.Context, tenant, id string, role picket.Role, disabled bool) error
	SetLastSignIn(ctx context.Context, tenant, id string, now time.Time) error
}

// Sessions are the signed-in browsers.
type Sessions interface {
	CreateSession(ctx context.Context, tenant string, s picket.Session) (picket.Session, error)
	SessionByToken(ctx context.Context, tokenHash string) (picket.Session, picket.User, error)
	Sessions(ctx context.Context, tenant, userID string) ([]picket.Session, error)
	TouchSession(ctx context.Context, tenant, id string, now time.Time) error
	DeleteSession(ctx context.Context, tenant, id string) error
	DeleteSessions(ctx context.Context, tenant, userID, keep string) (int64, error)
}

// Tokens are the bearer tokens.
type Tokens interface {
	CreateAPIToken(ctx context.Context, tenant string, t picket.APIToken) (picket.APIToken, error)
	APITokenByHash(ctx context.Context, tokenHash string) (picket.APIToken, picket.User, error)
	APITokens(ctx context.Context, tenant, userID string) ([]picket.APIToken, error)
	TouchAPIToken(ctx context.Context, tenant, id string, now time.Time) error
	RevokeAPIToken(ctx context.Context, tenant, id string) error
	RevokeAPITokens(ctx context.Context, tenant, userID string) (int64, error)
}

// Attempts count sign-ins. UpdateAttempts applies change to the count of a
// key while nobody else changes it.
type Attempts interface {
	UpdateAttempts(ctx context.Context, key string, change func(picket.SignInAttempts) picket.SignInAttempts) (picket.SignInAttempts, error)
	PruneSignIns(ctx context.Context, now, idleSince, attemptsSince time.Time) error
}

// Audit is the log that every sign-in and change of access is written to.
type Audit interface {
	AppendAudit(ctx context.Context, tenant string, e picket.AuditEntry) (picket.AuditEntry, error)
}

// Options make a Service. One *state.DB can be all five of the first.
type Options struct {
	Users    Users
	Sessions Sessions
	Tokens   Tokens
	Attempts Attempts
	Audit    Audit

	Tenant string // whose audit log gets the failures of names that nobody has
	Now    func() time.Time
	Cost   Cost   // of new password hashes; zero: DefaultCost
	Limits Limits // zero: DefaultLimits

	SessionIdle time.Duration // a session ends when unused for so long; zero: 8 h
	SessionLife time.Duration // and after so long in any case; zero: 24 h
}

// Lifetimes that Options can change, and those of bearer tokens.
const (
	DefaultSessionIdle = 8 * time.Hour
	DefaultSessionLife = 24 * time.Hour
	DefaultTokenLife   = 30 * 24 * time.Hour
	MaxTokenLife       = 365 * 24 * time.Hour
)

// Service signs people and programs in. It is safe for concurrent use.
type Service struct {
	o       Options
	hashing chan struct{} // bounds the memory that password hashes take at once
	nobody  string        // hash to compare with when there is no account
	verify  func(stored, password string, want Cost) (match, outdated bool, err error)
}

// hashesAtOnce is how many passwords are hashed at the same time.
const hashesAtOnce = 2

// New makes a Service.
func New(o Options) (*Service, error) {
	if o.Users == nil || o.Sessions == nil || o.Tokens == nil || o.Attempts == nil || o.Audit == nil || o.Now == nil {
		return nil, fmt.Errorf("auth: records or clock are missing: %w", picket.Invalid)
	}
	if err := picket.ValidTenantID(o.Tenant); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if o.Cost == (Cost{}) {
		o.Cost = DefaultCost
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	if o.SessionIdle == 0 {
		o.SessionIdle = DefaultSessionIdle
	}
	if o.SessionLife == 0 {
		o.SessionLife = DefaultSessionLife
	}
	nobody := HashPassword(newSecret(), o.Cost)
	if _, err := parseHash(nobody); err != nil {
		return nil, fmt.Errorf("auth: cost: %w", err)
	}
	return &Service{o: o, hashing: make(chan struct{}, hashesAtOnce), nobody: nobody, verify: VerifyPassword}, nil
}

// Prune deletes ended sessions, long expired tokens and counts of attempts
// that have no effect any more. Call it now and then.
func (s *Service) Prune(ctx context.Context) error {
	now := s.o.Now()
	quiet := max(s.o.Limits.Pair.Quiet, s.o.Limits.Account.Quiet, s.o.Limits.Address.Quiet)
	return s.o.Attempts.PruneSignIns(ctx, now, now.Add(-s.o.SessionIdle), now.Add(-quiet))
}

// slot waits for a turn to hash a password.
func (s *Service) slot(ctx context.Context) (release func(), err error) {
	select {
	case s.hashing <- struct{}{}:
		return func() { <-s.hashing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to check a password: %v: %w", ctx.Err(), picket.Canceled)
	}
}

// hash makes the form in which a password is kept.
func (s *Service) hash(ctx context.Context, password string) (string, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return HashPassword(password, s.o.Cost), nil
}

// audit writes an entry about what an account did or wanted.
func (s *Service) audit(ctx context.Context, tenant, actor, action, target, outcome string, from Origin, detail map[string]string) error {
	_, err := s.o.Audit.AppendAudit(ctx, tenant, picket.AuditEntry{
		Time: s.o.Now(), Actor: actor, Action: action, Target: target, Outcome: outcome, Address: host(from.Address), Detail: detail,
	})
	return err
}
