// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

type sessionRow struct {
	bun.BaseModel `bun:"table:sessions"`
	Tenant        string `bun:"tenant,pk"`
	ID            string `bun:"id,pk"`
	UserID        string
	TokenHash     string
	CSRF          string `bun:"csrf"`
	Created       int64
	LastUsed      int64
	Expires       int64
	Address       string
	UserAgent     string
}

func (r *sessionRow) session() picket.Session {
	return picket.Session{
		ID: r.ID, Tenant: r.Tenant, UserID: r.UserID, TokenHash: r.TokenHash, CSRF: r.CSRF, Created: at(r.Created),
		LastUsed: at(r.LastUsed), Expires: at(r.Expires), Address: r.Address, UserAgent: r.UserAgent,
	}
}

// CreateSession adds a session and returns it with the id that it was given.
func (db *DB) CreateSession(ctx context.Context, tenant string, s picket.Session) (picket.Session, error) {
	row := &sessionRow{
		Tenant: tenant, ID: newID(), UserID: s.UserID, TokenHash: s.TokenHash, CSRF: s.CSRF, Created: micros(s.Created),
		LastUsed: micros(s.LastUsed), Expires: micros(s.Expires), Address: oneLine(s.Address, maxFact), UserAgent: oneLine(s.UserAgent, maxFact),
	}
	if _, err := db.w.NewInsert().Model(row).Exec(ctx); err != nil {
		return picket.Session{}, fmt.Errorf("create a session: %w", fault(err))
	}
	return row.session(), nil
}

// SessionByToken finds a session and its account by the hash of the cookie's
// value, whichever tenant it is of. It does not judge whether they may be used.
func (db *DB) SessionByToken(ctx context.Context, tokenHash string) (picket.Session, picket.User, error) {
	var row sessionRow
	if err := db.r.NewSelect().Model(&row).Where("token_hash = ?", tokenHash).Scan(ctx); err != nil {
		return picket.Session{}, picket.User{}, fmt.Errorf("session: %w", fault(err))
	}
	u, err := db.User(ctx, row.Tenant, row.UserID)
	return row.session(), u, err
}

// Sessions lists the sessions of an account, the latest used first.
func (db *DB) Sessions(ctx context.Context, tenant, userID string) ([]picket.Session, error) {
	var rows []sessionRow
	err := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).Where("user_id = ?", userID).
		OrderExpr("last_used DESC, id").Limit(MaxLimit).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", fault(err))
	}
	out := make([]picket.Session, len(rows))
	for i := range rows {
		out[i] = rows[i].session()
	}
	return out, nil
}

// TouchSession records a use of a session.
func (db *DB) TouchSession(ctx context.Context, tenant, id string, now time.Time) error {
	res, err := db.w.NewUpdate().Table("sessions").Set("last_used = ?", micros(now)).
		Where("tenant = ?", tenant).Where("id = ?", id).Where("last_used < ?", micros(now)).Exec(ctx)
	if _, err := affected(res, err); err != nil {
		return fmt.Errorf("touch session: %w", fault(err))
	}
	return nil
}

// DeleteSession ends one session.
func (db *DB) DeleteSession(ctx context.Context, tenant, id string) error {
	res, err := db.w.NewDelete().Table("sessions").Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
	return changedOne("delete session", res, err)
}

// DeleteSessions ends every session of an account except one (none when keep
// is empty) and returns how many.
func (db *DB) DeleteSessions(ctx context.Context, tenant, userID, keep string) (int64, error) {
	n, err := affected(db.w.NewDelete().Table("sessions").Where("tenant = ?", tenant).Where("user_id = ?", userID).
		Where("id <> ?", keep).Exec(ctx))
	if err != nil {
		return 0, fmt.Errorf("delete sessions: %w", fault(err))
	}
	return n, nil
}

type apiTokenRow struct {
	bun.BaseModel `bun:"table:api_tokens"`
	Tenant        string `bun:"tenant,pk"`
	ID            string `bun:"id,pk"`
	UserID        string
	Name          string
	TokenHash     string
	Created       int64
	Expires       int64
	LastUsed      int64
	Revoked       bool
}

