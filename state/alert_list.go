// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// AlertQuery filters and orders the alerts queue. Zero fields do not filter.
type AlertQuery struct {
	Text        string // anywhere in title, device, user, category, rule or id
	Status      []picket.AlertStatus
	Severity    []picket.Severity
	Category    []string
	Source      []string
	DeviceID    string
	User        string    // part of the account's name
	AssignedTo  *string   // "": not assigned
	ActiveSince time.Time // last activity at or after
	ActiveUntil time.Time // first activity before
	Sort        string    // lastActivity (default, descending), firstActivity, created, severity, status, title, device, user, category, source, assignedTo, count
	Cursor      string    // Next of the page before
	Limit       int       // 0: DefaultLimit; at most MaxLimit
}

// AlertPage is one part of the alerts queue.
type AlertPage struct {
	Items []Alert // without evidence and history
	Next  string  // cursor of the next page; empty: this is the last
	Total int64   // alerts that the filters match
}

// alertSorts are the orders that the alerts queue offers.
var alertSorts = map[string]sortKey{
	"lastActivity":  {"t.last_activity", false},
	"firstActivity": {"t.first_activity", false},
	"created":       {"t.created", false},
	"severity":      {"t.severity_rank", false},
	"status":        {"t.status_rank", false},
	"count":         {"t.event_count", false},
	"title":         {"t.title", true},
	"device":        {"t.device_name", true},
	"user":          {"t.user_name", true},
	"category":      {"t.category", true},
	"source":        {"t.detection_source", true},
	"assignedTo":    {"t.assigned_to", true},
}

// filter adds the conditions of a query over alerts aliased t.
func (aq AlertQuery) filter(q *bun.SelectQuery, tenant string) *bun.SelectQuery {
	q = q.Where("t.tenant = ?", tenant)
	if aq.Text != "" {
		p := contains(aq.Text)
		q = q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
			for _, col := range []string{"title", "device_name", "user_name", "category", "rule_id", "id"} {
				q = q.WhereOr("lower(t.?) LIKE ? ESCAPE '!'", bun.Ident(col), p)
			}
			return q
		})
	}
	if len(aq.Status) > 0 {
		q = q.Where("t.status IN (?)", bun.List(aq.Status))
	}
	if len(aq.Severity) > 0 {
		q = q.Where("t.severity IN (?)", bun.List(aq.Severity))
	}
	if len(aq.Category) > 0 {
		q = q.Where("t.category IN (?)", bun.List(cleanAll(aq.Category)))
	}
	if len(aq.Source) > 0 {
		q = q.Where("t.detection_source IN (?)", bun.List(cleanAll(aq.Source)))
	}
	if aq.DeviceID != "" {
		q = q.Where("t.device_id = ?", clean(aq.DeviceID, maxFact))
	}
	if aq.User != "" {
		q = q.Where("lower(t.user_name) LIKE ? ESCAPE '!'", contains(aq.User))
	}
	if aq.AssignedTo != nil {
		q = q.Where("t.assigned_to = ?", clean(*aq.AssignedTo, maxFact))
	}
	if !aq.ActiveSince.IsZero() {
		q = q.Where("t.last_activity >= ?", micros(aq.ActiveSince))
	}
	if !aq.ActiveUntil.IsZero() {
		q = q.Where("t.first_activity < ?", micros(aq.ActiveUntil))
	}
	return q
}

func cleanAll(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = clean(s, maxFact)
	}
	return out
}

// Alerts lists the alerts of a tenant.
func (db *DB) Alerts(ctx context.Context, tenant string, aq AlertQuery) (AlertPage, error) {
	p, err := newPage(alertSorts, aq.Sort, "-lastActivity", aq.Cursor, aq.Limit)
	if err != nil {
		return AlertPage{}, fmt.Errorf("list alerts: %w", err)
	}
	var out AlertPage
	count := aq.filter(db.r.NewSelect().TableExpr("alerts AS t").ColumnExpr("COUNT(*)"), tenant)
	if err := count.Scan(ctx, &out.Total); err != nil {
		return AlertPage{}, fmt.Errorf("count alerts: %w", fault(err))
	}
	var rows []struct {
		alertRow
		SortText string
		SortNum  int64
	}
	list := aq.filter(db.r.NewSelect().TableExpr("alerts AS t").ColumnExpr("t.*"), tenant)
	if err := p.apply(list).Scan(ctx, &rows); err != nil {
		return AlertPage{}, fmt.Errorf("list alerts: %w", fault(err))
	}
	if len(rows) > p.limit {
		rows = rows[:p.limit]
		last := &rows[p.limit-1]
		out.Next = p.next(last.SortText, last.SortNum, last.ID)
	}
	for i := range rows {
		a, err := rows[i].alert()
		if err != nil {
			return AlertPage{}, err
		}
		out.Items = append(out.Items, a)
	}
	return out, nil
}

// AlertRef names an alert beside the event or process that it is about.
type AlertRef struct {
	ID       string
	Title    string
	Severity picket.Severity
	Status   picket.AlertStatus
}

// EventRef names an event of a device.
type EventRef struct {
	BootID   string
	ReportID int64
}

