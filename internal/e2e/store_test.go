// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/picket-edr/picket/bench"
	"github.com/picket-edr/picket/store/duckdb"
)

// history is what a stopped server's store holds.
type history struct {
	t *testing.T
	s *duckdb.Store
}

// open opens the store of a stopped server.
func open(t *testing.T, s *bench.Server) *history {
	t.Helper()
	ev, err := duckdb.Open(context.Background(), duckdb.Options{Dir: filepath.Join(s.Data, "events", "default"), MemoryMB: 1024, Threads: 2, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ev.Close() })
	return &history{t, ev}
}

func (h *history) number(query string, args ...any) (n int64) {
	h.t.Helper()
	rows, err := h.s.Query(context.Background(), query, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		h.t.Fatalf("%s: no row", query)
	}
	if err := rows.Scan(&n); err != nil {
		h.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// missing sums the batches that the server knows it never got.
func (h *history) missing() (n int64) {
	h.t.Helper()
	rows, err := h.s.Query(context.Background(), `SELECT "AdditionalFields" FROM events WHERE "ActionType" = 'SensorGap'`)
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			h.t.Fatal(err)
		}
		var f struct{ Lost struct{ Batches int64 } }
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			h.t.Fatal(err)
		}
		n += f.Lost.Batches
	}
	return n
}

// causal checks that no process does anything before it starts, in the order
// of the numbers of rows and in that of batches. One that ran before the
// sensor did has no start, but may become another program.
func (h *history) causal() {
	h.t.Helper()
	for _, order := range []string{`"ReportId"`, `"BatchSequence"`} {
		with := `WITH start AS (
			SELECT "DeviceId", "BootId", "ProcessUniqueId" AS id, min(` + order + `) AS at FROM events WHERE "ActionType" IN ('ProcessCreated', 'ProcessFound')
			GROUP BY 1, 2, 3 HAVING NOT bool_or("ActionType" = 'ProcessFound')
		) SELECT count(*) FROM events AS deed JOIN start ON deed."DeviceId" = start."DeviceId" AND deed."BootId" = start."BootId" AND deed."InitiatingProcessUniqueId" = start.id`
		if n := h.number(with + ` WHERE deed.` + order + ` < start.at`); n != 0 {
			h.t.Errorf("%d deeds come before the start of their process in the order of %s", n, order)
		}
		if h.number(with) == 0 {
			h.t.Error("no process did anything: nothing is checked")
		}
	}
}

// whole checks that every batch is there once or is known to be missing, and
// that no event is there twice.
func (h *history) whole() {
	h.t.Helper()
	rows := h.number(`SELECT count(*) FROM events WHERE "BatchSequence" > 0`) // the rest is the server's own
	if n := h.number(`SELECT count(DISTINCT ("DeviceId", "BootId", "BatchSequence", "RowIndex")) FROM events WHERE "BatchSequence" > 0`); n != rows {
		h.t.Errorf("%d rows, %d different ones: batches are stored twice", rows, n)
	}
	numbered := h.number(`SELECT count(*) FROM events WHERE "ReportId" IS NOT NULL`)
	if n := h.number(`SELECT count(DISTINCT ("DeviceId", "BootId", "ReportId")) FROM events WHERE "ReportId" IS NOT NULL`); n != numbered {
		h.t.Errorf("%d numbered events, %d different ones: events are stored twice", numbered, n)
	}
	absent := h.number(`SELECT coalesce(sum(last - n), 0)::BIGINT FROM (SELECT max("BatchSequence") AS last, count(DISTINCT "BatchSequence") AS n FROM events WHERE "BatchSequence" > 0 GROUP BY "DeviceId", "BootId")`)
	if known := h.missing(); absent != known {
		h.t.Errorf("%d batches are not there, %d are known to be missing", absent, known)
	}
	h.t.Logf("%d events stored once, %d batches known to be missing", rows, absent)
}
