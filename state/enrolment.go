// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// EnrolmentToken lets hosts enrol in one tenant and device group. Its secret
// is not kept, only the SHA-256 of it.
type EnrolmentToken struct {
	ID          string
	Tenant      string
	Group       string
	UsesAllowed int64
	Uses        int64
	Created     time.Time
	CreatedBy   string
	Expires     time.Time
	Revoked     time.Time // zero: not revoked
}

// NewEnrolmentToken is what CreateEnrolmentToken needs to know.
type NewEnrolmentToken struct {
	Group      string
	Uses       int64 // 1 for a one-use token
	Expires    time.Time
	CreatedBy  string
	SecretHash [sha256.Size]byte // HashSecret of the secret
}

// maxUses bounds how many hosts one enrolment token can admit.
const maxUses = 1_000_000

type enrolmentRow struct {
	bun.BaseModel `bun:"table:enrolment_tokens"`
	Tenant        string `bun:"tenant,pk"`
	ID            string `bun:"id,pk"`
	SecretHash    string
	DeviceGroup   string
	UsesAllowed   int64
	Uses          int64
	Created       int64
	CreatedBy     string
	Expires       int64
	Revoked       int64
}

func (r *enrolmentRow) token() EnrolmentToken {
	return EnrolmentToken{
		ID: r.ID, Tenant: r.Tenant, Group: r.DeviceGroup, UsesAllowed: r.UsesAllowed, Uses: r.Uses,
		Created: at(r.Created), CreatedBy: r.CreatedBy, Expires: at(r.Expires), Revoked: at(r.Revoked),
	}
}

// CreateEnrolmentToken adds a token.
func (db *DB) CreateEnrolmentToken(ctx context.Context, tenant string, t NewEnrolmentToken, now time.Time) (EnrolmentToken, error) {
	if t.Uses < 1 || t.Uses > maxUses {
		return EnrolmentToken{}, fmt.Errorf("enrolment token: 1 to %d uses: %w", maxUses, picket.Invalid)
	}
	if !t.Expires.After(now) {
		return EnrolmentToken{}, fmt.Errorf("enrolment token: expires before it is made: %w", picket.Invalid)
	}
	if t.Group != oneLine(t.Group, maxName) {
		return EnrolmentToken{}, fmt.Errorf("enrolment token: group name: at most %d printable characters: %w", maxName, picket.Invalid)
	}
	row := &enrolmentRow{
		Tenant: tenant, ID: newID(), SecretHash: hex.EncodeToString(t.SecretHash[:]), DeviceGroup: t.Group,
		UsesAllowed: t.Uses, Created: micros(now), CreatedBy: oneLine(t.CreatedBy, maxName), Expires: micros(t.Expires),
	}
	if _, err := db.w.NewInsert().Model(row).Exec(ctx); err != nil {
		return EnrolmentToken{}, fmt.Errorf("create an enrolment token in tenant %q: %w", tenant, fault(err))
	}
	return row.token(), nil
}

// EnrolmentTokens lists the tokens of a tenant, newest first, used up, expired
// and revoked ones included.
func (db *DB) EnrolmentTokens(ctx context.Context, tenant string) ([]EnrolmentToken, error) {
	var rows []enrolmentRow
	err := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).OrderExpr("created DESC, id").Limit(1000).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list enrolment tokens of tenant %q: %w", tenant, fault(err))
	}
	out := make([]EnrolmentToken, len(rows))
	for i := range rows {
		out[i] = rows[i].token()
	}
	return out, nil
}

// RevokeEnrolmentToken ends a token. Devices that it admitted stay.
func (db *DB) RevokeEnrolmentToken(ctx context.Context, tenant, id string, now time.Time) error {
	res, err := db.w.NewUpdate().Table("enrolment_tokens").
		Set("revoked = CASE WHEN revoked = 0 THEN ? ELSE revoked END", micros(now)).
		Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
	return changedOne("revoke enrolment token "+id, res, err)
}

// RedeemEnrolmentToken uses a token once. However many ask at the same time, a
// token admits no more than it allows. Every refusal is of kind Denied, and a
// wrong secret says no more than that.
func (db *DB) RedeemEnrolmentToken(ctx context.Context, tenant string, secretHash [sha256.Size]byte, now time.Time) (EnrolmentToken, error) {
	var row enrolmentRow
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		row, err = db.redeem(ctx, tx, tenant, secretHash, now)
		return err
	})
	if err != nil {
		return EnrolmentToken{}, fmt.Errorf("redeem an enrolment token of tenant %q: %w", tenant, err)
	}
	return row.token(), nil
}

// EnrolDevice uses a token once and adds the device that came with it, in the
// token's group, and its first certificate: all of it or, when the token is
// refused (Denied), nothing, so that no use of a token is lost half-way.
func (db *DB) EnrolDevice(ctx context.Context, tenant string, secretHash [sha256.Size]byte, d picket.Device, host HostIdentity, c Certificate, now time.Time) (EnrolmentToken, error) {
	var row enrolmentRow
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		if row, err = db.redeem(ctx, tx, tenant, secretHash, now); err != nil {
			return err
		}
		d.Group = row.DeviceGroup
		if err := db.createDevice(ctx, tx, tenant, d, host); err != nil {
			return err
		}
		c.DeviceID = d.ID
		return db.addCertificate(ctx, tx, tenant, c)
	})
	if err != nil {
		return EnrolmentToken{}, fmt.Errorf("enrol device %.50q in tenant %q: %w", d.ID, tenant, err)
	}
	return row.token(), nil
}

// redeem counts one use of a token or says why not.
func (db *DB) redeem(ctx context.Context, tx bun.Tx, tenant string, secretHash [sha256.Size]byte, now time.Time) (enrolmentRow, error) {
	hash := hex.EncodeToString(secretHash[:])
	n, err := affected(tx.NewUpdate().Table("enrolment_tokens").Set("uses = uses + 1").
		Where("tenant = ?", tenant).Where("secret_hash = ?", hash).
		Where("revoked = 0").Where("expires > ?", micros(now)).Where("uses < uses_allowed").Exec(ctx))
	if err != nil {
		return enrolmentRow{}, err
	}
	var rows []enrolmentRow
	if err := tx.NewSelect().Model(&rows).Where("tenant = ?", tenant).Where("secret_hash = ?", hash).Scan(ctx); err != nil {
		return enrolmentRow{}, err
	}
	switch {
	case len(rows) == 0:
		return enrolmentRow{}, fmt.Errorf("token is not known: %w", picket.Denied)
	case n == 0:
		return enrolmentRow{}, fmt.Errorf("token %s %s: %w", rows[0].ID, rows[0].refusal(now), picket.Denied)
	}
	return rows[0], nil
}

// refusal says why a known token cannot be used now.
func (r *enrolmentRow) refusal(now time.Time) string {
	switch {
	case r.Revoked != 0:
		return "was revoked"
	case r.Expires <= micros(now):
		return "has expired"
	}
	return "is used up"
}
