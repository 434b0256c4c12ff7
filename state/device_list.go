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

// Device is a device with what the server computes about it.
type Device struct {
	picket.Device
	Health HealthState
	Risk   picket.RiskLevel
	Active picket.AlertCounts // active alerts: New and InProgress
	Host   HostIdentity
}

// HealthState is picket.HealthState; the alias keeps Device's fields short.
type HealthState = picket.HealthState

// DeviceQuery filters and orders a list of devices. Zero fields do not filter.
type DeviceQuery struct {
	Text       string // anywhere in name, id, addresses or tags
	OS         string // platform or distribution
	Health     []picket.HealthState
	Risk       []picket.RiskLevel
	Group      string
	Tag        string
	SeenSince  time.Time // heard of at or after
	Sort       string    // name (default), health, risk, os, group, firstSeen, lastSeen, internalIp, activeAlerts; "-" before: descending
	Cursor     string    // Next of the page before
	Limit      int       // 0: DefaultLimit; at most MaxLimit
	Thresholds picket.HealthThresholds
}

// DevicePage is one part of a list of devices.
type DevicePage struct {
	Items []Device
	Next  string // cursor of the next page; empty: this is the last
	Total int64  // devices that the filters match
}

// deviceSorts are the orders that the list of devices offers.
var deviceSorts = map[string]sortKey{
	"name":         {"t.name", true},
	"health":       {"CASE t.health WHEN 'Active' THEN 0 WHEN 'ImpairedCommunication' THEN 1 WHEN 'NoSensorData' THEN 2 WHEN 'Inactive' THEN 4 ELSE 3 END", false},
	"risk":         {"CASE t.risk WHEN 'High' THEN 3 WHEN 'Medium' THEN 2 WHEN 'Low' THEN 1 ELSE 0 END", false},
	"os":           {"t.os_platform || ' ' || t.os_distribution || ' ' || t.os_version", true},
	"group":        {"t.device_group", true},
	"firstSeen":    {"t.first_seen", false},
	"lastSeen":     {"t.last_seen", false},
	"internalIp":   {"t.internal_ip_key", true},
	"activeAlerts": {"t.alert_weight", false},
}

type deviceListRow struct {
	deviceRow
	LastSeen      int64
	Health        string
	Risk          string
	High          int64
	Medium        int64
	Low           int64
	Informational int64
	AlertWeight   int64
	SortText      string
	SortNum       int64
}

func (r *deviceListRow) item() (Device, error) {
	d, err := r.device()
	return Device{
		Device: d, Health: picket.HealthState(r.Health), Risk: picket.RiskLevel(r.Risk),
		Active: picket.AlertCounts{High: r.High, Medium: r.Medium, Low: r.Low, Informational: r.Informational},
		Host:   HostIdentity{MachineID: r.MachineID, HardwareUUID: r.HardwareUUID},
	}, err
}

// healthSQL is picket.Device.Health as an expression over a row of devices
// aliased d; a property test keeps the two equal.
func healthSQL(now time.Time, t picket.HealthThresholds) (string, []any) {
	if t == (picket.HealthThresholds{}) {
		t = picket.DefaultHealthThresholds
	}
	n, tel, hb, off := micros(now), t.NoTelemetry.Microseconds(), t.NoHeartbeat.Microseconds(), t.Inactive.Microseconds()
	const silent = "(? - d.last_telemetry > ? OR d.hooks_missing)"
	return `CASE
		WHEN ? - d.last_telemetry > ? AND ? - d.last_heartbeat > ? THEN 'Inactive'
		WHEN ` + silent + ` AND ? - d.last_heartbeat > ? THEN 'NoSensorDataImpairedCommunication'
		WHEN ` + silent + ` THEN 'NoSensorData'
		WHEN ? - d.last_heartbeat > ? THEN 'ImpairedCommunication'
		ELSE 'Active' END`, []any{n, off, n, off, n, tel, n, hb, n, tel, n, hb}
}

