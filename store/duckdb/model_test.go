// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
	"github.com/picket-edr/picket/store/storetest"
)

// TestAnyOrderStoresOnce appends, repeats, seals, compacts, crashes and opens
// again in any order. A reader of the bus that starts where the store says
// must always find every batch stored once.
func TestAnyOrderStoresOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("opens many stores")
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("20"); err != nil { // each opens the store several times
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set(f.DefValue) }()
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		s := open(t, dir)
		var bus []store.Delivery // position i+1
		rows := map[string]int{} // of stored batches, by boot and number
		last := map[string]uint64{}
		given := 0
		give := func() {
			for ; given < len(bus); given++ {
				put(t, s, bus[given])
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				boot := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "boot")
				seq := last[boot] + uint64(rapid.IntRange(-1, 2).Draw(rt, "step"))
				if seq == 0 || seq > 1<<40 {
					seq = 1
				}
				n := rapid.IntRange(0, 5).Draw(rt, "rows")
				bus = append(bus, storetest.Delivery(uint64(len(bus)+1), boot, seq, n))
				if seq > last[boot] {
					last[boot], rows[fmt.Sprint(boot, seq)] = seq, n
				}
				give()
			},
			"seal":    func(*rapid.T) { seal(t, s) },
			"compact": func(*rapid.T) { mergeAll(t, s) },
			"crash": func(*rapid.T) {
				crash(s)
				s = open(t, dir)
				given = int(s.Sealed().Sequence)
				give()
			},
			"": func(rt *rapid.T) {
				total := 0
				for _, n := range rows {
					total += n
				}
				if got := count(t, s, "true"); got != total {
					rt.Fatalf("%d rows, want %d", got, total)
				}
			},
		})
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// mergeAll merges all files of a day, worth it or not.
func mergeAll(t *testing.T, s *Store) {
	t.Helper()
	byDay := map[int64][]file{}
	for _, f := range s.versions.current().manifest.Files {
		byDay[f.day()] = append(byDay[f.day()], f)
	}
	for _, files := range byDay {
		if err := s.mergeFiles(context.Background(), s.engine, files); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPlanIsThrifty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var files []file
		written, came := int64(0), int64(0)
		sizes := rapid.SliceOfN(rapid.Int64Range(1, 200_000), 1, 300).Draw(rt, "sizes")
		for i, n := range sizes {
			files = append(files, file{Name: fmt.Sprint(i), Rows: n})
			came += n
			for {
				chosen := plan(files, openFiles, mergeRows)
				if chosen == nil {
					break
				}
				merged := file{Name: fmt.Sprint("m", i, len(files))}
				for _, f := range chosen {
					if f.Rows >= mergeRows/2 {
						rt.Fatalf("a full file of %d rows is written again", f.Rows)
					}
					merged.Rows += f.Rows
					files = slices.DeleteFunc(files, func(x file) bool { return x.Name == f.Name })
				}
				if merged.Rows > mergeRows || len(chosen) < openFiles {
					rt.Fatalf("%d files make %d rows", len(chosen), merged.Rows)
				}
				written += merged.Rows
				files = append(files, merged)
			}
		}
		if written > 6*came {
			rt.Fatalf("%d rows came, %d were written", came, written)
		}
		if most := 40 + int(2*came/mergeRows); len(files) > most {
			rt.Fatalf("%d files for %d rows", len(files), came)
		}
	})
}

func TestTrickleOfLateRowsLeavesBigFilesAlone(t *testing.T) {
	t.Parallel()
	files := []file{{Name: "day", Rows: 500_000}}
	big := 0
	for i := range 500 {
		files = append(files, file{Name: fmt.Sprint(i), Rows: 50})
		for chosen := plan(files, 2, mergeRows); chosen != nil; chosen = plan(files, 2, mergeRows) {
			m := file{Name: fmt.Sprint("m", i)}
			for _, f := range chosen {
				m.Rows += f.Rows
				if f.Rows >= 500_000 {
					big++
				}
				files = slices.DeleteFunc(files, func(x file) bool { return x.Name == f.Name })
			}
			files = append(files, m)
		}
	}
	if big > 0 {
		t.Errorf("the day's file was written again %d times for 25,000 late rows", big)
	}
	if len(files) > 8 {
		t.Errorf("%d files", len(files))
	}
}

func TestLateRowsGoToTheirDays(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	received := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for i := range 40 {
		var b event.Builder
		b.Add(&event.DeviceInfo{Timestamp: event.TimeOf(received.AddDate(0, 0, -i)), ReportId: int64(i + 1)})
		env := event.Envelope{DeviceID: "d", Received: event.TimeOf(received), BootID: "b", Seq: uint64(i + 1)}
		put(t, s, store.Delivery{Position: store.Position{Epoch: epoch, Sequence: uint64(i + 1)}, Envelope: env, Batch: &event.Batch{Blocks: b.Take()}})
	}
	seal(t, s)
	m := s.versions.current().manifest
	if len(m.Files) != sealDays {
		t.Errorf("%d files, want %d", len(m.Files), sealDays)
	}
	total := int64(0)
	for i, f := range m.Files {
		total += f.Rows
		if i < sealDays-1 && (f.Rows != 1 || !strings.HasPrefix(f.Name, received.AddDate(0, 0, -i).Format(time.DateOnly)) || floorDay(f.Min) != floorDay(f.Max)) {
			t.Errorf("file %d: %+v", i, f)
		}
	}
	if total != 40 {
		t.Errorf("%d rows in files", total)
	}
	if err := s.Expire(context.Background(), received.AddDate(0, 0, -20)); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, "true"); got != 40 {
		t.Errorf("%d rows: old rows that share a file with younger ones stay until all are old", got)
	}
	if err := s.Expire(context.Background(), received.AddDate(0, 0, -14)); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, "true"); got != 15 {
		t.Errorf("%d rows, want 15", got)
	}
}

