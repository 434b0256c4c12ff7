// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// Limits of an audit entry; what is longer is cut off, never refused, so that
// no input can keep itself out of the log.
const (
	maxAuditText   = 500
	maxAuditDetail = 32
)

type auditRow struct {
	bun.BaseModel `bun:"table:audit"`
	Tenant        string `bun:"tenant,pk"`
	Seq           int64  `bun:"seq,pk"`
	At            int64
	Actor         string
	Action        string
	Target        string
	Outcome       string
	Address       string
	Detail        string
	Prev          string
	Hash          string
}

func (r *auditRow) entry() (picket.AuditEntry, error) {
	e := picket.AuditEntry{
		Tenant: r.Tenant, Seq: r.Seq, Time: at(r.At), Actor: r.Actor, Action: r.Action, Target: r.Target,
		Outcome: r.Outcome, Address: r.Address, Prev: r.Prev, Hash: r.Hash,
	}
	if err := json.Unmarshal([]byte(r.Detail), &e.Detail); err != nil {
		return e, fmt.Errorf("audit entry %d: detail: %v: %w", r.Seq, err, picket.Internal)
	}
	if len(e.Detail) == 0 {
		e.Detail = nil
	}
	return e, nil
}

// AppendAudit adds an entry to the end of a tenant's audit log and returns it
// with its number and hashes. The caller fills in time, actor, action, target,
// outcome, address and detail. Appends are serialised per tenant.
func (db *DB) AppendAudit(ctx context.Context, tenant string, e picket.AuditEntry) (picket.AuditEntry, error) {
	e.Tenant, e.Time = tenant, at(micros(e.Time))
	for _, s := range []*string{&e.Actor, &e.Action, &e.Target, &e.Outcome, &e.Address} {
		*s = clean(*s, maxAuditText)
	}
	detail := make(map[string]string, len(e.Detail))
	for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
		if len(detail) < maxAuditDetail {
			detail[clean(k, maxAuditText)] = clean(e.Detail[k], maxAuditText)
		}
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return e, fmt.Errorf("audit entry: detail: %v: %w", err, picket.Internal)
	}
	e.Detail = detail
	err = db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		seq, prev, err := db.auditHead(ctx, tx, tenant)
		if err != nil {
			return err
		}
		e.Seq, e.Prev = seq+1, prev
		e.Hash = e.Sum()
		row := &auditRow{
			Tenant: tenant, Seq: e.Seq, At: micros(e.Time), Actor: e.Actor, Action: e.Action, Target: e.Target,
			Outcome: e.Outcome, Address: e.Address, Detail: string(text), Prev: e.Prev, Hash: e.Hash,
		}
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Table("audit_heads").Set("seq = ?", e.Seq).Set("hash = ?", e.Hash).Where("tenant = ?", tenant).Exec(ctx)
		return err
	})
	if err != nil {
		return e, fmt.Errorf("append to the audit log of tenant %q: %w", tenant, err)
	}
	return e, nil
}

// auditHead returns number and hash of the last entry and holds the log of
// the tenant until the transaction ends.
func (db *DB) auditHead(ctx context.Context, tx bun.Tx, tenant string) (int64, string, error) {
	type headRow struct {
		bun.BaseModel `bun:"table:audit_heads"`
		Tenant        string `bun:"tenant,pk"`
		Seq           int64
		Hash          string
	}
	head := &headRow{Tenant: tenant, Hash: picket.AuditGenesis}
	if _, err := tx.NewInsert().Model(head).On("CONFLICT (tenant) DO NOTHING").Exec(ctx); err != nil {
		return 0, "", err
	}
	err := db.lock(tx.NewSelect().Model(head).Where("tenant = ?", tenant)).Scan(ctx)
	return head.Seq, head.Hash, err
}

// AuditQuery filters a tenant's audit log. Zero fields do not filter.
type AuditQuery struct {
	Before int64 // entries with a smaller number: the Next of the page before
	Actor  string
	Action string
	Since  time.Time
	Limit  int // 0: DefaultLimit; at most MaxLimit
}

// AuditPage is one part of an audit log, newest first.
type AuditPage struct {
	Items []picket.AuditEntry
	Next  int64 // Before of the next page; 0: this is the last
}

// Audit lists entries of a tenant's audit log, newest first.
func (db *DB) Audit(ctx context.Context, tenant string, q AuditQuery) (AuditPage, error) {
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	if q.Limit < 1 || q.Limit > MaxLimit {
		return AuditPage{}, fmt.Errorf("page of %d entries: ask for 1 to %d: %w", q.Limit, MaxLimit, picket.Invalid)
	}
	var rows []auditRow
	s := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).OrderExpr("seq DESC").Limit(int64(q.Limit) + 1)
	if q.Before > 0 {
		s = s.Where("seq < ?", q.Before)
	}
	if q.Actor != "" {
		s = s.Where("actor = ?", clean(q.Actor, maxAuditText))
	}
	if q.Action != "" {
		s = s.Where("action = ?", clean(q.Action, maxAuditText))
	}
	if !q.Since.IsZero() {
		s = s.Where("at >= ?", micros(q.Since))
	}
	if err := s.Scan(ctx); err != nil {
		return AuditPage{}, fmt.Errorf("audit log of tenant %q: %w", tenant, fault(err))
	}
	var out AuditPage
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		out.Next = rows[q.Limit-1].Seq
	}
	for i := range rows {
		e, err := rows[i].entry()
		if err != nil {
			return AuditPage{}, err
		}
		out.Items = append(out.Items, e)
	}
	return out, nil
}

// ExportAudit writes a tenant's whole audit log as JSON lines, oldest first,
// for picket.VerifyAudit. It reads in parts and does not hold up writers.
func (db *DB) ExportAudit(ctx context.Context, tenant string, w io.Writer) error {
	enc := json.NewEncoder(w)
	for last := int64(0); ; {
		var rows []auditRow
		err := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).Where("seq > ?", last).Order("seq").Limit(MaxLimit).Scan(ctx)
		if err != nil {
			return fmt.Errorf("export the audit log of tenant %q: %w", tenant, fault(err))
		}
		for i := range rows {
			e, err := rows[i].entry()
			if err != nil {
				return err
			}
			if err := enc.Encode(e); err != nil {
				return fmt.Errorf("export the audit log of tenant %q: %v: %w", tenant, err, picket.Unavailable)
			}
			last = e.Seq
		}
		if len(rows) < MaxLimit {
			return nil
		}
	}
}

// AuditHead returns number and hash of the last entry of a tenant's audit
// log; 0 and AuditGenesis for an empty one. Compared with the end of an
// export, or with a head noted earlier, it shows that nothing was cut off.
func (db *DB) AuditHead(ctx context.Context, tenant string) (int64, string, error) {
	var heads []struct {
		Seq  int64
		Hash string
	}
	err := db.r.NewSelect().Table("audit_heads").Column("seq", "hash").Where("tenant = ?", tenant).Scan(ctx, &heads)
	if err != nil {
		return 0, "", fmt.Errorf("audit head of tenant %q: %w", tenant, fault(err))
	}
	if len(heads) == 0 {
		return 0, picket.AuditGenesis, nil
	}
	return heads[0].Seq, heads[0].Hash, nil
}