// Detection is one event of a device that an alert rests on.
type Detection struct {
	EventRef
	Table string
	Time  time.Time
	Alert AlertRef
}

type detectionRow struct {
	BootID     string
	ReportID   int64
	EventTable string
	EventTime  int64
	ID         string
	Title      string
	Severity   string
	Status     string
}

func (r *detectionRow) detection() Detection {
	return Detection{
		EventRef: EventRef{BootID: r.BootID, ReportID: r.ReportID}, Table: r.EventTable, Time: at(r.EventTime),
		Alert: AlertRef{ID: r.ID, Title: r.Title, Severity: picket.Severity(r.Severity), Status: picket.AlertStatus(r.Status)},
	}
}

// detections is a query over the event marks of a device with their alerts.
func (db *DB) detections(tenant, deviceID string) *bun.SelectQuery {
	return db.r.NewSelect().TableExpr("alert_events AS e").
		ColumnExpr("e.boot_id, e.report_id, e.event_table, e.event_time, a.id, a.title, a.severity, a.status").
		Join("JOIN alerts AS a ON a.tenant = e.tenant AND a.id = e.alert_id").
		Where("e.tenant = ?", tenant).Where("e.device_id = ?", deviceID).Where("e.boot_id <> ''")
}

// AlertsOfEvents returns the alerts that rest on given events of a device, to
// mark a part of its timeline.
func (db *DB) AlertsOfEvents(ctx context.Context, tenant, deviceID string, events []EventRef) (map[EventRef][]AlertRef, error) {
	byBoot := map[string][]int64{}
	for _, e := range events {
		boot := clean(e.BootID, maxFact)
		byBoot[boot] = append(byBoot[boot], e.ReportID)
	}
	out := map[EventRef][]AlertRef{}
	for boot, reports := range byBoot {
		for part := range slices.Chunk(reports, 1000) {
			var rows []detectionRow
			err := db.detections(tenant, deviceID).Where("e.boot_id = ?", boot).Where("e.report_id IN (?)", bun.List(part)).
				OrderExpr("a.severity_rank DESC, a.id").Scan(ctx, &rows)
			if err != nil {
				return nil, fmt.Errorf("alerts of events: %w", fault(err))
			}
			for i := range rows {
				d := rows[i].detection()
				out[d.EventRef] = append(out[d.EventRef], d.Alert)
			}
		}
	}
	return out, nil
}

// Detections lists the events of a device in [from, to) that alerts rest on,
// newest first.
func (db *DB) Detections(ctx context.Context, tenant, deviceID string, from, to time.Time, limit int) ([]Detection, error) {
	if limit < 1 || limit > 10*MaxLimit {
		return nil, fmt.Errorf("%d detections: ask for 1 to %d: %w", limit, 10*MaxLimit, picket.Invalid)
	}
	var rows []detectionRow
	err := db.detections(tenant, deviceID).Where("e.event_time >= ?", micros(from)).Where("e.event_time < ?", micros(to)).
		OrderExpr("e.event_time DESC, e.report_id DESC, a.id").Limit(int64(limit)).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("detections: %w", fault(err))
	}
	out := make([]Detection, len(rows))
	for i := range rows {
		out[i] = rows[i].detection()
	}
	return out, nil
}

// AlertsOfProcesses returns the alerts about given processes of a device: as
// the centre of the story or as kept evidence.
func (db *DB) AlertsOfProcesses(ctx context.Context, tenant, deviceID string, guids []string) (map[string][]AlertRef, error) {
	out := map[string][]AlertRef{}
	for part := range slices.Chunk(cleanAll(guids), 1000) {
		var rows []struct {
			GUID     string
			ID       string
			Title    string
			Severity string
			Status   string
		}
		centre := db.r.NewSelect().TableExpr("alerts AS a").ColumnExpr("a.process_guid AS guid, a.id, a.title, a.severity, a.status, a.severity_rank").
			Where("a.tenant = ?", tenant).Where("a.device_id = ?", deviceID).Where("a.process_guid IN (?)", bun.List(part))
		evidence := db.r.NewSelect().TableExpr("alert_evidence AS e").ColumnExpr("e.process_guid AS guid, a.id, a.title, a.severity, a.status, a.severity_rank").
			Join("JOIN alerts AS a ON a.tenant = e.tenant AND a.id = e.alert_id").
			Where("e.tenant = ?", tenant).Where("a.device_id = ?", deviceID).Where("e.process_guid IN (?)", bun.List(part)).
			Where("e.role <> 'Related'") // ancestors and the like are the scene, not the deed
		err := db.r.NewSelect().TableExpr("(? UNION ?) AS t", centre, evidence).Column("guid", "id", "title", "severity", "status").
			OrderExpr("t.severity_rank DESC, t.id").Scan(ctx, &rows)
		if err != nil {
			return nil, fmt.Errorf("alerts of processes: %w", fault(err))
		}
		for _, r := range rows {
			out[r.GUID] = append(out[r.GUID], AlertRef{ID: r.ID, Title: r.Title, Severity: picket.Severity(r.Severity), Status: picket.AlertStatus(r.Status)})
		}
	}
	return out, nil
}
