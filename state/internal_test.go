// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/picket-edr/picket"
)

func FuzzParseCursor(f *testing.F) {
	f.Add(cursor{Sort: "-lastActivity", Num: 7, ID: "a"}.String())
	f.Add(cursor{Sort: "name", Text: "host", ID: "a"}.String())
	f.Add("e30")
	f.Add("{")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCursor(s)
		if err != nil {
			if picket.Kind(err) != picket.Invalid {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := parseCursor(c.String())
		if err != nil || again != c {
			t.Errorf("%+v comes back as %+v, %v", c, again, err)
		}
	})
}

func TestClean(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "s"))
		limit := rapid.IntRange(0, 20).Draw(t, "limit")
		for _, got := range []string{clean(s, limit), oneLine(s, limit)} {
			if len(got) > limit || !utf8.ValidString(got) || slices.Contains([]byte(got), 0) {
				t.Fatalf("%q", got)
			}
		}
	})
}

func TestAddressKeyOrder(t *testing.T) {
	t.Parallel()
	in := []string{"9.0.0.1", "10.0.0.9", "10.0.0.10", "192.168.1.1", "2001:db8::1", "fe80::1", "", "host"}
	keys := make([]string, len(in))
	for i, s := range in {
		keys[i] = addressKey(s)
	}
	if !slices.IsSorted(keys) {
		t.Errorf("order of %q is not that of addresses", keys)
	}
}

func TestFault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err, want error
	}{
		{sql.ErrNoRows, picket.NotFound},
		{context.DeadlineExceeded, picket.Canceled},
		{sql.ErrConnDone, picket.Unavailable},
		{errors.New("odd"), picket.Internal},
		{fmt.Errorf("x: %w", picket.Denied), picket.Denied},
		{&pgconn.PgError{Code: "23505"}, picket.Conflict},
		{&pgconn.PgError{Code: "23503"}, picket.NotFound},
		{&pgconn.PgError{Code: "22021"}, picket.Invalid},
		{&pgconn.PgError{Code: "57P01"}, picket.Unavailable},
		{&pgconn.PgError{Code: "53300"}, picket.Unavailable},
		{&pgconn.PgError{Code: "40P01"}, picket.Unavailable},
		{&pgconn.PgError{Code: "42601"}, picket.Internal},
	} {
		if got := picket.Kind(fault(c.err)); got != c.want {
			t.Errorf("%v is %v, want %v", c.err, got, c.want)
		}
	}
	for code, want := range map[int]error{
		787: picket.NotFound, 2067: picket.Conflict, 1555: picket.Conflict, 5: picket.Unavailable, 517: picket.Unavailable,
		13: picket.Unavailable, 10: picket.Unavailable, 266: picket.Unavailable, 1: picket.Internal, 11: picket.Internal,
	} {
		if got := liteKind(code); got != want {
			t.Errorf("SQLite code %d is %v, want %v", code, got, want)
		}
	}
	if fault(nil) != nil {
		t.Error("no error is one")
	}
}

func TestNewPage(t *testing.T) {
	t.Parallel()
	keys := map[string]sortKey{"name": {"t.name", true}}
	for _, c := range []struct {
		order, from string
		limit       int
		kind        error
	}{
		{"", "", 0, nil},
		{"-name", cursor{Sort: "-name", ID: "x"}.String(), MaxLimit, nil},
		{"name", cursor{Sort: "-name", ID: "x"}.String(), 1, picket.Invalid},
		{"--name", "", 1, picket.Invalid},
		{"t.name", "", 1, picket.Invalid},
		{"name", "?", 1, picket.Invalid},
		{"name", strings.Repeat("a", 5000), 1, picket.Invalid},
		{"name", "", MaxLimit + 1, picket.Invalid},
		{"name", "", -1, picket.Invalid},
	} {
		p, err := newPage(keys, c.order, "name", c.from, c.limit)
		if !errors.Is(err, c.kind) {
			t.Errorf("%+v: error %v", c, err)
		}
		if err == nil && (p.limit < 1 || (c.from != "") != (p.from != nil)) {
			t.Errorf("%+v: page %+v", c, p)
		}
	}
}

// TestUpdateAlertRow checks every pair of changes to an alert against the
// rules of the queue.
func TestUpdateAlertRow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		row := &alertRow{Status: string(picket.StatusNew), Revision: 1}
		now := time.Unix(1_800_000_000, 0)
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			now = now.Add(time.Second)
			var u AlertUpdate
			if rapid.Bool().Draw(t, "status") {
				v := rapid.SampledFrom([]picket.AlertStatus{picket.StatusNew, picket.StatusInProgress, picket.StatusResolved}).Draw(t, "to")
				u.Status = &v
			}
			if rapid.Bool().Draw(t, "classification") {
				v := rapid.SampledFrom([]picket.Classification{"", picket.TruePositive, picket.FalsePositive}).Draw(t, "to")
				u.Classification = &v
			}
			if rapid.Bool().Draw(t, "determination") {
				v := rapid.SampledFrom(append([]string{""}, Determinations...)).Draw(t, "to")
				u.Determination = &v
			}
			if err := u.check(); err != nil {
				t.Fatal(err)
			}
			next := *row
			history, err := u.apply(&next, now)
			if err != nil {
				if picket.Kind(err) != picket.Invalid {
					t.Fatal(err)
				}
				continue // nothing is stored
			}
			if next.Determination != "" && next.Classification != string(picket.TruePositive) {
				t.Fatalf("%s alert with determination %s", next.Classification, next.Determination)
			}
			if (next.Resolved != 0) != (next.Status == string(picket.StatusResolved)) || next.StatusRank != statusRank(picket.AlertStatus(next.Status)) {
				t.Fatalf("status %s (%d), resolved %d", next.Status, next.StatusRank, next.Resolved)
			}
			changed := next.Status != row.Status || next.Classification != row.Classification || next.Determination != row.Determination
			if changed != (len(history) > 0) || changed != (next.Revision == row.Revision+1) {
				t.Fatalf("changed %v, history %q, revision %d after %d", changed, history, next.Revision, row.Revision)
			}
			row = &next
		}
	})
}

func TestHealthReportBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		row := &deviceRow{Lost: "{}", RunLost: "{}", Hooks: "[]"}
		var most map[string]int64
		for range rapid.IntRange(1, 6).Draw(t, "reports") {
			h := DeviceHealth{
				Run:  rapid.Uint64Range(0, 2).Draw(t, "run"),
				Lost: rapid.MapOf(rapid.SampledFrom([]string{"a", "b", "c\x00", " c"}), rapid.Uint64()).Draw(t, "lost"),
			}
			if err := h.apply(row); err != nil {
				t.Fatal(err)
			}
			var lost map[string]int64
			if err := json.Unmarshal([]byte(row.Lost), &lost); err != nil {
				t.Fatal(err)
			}
			for class, n := range most {
				if lost[class] < n {
					t.Fatalf("%s went from %d to %d", class, n, lost[class])
				}
			}
			most = lost
		}
	})
}
