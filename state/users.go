// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

type userRow struct {
	bun.BaseModel `bun:"table:users"`
	Tenant        string `bun:"tenant,pk"`
	ID            string `bun:"id,pk"`
	Name          string
	Role          string
	PasswordHash  string
	Disabled      bool
	Created       int64
	LastSignIn    int64
}

func (r *userRow) user() picket.User {
	return picket.User{
		ID: r.ID, Tenant: r.Tenant, Name: r.Name, Role: picket.Role(r.Role), PasswordHash: r.PasswordHash,
		Disabled: r.Disabled, Created: at(r.Created), LastSignIn: at(r.LastSignIn),
	}
}

// CreateUser adds an account and returns it with the id that it was given. A
// name that any tenant uses is a Conflict.
func (db *DB) CreateUser(ctx context.Context, tenant string, u picket.User) (picket.User, error) {
	if err := picket.ValidUserName(u.Name); err != nil {
		return picket.User{}, err
	}
	if !u.Role.Valid() {
		return picket.User{}, fmt.Errorf("role %.50q: %w", u.Role, picket.Invalid)
	}
	row := &userRow{
		Tenant: tenant, ID: newID(), Name: u.Name, Role: string(u.Role), PasswordHash: u.PasswordHash,
		Disabled: u.Disabled, Created: micros(u.Created),
	}
	if _, err := db.w.NewInsert().Model(row).Exec(ctx); err != nil {
		return picket.User{}, fmt.Errorf("create user %q: %w", u.Name, fault(err))
	}
	return row.user(), nil
}

// UserByName finds the account of a name in whichever tenant it is, for
// signing in.
func (db *DB) UserByName(ctx context.Context, name string) (picket.User, error) {
	var row userRow
	if err := db.r.NewSelect().Model(&row).Where("name = ?", clean(name, maxName)).Scan(ctx); err != nil {
		return picket.User{}, fmt.Errorf("user %.70q: %w", name, fault(err))
	}
	return row.user(), nil
}

// User returns one account.
func (db *DB) User(ctx context.Context, tenant, id string) (picket.User, error) {
	var row userRow
	if err := db.r.NewSelect().Model(&row).Where("tenant = ?", tenant).Where("id = ?", id).Scan(ctx); err != nil {
		return picket.User{}, fmt.Errorf("user %.50q: %w", id, fault(err))
	}
	return row.user(), nil
}

// Users lists the accounts of a tenant by name.
func (db *DB) Users(ctx context.Context, tenant string) ([]picket.User, error) {
	var rows []userRow
	if err := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).Order("name").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list users of tenant %q: %w", tenant, fault(err))
	}
	out := make([]picket.User, len(rows))
	for i := range rows {
		out[i] = rows[i].user()
	}
	return out, nil
}

// SetPasswordHash replaces the password hash of an account.
func (db *DB) SetPasswordHash(ctx context.Context, tenant, id, hash string) error {
	res, err := db.w.NewUpdate().Table("users").Set("password_hash = ?", hash).
		Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
	return changedOne("set the password of user "+id, res, err)
}

// SetLastSignIn records that somebody signed in.
func (db *DB) SetLastSignIn(ctx context.Context, tenant, id string, now time.Time) error {
	res, err := db.w.NewUpdate().Table("users").Set("last_sign_in = ?", micros(now)).
		Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
	return changedOne("record the sign-in of user "+id, res, err)
}

// SetUserAccess changes role and usability of an account. The last usable
// administrator of a tenant stays one: taking that away is a Conflict.
// Sessions and tokens of a disabled account stop to work at once, since every
// use of one looks the account up.
func (db *DB) SetUserAccess(ctx context.Context, tenant, id string, role picket.Role, disabled bool) error {
	if !role.Valid() {
		return fmt.Errorf("role %.50q: %w", role, picket.Invalid)
	}
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		var admins []userRow
		err := db.lock(tx.NewSelect().Model(&admins).Where("tenant = ?", tenant).Where("role = ?", string(picket.RoleAdmin)).Where("NOT disabled").Order("id")).Scan(ctx)
		if err != nil {
			return err
		}
		if len(admins) == 1 && admins[0].ID == id && (role != picket.RoleAdmin || disabled) {
			return fmt.Errorf("it is the last administrator: %w", picket.Conflict)
		}
		res, err := tx.NewUpdate().Table("users").Set("role = ?", string(role)).Set("disabled = ?", disabled).
			Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
		return changedOne("set access", res, err)
	})
	if err != nil {
		return fmt.Errorf("user %.50q: %w", id, err)
	}
	return nil
}
