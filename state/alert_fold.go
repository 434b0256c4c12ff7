// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// FoldResult tells what became of one alert that detection raised.
type FoldResult struct {
	ID       string // of the alert that it is part of now
	Cause    string // id that detection gave
	DeviceID string
	Severity picket.Severity
	Created  bool  // the alert is new in the queue
	Added    int64 // events that were not counted before; 0: a replay
}

type causeRow struct {
	bun.BaseModel `bun:"table:alert_causes"`
	Tenant        string `bun:"tenant,pk"`
	Cause         string `bun:"cause,pk"`
	Generation    int64
}

type eventRow struct {
	bun.BaseModel `bun:"table:alert_events"`
	Tenant        string `bun:"tenant,pk"`
	Cause         string `bun:"cause,pk"`
	BootID        string `bun:"boot_id,pk"`
	ReportID      int64  `bun:"report_id,pk"`
	EventTable    string `bun:"event_table,pk"`
	AlertID       string
	DeviceID      string
	EventTime     int64
}

// eventKey identifies an event among those of one device.
type eventKey struct {
	boot, table string
	report      int64
}

var alertID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// FoldAlerts stores what detection raised, in one transaction. Alerts of the
// same id (equal causes) become one: Count is the number of distinct events
// (boot, report id, table) that their evidence names, so that handing the same
// alerts in again changes nothing; the evidence of the first 50 events is
// kept. An alert without any event counts as one event.
//
// A resolved alert never changes again by itself: an event of the same cause
// that was not seen before raises a new alert, with a new id and a note which
// alert it follows. This is so whatever the event's time says, since the clock
// of an endpoint is not to be trusted with hiding activity.
func (db *DB) FoldAlerts(ctx context.Context, tenant string, alerts []picket.Alert, now time.Time) ([]FoldResult, error) {
	order := make([]int, len(alerts))
	for i, a := range alerts {
		if err := checkRaised(tenant, &a); err != nil {
			return nil, err
		}
		order[i] = i
	}
	// Causes are locked in one order, so that two folds cannot wait for each other.
	slices.SortStableFunc(order, func(i, j int) int { return strings.Compare(alerts[i].ID, alerts[j].ID) })
	out := make([]FoldResult, len(alerts))
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, i := range order {
			f := fold{db: db, tx: tx, tenant: tenant, now: now, in: &alerts[i]}
			r, err := f.run(ctx)
			if err != nil {
				return fmt.Errorf("alert %s: %w", alerts[i].ID, err)
			}
			out[i] = r
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("fold alerts: %w", err)
	}
	return out, nil
}

// checkRaised refuses what detection cannot have meant.
func checkRaised(tenant string, a *picket.Alert) error {
	switch {
	case !alertID.MatchString(a.ID):
		return fmt.Errorf("alert id %.50q: %w", a.ID, picket.Invalid)
	case a.Tenant != "" && a.Tenant != tenant:
		return fmt.Errorf("alert %s is of tenant %q, not %q: %w", a.ID, a.Tenant, tenant, picket.Invalid)
	case a.Severity.Rank() < 0:
		return fmt.Errorf("alert %s: severity %.50q: %w", a.ID, a.Severity, picket.Invalid)
	case a.DeviceID == "":
		return fmt.Errorf("alert %s: no device: %w", a.ID, picket.Invalid)
	}
	return nil
}

// fold is one raised alert on its way into the queue.
type fold struct {
	db     *DB
	tx     bun.Tx
	tenant string
	now    time.Time
	in     *picket.Alert
	cause  causeRow
}

func (f *fold) run(ctx context.Context) (FoldResult, error) {
	f.cause = causeRow{Tenant: f.tenant, Cause: f.in.ID}
	if _, err := f.tx.NewInsert().Model(&f.cause).On("CONFLICT (tenant, cause) DO NOTHING").Exec(ctx); err != nil {
		return FoldResult{}, err
	}
	err := f.db.lock(f.tx.NewSelect().Model(&f.cause).Where("tenant = ?", f.tenant).Where("cause = ?", f.in.ID)).Scan(ctx)
	if err != nil {
		return FoldResult{}, err
	}
	events := f.events()
	fresh, err := f.unseen(ctx, events)
	if err != nil {
		return FoldResult{}, err
	}
	row, found, err := f.current(ctx)
	if err != nil {
		return FoldResult{}, err
	}
	r := FoldResult{ID: f.in.ID, Cause: f.in.ID, DeviceID: f.in.DeviceID, Severity: f.in.Severity, Added: int64(len(fresh))}
	if len(fresh) == 0 { // a replay
		if found {
			r.ID, r.Severity = row.ID, picket.Severity(row.Severity)
		}
		return r, nil
	}
	switch {
	case !found:
		r.Created = true
		row, err = f.raise(ctx, nil)
	case row.Status == string(picket.StatusResolved):
		r.Created = true
		row, err = f.raise(ctx, row)
	default:
		err = f.grow(row)
	}
	if err != nil {
		return FoldResult{}, err
	}
	r.ID, r.Severity = row.ID, picket.Severity(row.Severity)
	return r, f.store(ctx, row, fresh, r.Created)
}