func TestBootsAreForgottenOldestFirst(t *testing.T) {
	t.Parallel()
	b := bootMap{}
	b.seen("d", "steady", 1000, 1)
	for i := range uint64(100) {
		if b.seen("d", fmt.Sprint("boot", i), 1, 10+2*i) {
			t.Fatal("a new boot is no repeat")
		}
		if b.seen("d", "steady", 1001+i, 11+2*i) {
			t.Fatal("a boot that still sends is forgotten")
		}
	}
	if len(b["d"]) != bootsKept {
		t.Errorf("%d boots, want %d", len(b["d"]), bootsKept)
	}
	if !b.seen("d", "boot99", 1, 999) || !b.seen("d", "steady", 1050, 999) {
		t.Error("repeats of recent boots must be known")
	}
	b.restart()
	b.seen("d", "new epoch", 1, 1)
	for i := range uint64(bootsKept - 1) {
		b.seen("d", fmt.Sprint("more", i), 1, 2+i)
	}
	if _, ok := b["d"]["new epoch"]; !ok {
		t.Error("boots of the new epoch are older than those of the old one")
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"SELECT 1":                            "WITH E SELECT 1",
		"  select\n1 ":                        "WITH E select\n1",
		"FROM x":                              "WITH E FROM x",
		"with a as (select 1) select 2":       "WITH E, a as (select 1) select 2",
		"WITH\n\tRECURSIVE\n a AS (b) SELECT": "WITH RECURSIVE E, a AS (b) SELECT",
		"WITH recursively AS (x) SELECT":      "WITH E, recursively AS (x) SELECT",
	} {
		head, rest, err := split(in)
		if got := head + "E" + rest; err != nil || got != want {
			t.Errorf("%q: %q, want %q (%v)", in, got, want, err)
		}
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	all := physical([]schema.Column{{Name: "Timestamp"}, {Name: "FileName"}, {Name: "FolderPath"}})
	for q, want := range map[string]int{
		`SELECT count(*) FROM events`:                             1,
		`SELECT filename FROM events`:                             2,
		`SELECT "InitiatingProcessFileName" FROM events`:          2, // more than needed does no harm
		`SELECT max("RowIndex") FROM events WHERE FolderPath = ?`: 3,
		`SELECT * FROM events`:                                    5,
		`SELECT e.* FROM events e`:                                5,
		`SELECT COLUMNS('x') FROM events`:                         5,
		` from events`:                                            5,
		`SELECT 1 FROM events NATURAL JOIN x`:                     5,
	} {
		if got := named(all, q); len(got) != want {
			t.Errorf("%s: %v, want %d columns", q, got, want)
		}
	}
}

func TestOnlyFilesOfTheSpanAreRead(t *testing.T) {
	t.Parallel()
	day := func(n int) int64 { return int64(n) * dayMicros }
	v := &version{tables: []table{{name: "t1", columns: []schema.Column{{Name: "TableName"}}}}, manifest: &manifest{Sets: [][]string{{"A", "TableName"}, {"B", "TableName"}}}}
	for i := range 10 {
		v.manifest.Files = append(v.manifest.Files, file{Name: fmt.Sprint("f", i), Set: i % 2, Min: day(i), Max: day(i+1) - 1})
	}
	at := func(n int) time.Time { return time.UnixMicro(day(n)).UTC() }
	for what, c := range map[string]struct {
		w    store.Between
		want []string
	}{
		"none":    {store.Between{From: at(20)}, nil},
		"one":     {store.Between{From: at(3), To: at(3).Add(time.Hour)}, []string{"f3"}},
		"edge":    {store.Between{From: at(3), To: at(4)}, []string{"f4", "f3"}},
		"up to":   {store.Between{To: at(1)}, []string{"f0", "f1"}},
		"no ends": {store.Between{}, []string{"f0", "f2", "f4", "f6", "f8", "f1", "f3", "f5", "f7", "f9"}},
	} {
		var got []string
		for _, s := range v.sources("/d", c.w)[1:] {
			for _, part := range strings.Split(s.from, "'") {
				if strings.HasPrefix(part, "/d/") {
					got = append(got, filepath.Base(part))
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	text := v.prelude("/d", []schema.Column{{Name: "TableName"}, {Name: "A"}, {Name: "C", Type: schema.Long}}, "SELECT 1 FROM deviceinfo", store.Between{})
	if !strings.Contains(text, `"DeviceInfo" AS`) || strings.Contains(text, `"DeviceEvents" AS`) || strings.Count(text, `CAST(NULL AS BIGINT) AS "C"`) != 3 {
		t.Error(text)
	}
}

func TestTextLimit(t *testing.T) {
	t.Parallel()
	column := func(n, each int) *event.Batch {
		s := make([]string, n)
		for i := range s {
			s[i] = strings.Repeat("x", each)
		}
		return &event.Batch{Blocks: []*event.Block{{Rows: n, Columns: []event.Column{{Strings: s}}}}}
	}
	for _, c := range []struct{ rows, each, limit int }{{10, 100, 1 << 20}, {64, 1 << 20, 1 << 20}, {65, 1 << 20, 1 << 19}, {1, 2 << 20, 1 << 20}} {
		limit, size := textLimit(column(c.rows, c.each))
		if limit != c.limit || size > textBudget || size != int64(c.rows*min(c.each, limit)) {
			t.Errorf("%d texts of %d: limit %d, size %d", c.rows, c.each, limit, size)
		}
	}
}