func (r *apiTokenRow) token() picket.APIToken {
	return picket.APIToken{
		ID: r.ID, Tenant: r.Tenant, UserID: r.UserID, Name: r.Name, TokenHash: r.TokenHash, Created: at(r.Created),
		Expires: at(r.Expires), LastUsed: at(r.LastUsed), Revoked: r.Revoked,
	}
}

// CreateAPIToken adds a bearer token and returns it with the id that it was
// given.
func (db *DB) CreateAPIToken(ctx context.Context, tenant string, t picket.APIToken) (picket.APIToken, error) {
	row := &apiTokenRow{
		Tenant: tenant, ID: newID(), UserID: t.UserID, Name: oneLine(t.Name, maxName), TokenHash: t.TokenHash,
		Created: micros(t.Created), Expires: micros(t.Expires),
	}
	if _, err := db.w.NewInsert().Model(row).Exec(ctx); err != nil {
		return picket.APIToken{}, fmt.Errorf("create a bearer token: %w", fault(err))
	}
	return row.token(), nil
}

// APITokenByHash finds a bearer token and its account by the token's hash,
// whichever tenant it is of. It does not judge whether they may be used.
func (db *DB) APITokenByHash(ctx context.Context, tokenHash string) (picket.APIToken, picket.User, error) {
	var row apiTokenRow
	if err := db.r.NewSelect().Model(&row).Where("token_hash = ?", tokenHash).Scan(ctx); err != nil {
		return picket.APIToken{}, picket.User{}, fmt.Errorf("bearer token: %w", fault(err))
	}
	u, err := db.User(ctx, row.Tenant, row.UserID)
	return row.token(), u, err
}

// APITokens lists the bearer tokens of an account or, with an empty user id,
// of the whole tenant, newest first.
func (db *DB) APITokens(ctx context.Context, tenant, userID string) ([]picket.APIToken, error) {
	var rows []apiTokenRow
	q := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).OrderExpr("created DESC, id").Limit(MaxLimit)
	if userID != "" {
		q = q.Where("user_id = ?", userID)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list bearer tokens: %w", fault(err))
	}
	out := make([]picket.APIToken, len(rows))
	for i := range rows {
		out[i] = rows[i].token()
	}
	return out, nil
}

// TouchAPIToken records a use of a bearer token.
func (db *DB) TouchAPIToken(ctx context.Context, tenant, id string, now time.Time) error {
	res, err := db.w.NewUpdate().Table("api_tokens").Set("last_used = ?", micros(now)).
		Where("tenant = ?", tenant).Where("id = ?", id).Where("last_used < ?", micros(now)).Exec(ctx)
	if _, err := affected(res, err); err != nil {
		return fmt.Errorf("touch bearer token: %w", fault(err))
	}
	return nil
}

// RevokeAPIToken ends one bearer token.
func (db *DB) RevokeAPIToken(ctx context.Context, tenant, id string) error {
	res, err := db.w.NewUpdate().Table("api_tokens").Set("revoked = ?", true).
		Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
	return changedOne("revoke bearer token "+id, res, err)
}

// RevokeAPITokens ends every bearer token of an account and returns how many.
func (db *DB) RevokeAPITokens(ctx context.Context, tenant, userID string) (int64, error) {
	n, err := affected(db.w.NewUpdate().Table("api_tokens").Set("revoked = ?", true).
		Where("tenant = ?", tenant).Where("user_id = ?", userID).Where("NOT revoked").Exec(ctx))
	if err != nil {
		return 0, fmt.Errorf("revoke bearer tokens: %w", fault(err))
	}
	return n, nil
}

// PruneSignIns deletes what has no use any more, of the whole deployment:
// sessions that ended or were idle since idleSince, bearer tokens that expired
// a month ago, counts of failed sign-ins whose last one is older than
// attemptsSince.
func (db *DB) PruneSignIns(ctx context.Context, now, idleSince, attemptsSince time.Time) error {
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Table("sessions").Where("expires <= ? OR last_used < ?", micros(now), micros(idleSince)).Exec(ctx)
		if err != nil {
			return err
		}
		if _, err = tx.NewDelete().Table("api_tokens").Where("expires < ?", micros(now.AddDate(0, -1, 0))).Exec(ctx); err != nil {
			return err
		}
		_, err = tx.NewDelete().Table("sign_in_attempts").Where("last_at < ? AND locked_until < ?", micros(attemptsSince), micros(now)).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("prune sign-ins: %w", err)
	}
	return nil
}
