// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

type attemptRow struct {
	bun.BaseModel `bun:"table:sign_in_attempts"`
	AttemptKey    string `bun:"attempt_key,pk"`
	Failures      int64
	FirstAt       int64
	LastAt        int64
	LockedUntil   int64
}

func (r *attemptRow) attempts() picket.SignInAttempts {
	return picket.SignInAttempts{Failures: int(r.Failures), First: at(r.FirstAt), Last: at(r.LastAt), LockedUntil: at(r.LockedUntil)}
}

// UpdateAttempts changes the count of failed sign-ins of a key (an account's
// name or an address, told apart by the caller) by a function that decides
// what the new one is. Nothing else changes the count meanwhile, so that
// attempts made at the same time cannot slip past a limit. The function must
// not call the database; a key never seen has the zero count.
func (db *DB) UpdateAttempts(ctx context.Context, key string, change func(picket.SignInAttempts) picket.SignInAttempts) (picket.SignInAttempts, error) {
	key = clean(key, maxName)
	for range 3 { // PruneSignIns may take the row away between two statements
		out, err := db.updateAttempts(ctx, key, change)
		if err == nil {
			return out, nil
		}
		if picket.Kind(err) != picket.NotFound {
			return out, fmt.Errorf("count sign-in attempts: %w", err)
		}
	}
	return picket.SignInAttempts{}, fmt.Errorf("count sign-in attempts: the count keeps vanishing: %w", picket.Unavailable)
}

func (db *DB) updateAttempts(ctx context.Context, key string, change func(picket.SignInAttempts) picket.SignInAttempts) (picket.SignInAttempts, error) {
	var out picket.SignInAttempts
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := &attemptRow{AttemptKey: key}
		if _, err := tx.NewInsert().Model(row).On("CONFLICT (attempt_key) DO NOTHING").Exec(ctx); err != nil {
			return err
		}
		if err := db.lock(tx.NewSelect().Model(row).Where("attempt_key = ?", key)).Scan(ctx); err != nil {
			return err
		}
		out = change(row.attempts())
		row.Failures, row.FirstAt, row.LastAt, row.LockedUntil = int64(out.Failures), micros(out.First), micros(out.Last), micros(out.LockedUntil)
		_, err := tx.NewUpdate().Model(row).Column("failures", "first_at", "last_at", "locked_until").Where("attempt_key = ?", key).Exec(ctx)
		return err
	})
	return out, err
}
