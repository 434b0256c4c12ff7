// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// Limits of what an alert keeps. Titles, command lines and the like come from
// devices and from rules; what is longer is cut off.
const (
	maxTitle          = 500
	maxText           = 8 << 10
	maxTechniques     = 50
	maxEvidenceEvents = 50 // events whose evidence is kept
	maxEntities       = 20 // entries of evidence of one event
	maxFields         = 64
	maxField          = 8 << 10
)

// Alert is an alert and the number of changes that people made to it. Lists
// leave Evidence and Comments out.
type Alert struct {
	picket.Alert
	Revision int64 // 1 when raised; see AlertUpdate
}

type alertRow struct {
	bun.BaseModel   `bun:"table:alerts"`
	Tenant          string `bun:"tenant,pk"`
	ID              string `bun:"id,pk"`
	Cause           string
	Generation      int64
	DeviceID        string
	DeviceName      string
	Title           string
	Description     string
	Recommended     string
	Severity        string
	SeverityRank    int64
	Category        string
	Techniques      string
	RuleID          string
	RuleAuthor      string
	DetectionSource string
	Status          string
	StatusRank      int64
	Classification  string
	Determination   string
	AssignedTo      string
	UserName        string
	FirstActivity   int64
	LastActivity    int64
	Created         int64
	Updated         int64
	Resolved        int64
	EventCount      int64
	EvidenceCount   int64
	ProcessGUID     string `bun:"process_guid"`
	EvidenceLost    int64
	Revision        int64
}

func (r *alertRow) alert() (Alert, error) {
	a := Alert{Revision: r.Revision, Alert: picket.Alert{
		ID: r.ID, Tenant: r.Tenant, DeviceID: r.DeviceID, DeviceName: r.DeviceName, Title: r.Title,
		Description: r.Description, Recommended: r.Recommended, Severity: picket.Severity(r.Severity), Category: r.Category,
		RuleID: r.RuleID, RuleAuthor: r.RuleAuthor, DetectionSource: r.DetectionSource,
		Status: picket.AlertStatus(r.Status), Classification: picket.Classification(r.Classification),
		Determination: r.Determination, AssignedTo: r.AssignedTo, User: r.UserName,
		FirstActivity: at(r.FirstActivity), LastActivity: at(r.LastActivity), Created: at(r.Created), Updated: at(r.Updated),
		Count: r.EventCount, ProcessGUID: r.ProcessGUID, EvidenceLost: r.EvidenceLost,
	}}
	if err := json.Unmarshal([]byte(r.Techniques), &a.Techniques); err != nil {
		return a, fmt.Errorf("techniques of alert %s: %v: %w", r.ID, err, picket.Internal)
	}
	return a, nil
}

// statusRank orders statuses as the queue does; -1 for an unknown one.
func statusRank(s picket.AlertStatus) int64 {
	switch s {
	case picket.StatusNew:
		return 0
	case picket.StatusInProgress:
		return 1
	case picket.StatusResolved:
		return 2
	}
	return -1
}

type evidenceRow struct {
	bun.BaseModel `bun:"table:alert_evidence"`
	Tenant        string `bun:"tenant,pk"`
	AlertID       string `bun:"alert_id,pk"`
	Position      int64  `bun:"position,pk"`
	EntityType    string
	Role          string
	EventTime     int64
	EventTable    string
	ReportID      int64
	BootID        string
	ProcessGUID   string `bun:"process_guid"`
	Fields        string
}

func (r *evidenceRow) evidence() (picket.Evidence, error) {
	e := picket.Evidence{
		EntityType: r.EntityType, Role: r.Role, Time: at(r.EventTime), Table: r.EventTable,
		ReportID: r.ReportID, BootID: r.BootID, ProcessGUID: r.ProcessGUID,
	}
	if err := json.Unmarshal([]byte(r.Fields), &e.Fields); err != nil {
		return e, fmt.Errorf("evidence of alert %s: %v: %w", r.AlertID, err, picket.Internal)
	}
	return e, nil
}

type commentRow struct {
	bun.BaseModel `bun:"table:alert_comments"`
	Tenant        string `bun:"tenant,pk"`
	AlertID       string `bun:"alert_id,pk"`
	Position      int64  `bun:"position,pk"`
	At            int64
	Author        string
	Body          string
}

// Alert returns one alert with its evidence and history.
func (db *DB) Alert(ctx context.Context, tenant, id string) (Alert, error) {
	var row alertRow
	if err := db.r.NewSelect().Model(&row).Where("tenant = ?", tenant).Where("id = ?", id).Scan(ctx); err != nil {
		return Alert{}, fmt.Errorf("alert %.50q: %w", id, fault(err))
	}
	a, err := row.alert()
	if err != nil {
		return Alert{}, err
	}
	var evidence []evidenceRow
	err = db.r.NewSelect().Model(&evidence).Where("tenant = ?", tenant).Where("alert_id = ?", id).Order("position").Scan(ctx)
	if err != nil {
		return Alert{}, fmt.Errorf("evidence of alert %s: %w", id, fault(err))
	}
	for i := range evidence {
		e, err := evidence[i].evidence()
		if err != nil {
			return Alert{}, err
		}
		a.Evidence = append(a.Evidence, e)
	}
	var comments []commentRow
	err = db.r.NewSelect().Model(&comments).Where("tenant = ?", tenant).Where("alert_id = ?", id).Order("position").Scan(ctx)
	if err != nil {
		return Alert{}, fmt.Errorf("history of alert %s: %w", id, fault(err))
	}
	for _, c := range comments {
		a.Comments = append(a.Comments, picket.Comment{Time: at(c.At), By: c.Author, Text: c.Body})
	}
	return a, nil
}