// events are the distinct events that the evidence names, in its order.
func (f *fold) events() []eventKey {
	seen := map[eventKey]bool{}
	var out []eventKey
	for i := range f.in.Evidence {
		k, ok := keyOf(&f.in.Evidence[i])
		if ok && !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		out = []eventKey{{}} // the alert itself
	}
	return out
}

// keyOf returns the event that a piece of evidence comes from, if any.
func keyOf(e *picket.Evidence) (eventKey, bool) {
	if e.BootID == "" || e.Table == "" {
		return eventKey{}, false
	}
	return eventKey{boot: clean(e.BootID, maxFact), table: clean(e.Table, maxFact), report: e.ReportID}, true
}

// unseen returns the events of the cause that no earlier fold counted.
func (f *fold) unseen(ctx context.Context, events []eventKey) ([]eventKey, error) {
	seen := map[eventKey]bool{}
	for part := range slices.Chunk(events, 500) {
		reports := make([]int64, len(part))
		for i, k := range part {
			reports[i] = k.report
		}
		var rows []eventRow
		err := f.tx.NewSelect().Model(&rows).Column("boot_id", "report_id", "event_table").Where("tenant = ?", f.tenant).
			Where("cause = ?", f.in.ID).Where("report_id IN (?)", bun.List(reports)).Scan(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			seen[eventKey{r.BootID, r.EventTable, r.ReportID}] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(events), func(k eventKey) bool { return seen[k] }), nil
}

// current returns the latest alert of the cause.
func (f *fold) current(ctx context.Context) (*alertRow, bool, error) {
	var rows []alertRow
	err := f.db.lock(f.tx.NewSelect().Model(&rows).Where("tenant = ?", f.tenant).Where("cause = ?", f.in.ID).
		Where("generation = ?", f.cause.Generation)).Scan(ctx)
	if err != nil || len(rows) == 0 {
		return nil, false, err
	}
	return &rows[0], true, nil
}

// span returns first and last activity of the raised alert.
func (f *fold) span() (first, last int64) {
	first, last = micros(f.in.FirstActivity), micros(f.in.LastActivity)
	for i := range f.in.Evidence {
		e := &f.in.Evidence[i]
		if _, ok := keyOf(e); !ok || e.Time.IsZero() {
			continue
		}
		if t := micros(e.Time); first == 0 || t < first {
			first = t
		}
		last = max(last, micros(e.Time))
	}
	if first == 0 {
		first = micros(f.now)
	}
	return first, max(last, first)
}

// raise puts a new alert into the queue; follows is the resolved one of the
// same cause, if any.
func (f *fold) raise(ctx context.Context, follows *alertRow) (*alertRow, error) {
	a := f.in
	id := a.ID
	if follows != nil {
		f.cause.Generation++
		_, err := f.tx.NewUpdate().Model(&f.cause).Column("generation").Where("tenant = ?", f.tenant).Where("cause = ?", a.ID).Exec(ctx)
		if err != nil {
			return nil, err
		}
	}
	if f.cause.Generation > 0 {
		sum := sha256.Sum256(fmt.Appendf(nil, "picket alert\x00%s\x00%d", a.ID, f.cause.Generation))
		id = hex.EncodeToString(sum[:16])
	}
	var techniques []string
	for _, t := range a.Techniques[:min(len(a.Techniques), maxTechniques)] {
		techniques = append(techniques, oneLine(t, maxFact))
	}
	text, err := json.Marshal(techniques)
	if err != nil {
		return nil, fmt.Errorf("techniques: %v: %w", err, picket.Internal)
	}
	first, last := f.span()
	row := &alertRow{
		Tenant: f.tenant, ID: id, Cause: a.ID, Generation: f.cause.Generation,
		DeviceID: clean(a.DeviceID, maxFact), DeviceName: oneLine(a.DeviceName, maxFact), Title: oneLine(a.Title, maxTitle),
		Description: clean(a.Description, maxText), Recommended: clean(a.Recommended, maxText),
		Severity: string(a.Severity), SeverityRank: int64(a.Severity.Rank()), Category: oneLine(a.Category, maxFact), Techniques: string(text),
		RuleID: oneLine(a.RuleID, maxFact), RuleAuthor: oneLine(a.RuleAuthor, maxFact), DetectionSource: oneLine(a.DetectionSource, maxFact),
		Status: string(picket.StatusNew), UserName: oneLine(a.User, maxFact), FirstActivity: first, LastActivity: last,
		Created: micros(f.now), ProcessGUID: clean(a.ProcessGUID, maxFact), EvidenceLost: a.EvidenceLost, Revision: 1,
	}
	if _, err := f.tx.NewInsert().Model(row).Exec(ctx); err != nil {
		return nil, err
	}
	history := []string{"Alert raised."}
	if follows != nil {
		history[0] = fmt.Sprintf("Alert raised. It follows alert %s, which was resolved at %s.", follows.ID, at(follows.Resolved).Format(time.RFC3339))
	}
	return row, f.db.comment(ctx, f.tx, f.tenant, id, f.now, "Picket", history...)
}

// grow lets an open alert take in more activity.
func (f *fold) grow(row *alertRow) error {
	a := f.in
	first, last := f.span()
	row.FirstActivity, row.LastActivity = min(row.FirstActivity, first), max(row.LastActivity, last)
	row.EvidenceLost = max(row.EvidenceLost, a.EvidenceLost)
	if rank := int64(a.Severity.Rank()); rank > row.SeverityRank {
		row.Severity, row.SeverityRank = string(a.Severity), rank
	}
	for _, x := range []struct {
		to   *string
		from string
	}{{&row.UserName, oneLine(a.User, maxFact)}, {&row.ProcessGUID, clean(a.ProcessGUID, maxFact)}} {
		if *x.to == "" {
			*x.to = x.from
		}
	}
	return nil
}

// store writes event marks, evidence and the numbers of the alert. All the
// evidence that names no event is kept when the alert is new.
func (f *fold) store(ctx context.Context, row *alertRow, fresh []eventKey, created bool) error {
	byEvent := map[eventKey][]*picket.Evidence{}
	var kept []*picket.Evidence
	for i := range f.in.Evidence {
		e := &f.in.Evidence[i]
		if k, ok := keyOf(e); ok {
			byEvent[k] = append(byEvent[k], e)
		} else if created && len(kept) < maxEvidenceEvents {
			kept = append(kept, e)
		}
	}
	marks := make([]eventRow, 0, len(fresh))
	for _, k := range fresh {
		m := eventRow{
			Tenant: f.tenant, Cause: f.in.ID, BootID: k.boot, ReportID: k.report, EventTable: k.table,
			AlertID: row.ID, DeviceID: row.DeviceID, EventTime: row.LastActivity,
		}
		if es := byEvent[k]; len(es) > 0 {
			if !es[0].Time.IsZero() {
				m.EventTime = micros(es[0].Time)
			}
			if row.EvidenceCount < maxEvidenceEvents {
				row.EvidenceCount++
				kept = append(kept, es[:min(len(es), maxEntities)]...)
			}
		}
		marks = append(marks, m)
	}
	for part := range slices.Chunk(marks, 500) {
		if _, err := f.tx.NewInsert().Model(&part).Exec(ctx); err != nil {
			return err
		}
	}
	if err := f.keep(ctx, row.ID, kept); err != nil {
		return err
	}
	row.EventCount += int64(len(fresh))
	row.Updated = max(micros(f.now), row.Updated)
	_, err := f.tx.NewUpdate().Model(row).
		Column("severity", "severity_rank", "user_name", "first_activity", "last_activity", "updated", "event_count",
			"evidence_count", "process_guid", "evidence_lost").
		Where("tenant = ?", f.tenant).Where("id = ?", row.ID).Exec(ctx)
	return err
}

// keep writes evidence behind what the alert has.
func (f *fold) keep(ctx context.Context, alert string, evidence []*picket.Evidence) error {
	if len(evidence) == 0 {
		return nil
	}
	var next int64
	err := f.tx.NewSelect().Table("alert_evidence").ColumnExpr("COALESCE(MAX(position) + 1, 0)").
		Where("tenant = ?", f.tenant).Where("alert_id = ?", alert).Scan(ctx, &next)
	if err != nil {
		return err
	}
	var rows []evidenceRow
	for i, e := range evidence {
		fields := make(map[string]string, min(len(e.Fields), maxFields))
		for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
			if len(fields) < maxFields {
				fields[clean(k, maxFact)] = clean(e.Fields[k], maxField)
			}
		}
		text, err := json.Marshal(fields)
		if err != nil {
			return fmt.Errorf("evidence: %v: %w", err, picket.Internal)
		}
		rows = append(rows, evidenceRow{
			Tenant: f.tenant, AlertID: alert, Position: next + int64(i), EntityType: oneLine(e.EntityType, maxFact), Role: oneLine(e.Role, maxFact),
			EventTime: micros(e.Time), EventTable: clean(e.Table, maxFact), ReportID: e.ReportID, BootID: clean(e.BootID, maxFact),
			ProcessGUID: clean(e.ProcessGUID, maxFact), Fields: string(text),
		})
	}
	_, err = f.tx.NewInsert().Model(&rows).Exec(ctx)
	return err
}
