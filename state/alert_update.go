// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// Determinations are what a true alert can turn out to be.
var Determinations = []string{"Apt", "Malware", "SecurityPersonnel", "SecurityTesting", "UnwantedSoftware", "Other"}

// maxBatch bounds how many alerts one call changes.
const maxBatch = 500

// AlertUpdate is what a person changes on an alert; nil leaves a field as it
// is. Every change becomes an entry of the alert's history.
type AlertUpdate struct {
	Status         *picket.AlertStatus
	Classification *picket.Classification // ""; TruePositive; FalsePositive
	Determination  *string                // only of a TruePositive: one of Determinations or ""
	AssignedTo     *string                // "": nobody
	Comment        string                 // added to the history
	Revision       int64                  // that the person saw; 0: change whatever is there
}

func (u *AlertUpdate) check() error {
	switch {
	case u.Status != nil && statusRank(*u.Status) < 0:
		return fmt.Errorf("status %.50q: %w", *u.Status, picket.Invalid)
	case u.Classification != nil && *u.Classification != "" && *u.Classification != picket.TruePositive && *u.Classification != picket.FalsePositive:
		return fmt.Errorf("classification %.50q: %w", *u.Classification, picket.Invalid)
	case u.Determination != nil && *u.Determination != "" && !slices.Contains(Determinations, *u.Determination):
		return fmt.Errorf("determination %.50q: %w", *u.Determination, picket.Invalid)
	case u.AssignedTo != nil && *u.AssignedTo != oneLine(*u.AssignedTo, maxName):
		return fmt.Errorf("assigned to %.50q: %w", *u.AssignedTo, picket.Invalid)
	case len(u.Comment) > maxText:
		return fmt.Errorf("comment of %d bytes: at most %d: %w", len(u.Comment), maxText, picket.TooLarge)
	}
	return nil
}

// apply changes a row and returns the entries of its history, none when
// nothing changed.
func (u *AlertUpdate) apply(r *alertRow, now time.Time) ([]string, error) {
	if u.Revision != 0 && u.Revision != r.Revision {
		return nil, fmt.Errorf("somebody changed it since revision %d: %w", u.Revision, picket.Conflict)
	}
	var history []string
	set := func(what string, to *string, value string) {
		if *to != value {
			history = append(history, fmt.Sprintf("%s changed from %s to %s.", what, orNotSet(*to), orNotSet(value)))
			*to = value
		}
	}
	if u.Status != nil && string(*u.Status) != r.Status {
		set("Status", &r.Status, string(*u.Status))
		r.StatusRank, r.Resolved = statusRank(*u.Status), 0
		if *u.Status == picket.StatusResolved {
			r.Resolved = micros(now)
		}
	}
	if u.Classification != nil {
		set("Classification", &r.Classification, string(*u.Classification))
		if *u.Classification != picket.TruePositive && u.Determination == nil {
			set("Determination", &r.Determination, "")
		}
	}
	if u.Determination != nil {
		if *u.Determination != "" && r.Classification != string(picket.TruePositive) {
			return nil, fmt.Errorf("determination %s: only an alert classified %s has one: %w", *u.Determination, picket.TruePositive, picket.Invalid)
		}
		set("Determination", &r.Determination, *u.Determination)
	}
	if u.AssignedTo != nil {
		set("Assigned to", &r.AssignedTo, *u.AssignedTo)
	}
	if text := strings.TrimSpace(clean(u.Comment, maxText)); text != "" {
		history = append(history, text)
	}
	if len(history) > 0 {
		r.Revision++
		r.Updated = max(micros(now), r.Updated)
	}
	return history, nil
}

func orNotSet(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

// UpdateAlert changes one alert in the name of a person and returns it as it
// is then, with evidence and history. A Revision that is not the present one
// is a Conflict.
func (db *DB) UpdateAlert(ctx context.Context, tenant, id string, u AlertUpdate, by string, now time.Time) (Alert, error) {
	if err := db.UpdateAlerts(ctx, tenant, []string{id}, u, by, now); err != nil {
		return Alert{}, err
	}
	return db.Alert(ctx, tenant, id)
}

// UpdateAlerts makes the same change to many alerts: to all of them or, when
// one is not there or refuses it, to none.
func (db *DB) UpdateAlerts(ctx context.Context, tenant string, ids []string, u AlertUpdate, by string, now time.Time) error {
	if err := u.check(); err != nil {
		return fmt.Errorf("update alerts: %w", err)
	}
	if len(ids) > maxBatch {
		return fmt.Errorf("update %d alerts: at most %d at once: %w", len(ids), maxBatch, picket.TooLarge)
	}
	ids = slices.Clone(ids)
	slices.Sort(ids)
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, id := range slices.Compact(ids) {
			if err := db.updateAlert(ctx, tx, tenant, id, u, by, now); err != nil {
				return fmt.Errorf("alert %.50q: %w", id, fault(err))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("update alerts: %w", err)
	}
	return nil
}

func (db *DB) updateAlert(ctx context.Context, tx bun.Tx, tenant, id string, u AlertUpdate, by string, now time.Time) error {
	var row alertRow
	if err := db.lock(tx.NewSelect().Model(&row).Where("tenant = ?", tenant).Where("id = ?", id)).Scan(ctx); err != nil {
		return err
	}
	history, err := u.apply(&row, now)
	if err != nil || len(history) == 0 {
		return err
	}
	_, err = tx.NewUpdate().Model(&row).
		Column("status", "status_rank", "resolved", "classification", "determination", "assigned_to", "revision", "updated").
		Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
	if err != nil {
		return err
	}
	return db.comment(ctx, tx, tenant, id, now, by, history...)
}