// riskSQL is picket.Risk as an expression over counts aliased c.
func riskSQL() (string, []any) {
	var b strings.Builder
	var args []any
	b.WriteString("CASE")
	for _, r := range picket.RiskRules {
		b.WriteString(" WHEN COALESCE(c.? , 0) >= ? THEN ?")
		args = append(args, bun.Ident(strings.ToLower(string(r.Severity))), r.AtLeast, string(r.Level))
	}
	b.WriteString(" ELSE ? END")
	return b.String(), append(args, string(picket.RiskNone))
}

// countColumns adds one sum per severity to a query over alerts.
func countColumns(q *bun.SelectQuery) *bun.SelectQuery {
	for _, s := range []picket.Severity{picket.High, picket.Medium, picket.Low, picket.Informational} {
		q = q.ColumnExpr("SUM(CASE WHEN severity = ? THEN 1 ELSE 0 END) AS ?", string(s), bun.Ident(strings.ToLower(string(s))))
	}
	return q
}

// deviceView is one device of a tenant, or every one when id is empty, with
// its computed columns.
func (db *DB) deviceView(tenant, id string, now time.Time, t picket.HealthThresholds) *bun.SelectQuery {
	counts := countColumns(db.r.NewSelect().Table("alerts").Column("device_id")).
		Where("tenant = ?", tenant).Where("status <> 'Resolved'").Group("device_id")
	health, healthArgs := healthSQL(now, t)
	risk, riskArgs := riskSQL()
	q := db.r.NewSelect().TableExpr("devices AS d").Where("d.tenant = ?", tenant)
	if id != "" {
		counts, q = counts.Where("device_id = ?", id), q.Where("d.id = ?", id)
	}
	q = q.ColumnExpr("d.*").
		ColumnExpr("CASE WHEN d.last_telemetry > d.last_heartbeat THEN d.last_telemetry ELSE d.last_heartbeat END AS last_seen").
		ColumnExpr(health+" AS health", healthArgs...).
		ColumnExpr(risk+" AS risk", riskArgs...)
	var weight []string
	factor := int64(1_000_000_000)
	for _, s := range []string{"high", "medium", "low", "informational"} {
		q = q.ColumnExpr("COALESCE(c.?, 0) AS ?", bun.Ident(s), bun.Ident(s))
		weight = append(weight, fmt.Sprintf("(CASE WHEN COALESCE(c.%[1]s, 0) > 999 THEN 999 ELSE COALESCE(c.%[1]s, 0) END) * %[2]d", s, factor))
		factor /= 1000
	}
	return q.ColumnExpr(strings.Join(weight, " + ")+" AS alert_weight").
		Join("LEFT JOIN (?) AS c ON c.device_id = d.id", counts)
}

// filter adds the conditions of a query over the view aliased t.
func (dq DeviceQuery) filter(q *bun.SelectQuery, tenant string) *bun.SelectQuery {
	if dq.Text != "" {
		p := contains(dq.Text)
		q = q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
			for _, col := range []string{"name", "id", "internal_ip", "external_ip"} {
				q = q.WhereOr("lower(t.?) LIKE ? ESCAPE '!'", bun.Ident(col), p)
			}
			return q.WhereOr("EXISTS (SELECT 1 FROM device_tags AS g WHERE g.tenant = ? AND g.device_id = t.id AND lower(g.tag) LIKE ? ESCAPE '!')", tenant, p)
		})
	}
	if dq.OS != "" {
		q = q.Where("(lower(t.os_platform) = ? OR lower(t.os_distribution) = ?)", strings.ToLower(clean(dq.OS, maxFact)), strings.ToLower(clean(dq.OS, maxFact)))
	}
	if len(dq.Health) > 0 {
		q = q.Where("t.health IN (?)", bun.List(dq.Health))
	}
	if len(dq.Risk) > 0 {
		q = q.Where("t.risk IN (?)", bun.List(dq.Risk))
	}
	if dq.Group != "" {
		q = q.Where("t.device_group = ?", clean(dq.Group, maxName))
	}
	if dq.Tag != "" {
		q = q.Where("EXISTS (SELECT 1 FROM device_tags AS g WHERE g.tenant = ? AND g.device_id = t.id AND g.tag = ?)", tenant, clean(dq.Tag, maxTag))
	}
	if !dq.SeenSince.IsZero() {
		q = q.Where("t.last_seen >= ?", micros(dq.SeenSince))
	}
	return q
}