// comment adds entries to the history of an alert.
func (db *DB) comment(ctx context.Context, tx bun.Tx, tenant, alert string, at time.Time, by string, texts ...string) error {
	if len(texts) == 0 {
		return nil
	}
	var next int64
	err := tx.NewSelect().Table("alert_comments").ColumnExpr("COALESCE(MAX(position) + 1, 0)").
		Where("tenant = ?", tenant).Where("alert_id = ?", alert).Scan(ctx, &next)
	if err != nil {
		return err
	}
	var rows []commentRow
	for i, text := range texts {
		rows = append(rows, commentRow{
			Tenant: tenant, AlertID: alert, Position: next + int64(i), At: micros(at), Author: oneLine(by, maxName), Body: clean(text, maxText),
		})
	}
	_, err = tx.NewInsert().Model(&rows).Exec(ctx)
	return err
}

// ActiveAlerts counts the alerts of a tenant that are New or InProgress, of
// one device or, with an empty device id, of all.
func (db *DB) ActiveAlerts(ctx context.Context, tenant, deviceID string) (picket.AlertCounts, error) {
	var rows []struct {
		Severity string
		N        int64
	}
	q := db.r.NewSelect().Table("alerts").Column("severity").ColumnExpr("COUNT(*) AS n").
		Where("tenant = ?", tenant).Where("status <> 'Resolved'").Group("severity")
	if deviceID != "" {
		q = q.Where("device_id = ?", deviceID)
	}
	if err := q.Scan(ctx, &rows); err != nil {
		return picket.AlertCounts{}, fmt.Errorf("count active alerts: %w", fault(err))
	}
	var c picket.AlertCounts
	for _, r := range rows {
		switch picket.Severity(r.Severity) {
		case picket.High:
			c.High = r.N
		case picket.Medium:
			c.Medium = r.N
		case picket.Low:
			c.Low = r.N
		case picket.Informational:
			c.Informational = r.N
		}
	}
	return c, nil
}

// expireChunk is how many alerts one transaction of ExpireAlerts deletes, so
// that other writers get their turn.
const expireChunk = 200

// ExpireAlerts deletes the alerts whose last activity is before a moment, with
// evidence, history and event marks, and the marks of older events of alerts
// that stay. It returns how many alerts went.
func (db *DB) ExpireAlerts(ctx context.Context, tenant string, before time.Time) (int64, error) {
	var total int64
	for {
		var n int64
		err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
			var rows []alertRow
			err := tx.NewSelect().Model(&rows).Column("id").Where("tenant = ?", tenant).
				Where("last_activity < ?", micros(before)).Limit(expireChunk).Scan(ctx)
			if err != nil {
				return err
			}
			n = int64(len(rows))
			return db.deleteAlerts(ctx, tx, tenant, rows)
		})
		if err != nil {
			return total, fmt.Errorf("expire alerts of tenant %q: %w", tenant, err)
		}
		total += n
		if n < expireChunk {
			break
		}
	}
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Table("alert_events").Where("tenant = ?", tenant).Where("event_time < ?", micros(before)).Exec(ctx)
		if err != nil {
			return err
		}
		_, err = tx.NewDelete().Table("alert_causes").Where("tenant = ?", tenant).
			Where("NOT EXISTS (SELECT 1 FROM alerts AS a WHERE a.tenant = alert_causes.tenant AND a.cause = alert_causes.cause)").
			Where("NOT EXISTS (SELECT 1 FROM alert_events AS e WHERE e.tenant = alert_causes.tenant AND e.cause = alert_causes.cause)").Exec(ctx)
		return err
	})
	if err != nil {
		return total, fmt.Errorf("expire event marks of tenant %q: %w", tenant, err)
	}
	return total, nil
}

// deleteAlerts deletes alerts and everything that hangs on them.
func (db *DB) deleteAlerts(ctx context.Context, tx bun.Tx, tenant string, rows []alertRow) error {
	if len(rows) == 0 {
		return nil
	}
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	for _, table := range []string{"alert_evidence", "alert_comments", "alert_events"} {
		if _, err := tx.NewDelete().Table(table).Where("tenant = ?", tenant).Where("alert_id IN (?)", bun.List(ids)).Exec(ctx); err != nil {
			return err
		}
	}
	if _, err := tx.NewDelete().Table("alerts").Where("tenant = ?", tenant).Where("id IN (?)", bun.List(ids)).Exec(ctx); err != nil {
		return err
	}
	return nil
}
