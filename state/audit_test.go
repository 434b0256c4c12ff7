// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"bytes"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

func TestAudit(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		e := picket.AuditEntry{
			Time: now, Actor: "admin", Action: "session.create", Target: "session", Outcome: picket.AuditSuccess,
			Address: "192.0.2.7", Detail: map[string]string{"agent": "it's <b> ? \x00\xff", "b": "2"},
		}
		first := got(db.AppendAudit(ctx, ours, e))(t)
		if first.Seq != 1 || first.Prev != picket.AuditGenesis || first.Hash != first.Sum() {
			t.Errorf("first entry %+v", first)
		}
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				e := picket.AuditEntry{Time: now.Add(time.Duration(i) * time.Second), Actor: "worker", Action: "x", Outcome: picket.AuditDenied}
				if _, err := db.AppendAudit(ctx, ours, e); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got(db.AppendAudit(ctx, theirs, picket.AuditEntry{Actor: strings.Repeat("x", 9999)}))(t)

		var export bytes.Buffer
		ok(t, db.ExportAudit(ctx, ours, &export))
		rep := got(picket.VerifyAudit(bytes.NewReader(export.Bytes())))(t)
		seq, head, err := db.AuditHead(ctx, ours)
		ok(t, err)
		if want := (picket.AuditReport{Tenant: ours, Entries: 11, First: 1, Last: seq, Head: head}); rep != want {
			t.Errorf("report %+v, want %+v", rep, want)
		}
		_, err = picket.VerifyAudit(strings.NewReader(strings.Replace(export.String(), "worker", "walker", 1)))
		kind(t, "changed export", err, picket.Conflict)

		page := got(db.Audit(ctx, ours, state.AuditQuery{Limit: 4}))(t)
		rest := got(db.Audit(ctx, ours, state.AuditQuery{Limit: 100, Before: page.Next}))(t)
		if len(page.Items) != 4 || page.Items[0].Seq != 11 || len(rest.Items) != 7 || rest.Next != 0 {
			t.Errorf("pages of %d and %d entries, next %d", len(page.Items), len(rest.Items), rest.Next)
		}
		if diff := cmp.Diff(first, rest.Items[6]); diff != "" {
			t.Error(diff)
		}
		only := got(db.Audit(ctx, ours, state.AuditQuery{Actor: "worker", Action: "x", Since: now.Add(8 * time.Second)}))(t)
		if len(only.Items) != 2 {
			t.Errorf("%d filtered entries, want 2", len(only.Items))
		}
		if other := got(db.Audit(ctx, theirs, state.AuditQuery{}))(t); len(other.Items) != 1 || other.Items[0].Seq != 1 {
			t.Errorf("other tenant: %+v", other.Items)
		}
		_, err = db.Audit(ctx, ours, state.AuditQuery{Limit: -1})
		kind(t, "limit", err, picket.Invalid)
		_, err = db.AppendAudit(ctx, "nobody", e)
		kind(t, "no tenant", err, picket.NotFound)
		if seq, head, err := db.AuditHead(ctx, "nobody"); err != nil || seq != 0 || head != picket.AuditGenesis {
			t.Errorf("head of an empty log: %d %s %v", seq, head, err)
		}
	})
}

func TestAuditIsAppendOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ driver, url string }{{"sqlite", sqliteURL(t)}, {"pgx", "postgres"}} {
		t.Run(c.driver, func(t *testing.T) {
			t.Parallel()
			if c.url == "postgres" {
				c.url = server.database(t)
			}
			db := open(t, c.url)
			got(db.AppendAudit(t.Context(), ours, picket.AuditEntry{Time: now, Actor: "a"}))(t)
			raw, err := sql.Open(c.driver, strings.TrimPrefix(c.url, "sqlite:"))
			ok(t, err)
			defer raw.Close()
			for _, q := range []string{"UPDATE audit SET actor = 'eve'", "DELETE FROM audit"} {
				if _, err := raw.Exec(q); err == nil || !strings.Contains(err.Error(), "append-only") {
					t.Errorf("%s: error %v", q, err)
				}
			}
		})
	}
}

func TestExportPages(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteURL(t))
	const n = state.MaxLimit + 3
	for range n {
		got(db.AppendAudit(t.Context(), ours, picket.AuditEntry{Time: now, Actor: "a"}))(t)
	}
	var export bytes.Buffer
	ok(t, db.ExportAudit(t.Context(), ours, &export))
	if rep := got(picket.VerifyAudit(&export))(t); rep.Entries != n {
		t.Errorf("%d entries exported, want %d", rep.Entries, n)
	}
}