// Devices lists the devices of a tenant.
func (db *DB) Devices(ctx context.Context, tenant string, dq DeviceQuery, now time.Time) (DevicePage, error) {
	p, err := newPage(deviceSorts, dq.Sort, "name", dq.Cursor, dq.Limit)
	if err != nil {
		return DevicePage{}, fmt.Errorf("list devices: %w", err)
	}
	var out DevicePage
	count := db.r.NewSelect().TableExpr("(?) AS t", db.deviceView(tenant, "", now, dq.Thresholds)).ColumnExpr("COUNT(*)")
	if err := dq.filter(count, tenant).Scan(ctx, &out.Total); err != nil {
		return DevicePage{}, fmt.Errorf("count devices: %w", fault(err))
	}
	var rows []deviceListRow
	list := db.r.NewSelect().TableExpr("(?) AS t", db.deviceView(tenant, "", now, dq.Thresholds)).ColumnExpr("t.*")
	if err := p.apply(dq.filter(list, tenant)).Scan(ctx, &rows); err != nil {
		return DevicePage{}, fmt.Errorf("list devices: %w", fault(err))
	}
	if len(rows) > p.limit {
		rows = rows[:p.limit]
		last := &rows[p.limit-1]
		out.Next = p.next(last.SortText, last.SortNum, last.ID)
	}
	for i := range rows {
		d, err := rows[i].item()
		if err != nil {
			return DevicePage{}, err
		}
		out.Items = append(out.Items, d)
	}
	return out, db.loadTags(ctx, tenant, out.Items)
}

// loadTags fills in the tags of devices.
func (db *DB) loadTags(ctx context.Context, tenant string, devices []Device) error {
	if len(devices) == 0 {
		return nil
	}
	index := make(map[string]int, len(devices))
	ids := make([]string, len(devices))
	for i := range devices {
		index[devices[i].ID], ids[i] = i, devices[i].ID
	}
	var tags []struct{ DeviceID, Tag string }
	err := db.r.NewSelect().Table("device_tags").Column("device_id", "tag").Where("tenant = ?", tenant).
		Where("device_id IN (?)", bun.List(ids)).Scan(ctx, &tags)
	if err != nil {
		return fmt.Errorf("tags: %w", fault(err))
	}
	for _, t := range tags {
		d := &devices[index[t.DeviceID]]
		d.Tags = append(d.Tags, t.Tag)
	}
	for i := range devices {
		slices.Sort(devices[i].Tags)
	}
	return nil
}

// Device returns one device. Zero thresholds mean the defaults.
func (db *DB) Device(ctx context.Context, tenant, id string, now time.Time, t picket.HealthThresholds) (Device, error) {
	if !picket.ValidDeviceID(id) {
		return Device{}, fmt.Errorf("device %.50q: %w", id, picket.NotFound)
	}
	var row deviceListRow
	err := db.r.NewSelect().TableExpr("(?) AS t", db.deviceView(tenant, id, now, t)).ColumnExpr("t.*").Scan(ctx, &row)
	if err != nil {
		return Device{}, fmt.Errorf("device %.50q: %w", id, fault(err))
	}
	d, err := row.item()
	if err != nil {
		return Device{}, err
	}
	one := []Device{d}
	err = db.loadTags(ctx, tenant, one)
	return one[0], err
}

// HealthCounts counts the devices of a tenant by state of their sensor;
// offboarded devices are left out.
func (db *DB) HealthCounts(ctx context.Context, tenant string, now time.Time, t picket.HealthThresholds) (map[picket.HealthState]int64, error) {
	var rows []struct {
		Health string
		N      int64
	}
	err := db.r.NewSelect().TableExpr("(?) AS t", db.deviceView(tenant, "", now, t).Where("NOT d.offboarded")).
		ColumnExpr("t.health AS health").ColumnExpr("COUNT(*) AS n").Group("t.health").Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("count sensors by state: %w", fault(err))
	}
	out := make(map[picket.HealthState]int64, len(rows))
	for _, r := range rows {
		out[picket.HealthState(r.Health)] = r.N
	}
	return out, nil
}
