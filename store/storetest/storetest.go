// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
)

// Epoch of all positions in the suite.
const Epoch = "epoch"

// DeviceID is the device of deliveries that Delivery makes.
const DeviceID = "0123456789abcdef0123456789abcdef01234567"

var start = event.TimeOf(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC))

// Delivery makes batch number seq of boot, at stream position pos, of n rows.
func Delivery(pos uint64, boot string, seq uint64, n int) store.Delivery {
	var b event.Builder
	for i := range n {
		id := int64(seq)*1000 + int64(i)
		at := start + event.Time(id*1_000_000)
		if i%3 == 2 {
			b.Add(&event.DeviceNetworkEvents{Timestamp: at, ReportId: id, ActionType: "ConnectionFailed", RemoteIP: "192.0.2.7", RemotePort: 443, ErrorCode: 111, InitiatingProcessUniqueId: "guid"})
			continue
		}
		b.Add(&event.DeviceProcessEvents{Timestamp: at, ReportId: id, ActionType: "ProcessCreated", FileName: "prögram", FolderPath: "/usr/bin/a longer path than fits", ProcessUserId: event.LongOf(0), ProcessId: id, IsFileless: i%2 == 0})
	}
	env := event.Envelope{Tenant: "default", DeviceID: DeviceID, DeviceName: "host.example", Group: "servers", Received: start + 86_400_000_000, BootID: boot, Seq: seq}
	return store.Delivery{Position: store.Position{Epoch: Epoch, Sequence: pos}, Envelope: env, Batch: &event.Batch{BootID: boot, Seq: seq, Blocks: b.Take()}}
}

// Run runs the suite. Step makes the store do what it does by itself in time:
// "flush" (rows visible), "seal" (rows durable), "compact" (files merged).
func Run(t *testing.T, open func(dir string) (store.Events, error), step func(ev store.Events, what string) error) {
	s := suite{open: open, step: step}
	t.Run("every column of every table", s.columns)
	t.Run("repeats are left out", s.repeats)
	t.Run("order and late rows", s.late)
	t.Run("replay after a crash", s.replay)
	t.Run("unknown columns and tables", s.unknown)
	t.Run("hostile rows", s.hostile)
	t.Run("compaction keeps rows", s.compaction)
	t.Run("expiry goes by whole files", s.expiry)
	t.Run("append while querying", s.concurrent)
	t.Run("queries only read", s.readOnly)
	t.Run("spans of time", s.within)
	t.Run("cancel", s.cancel)
}

type suite struct {
	open func(dir string) (store.Events, error)
	step func(store.Events, string) error
}

func (s suite) make(t *testing.T, dir string) store.Events {
	t.Helper()
	ev, err := s.open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ev.Close() })
	return ev
}

func (s suite) do(t *testing.T, ev store.Events, steps ...string) {
	t.Helper()
	for _, x := range steps {
		if err := s.step(ev, x); err != nil {
			t.Fatalf("%s: %v", x, err)
		}
	}
}

func put(t *testing.T, ev store.Events, d ...store.Delivery) {
	t.Helper()
	if err := ev.Append(context.Background(), d); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, ev store.Events, query string, args ...any) (n int64) {
	t.Helper()
	rows, err := ev.Query(context.Background(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatalf("%s: no row, %v", query, rows.Err())
	}
	if err := rows.Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// columns stores one row per table with every column filled and one with none.
func (s suite) columns(t *testing.T) {
	ev := s.make(t, t.TempDir())
	var blocks []*event.Block
	for _, table := range schema.Tables {
		b, seen := &event.Block{Name: table.Name, Table: table, Rows: 2}, map[string]bool{}
		for i, c := range table.Columns {
			key := strings.ToLower(c.Name) // names that differ by case share a column
			if c.IsServerOnly() || seen[key] {
				continue
			}
			seen[key] = true
			col := event.Column{Name: c.Name, Type: c.Type}
			switch {
			case c.Type.Text():
				col.Strings = []string{fmt.Sprintf("välue %d of a column with text", i), ""}
			case c.Type == schema.Datetime:
				col.Ints = []int64{int64(start) + int64(i), 0}
			case c.Type == schema.Bool:
				col.Ints = []int64{1, 0}
			default:
				col.Ints = []int64{int64(i) - 3, 0}
			}
			if c.Optional {
				col.Ints[0], col.Valid = 0, []bool{true, false}
			}
			b.Columns = append(b.Columns, col)
		}
		blocks = append(blocks, b)
	}
	d := Delivery(1, "boot", 1, 1)
	d.Batch.Blocks = blocks
	put(t, ev, d)
	s.do(t, ev, "flush")
	for _, sealed := range []bool{false, true} {
		if sealed {
			s.do(t, ev, "seal")
		}
		for _, b := range blocks {
			checkBlock(t, ev, b, sealed)
		}
	}
}

// checkBlock compares every value of a block with what the store has of it.
func checkBlock(t *testing.T, ev store.Events, b *event.Block, sealed bool) {
	t.Helper()
	rows, err := ev.Query(context.Background(), `SELECT * FROM events WHERE "TableName" = ? ORDER BY "RowIndex"`, b.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names := rows.Columns()
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for row := 0; row < b.Rows; row++ {
		if !rows.Next() {
			t.Fatalf("%s (sealed %v): %d rows, want %d: %v", b.Name, sealed, row, b.Rows, rows.Err())
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for i, v := range values {
			if text := store.Text(v); text != "" {
				got[strings.ToLower(names[i])] = text
			}
		}
		want := map[string]string{"tablename": b.Name, "deviceid": DeviceID, "devicename": "host.example", "machinegroup": "servers", "bootid": "boot", "batchsequence": "1"}
		for name, text := range b.Fields(row) {
			want[strings.ToLower(name)] = text
		}
		if b.Text("Timestamp", row) == "" {
			want["timestamp"] = (start + 86_400_000_000).String() // of reception
		}
		delete(got, "rowindex")
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s row %d (sealed %v): %s", b.Name, row, sealed, d)
		}
	}
	if n := number(t, ev, "SELECT count(*) FROM "+b.Name); n != int64(b.Rows) {
		t.Errorf("table %s (sealed %v): %d rows, want %d", b.Name, sealed, n, b.Rows)
	}
}

func (s suite) repeats(t *testing.T) {
	ev := s.make(t, t.TempDir())
	put(t, ev, Delivery(1, "a", 1, 10), Delivery(2, "a", 2, 10))
	put(t, ev, Delivery(3, "a", 2, 10)) // by the gateway, at another position
	put(t, ev, Delivery(2, "a", 2, 10)) // by the bus, at the same position
	s.do(t, ev, "flush", "seal")
	put(t, ev, Delivery(4, "a", 1, 10), Delivery(5, "b", 1, 10)) // another boot counts anew
	s.do(t, ev, "flush")
	if n := number(t, ev, "SELECT count(*) FROM events"); n != 30 {
		t.Errorf("%d rows, want 30", n)
	}
}

func (s suite) late(t *testing.T) {
	ev := s.make(t, t.TempDir())
	put(t, ev, Delivery(1, "new", 5, 6))
	s.do(t, ev, "flush", "seal")
	put(t, ev, Delivery(2, "old", 1, 6)) // older rows come later
	s.do(t, ev, "flush", "seal")
	rows, err := ev.Query(context.Background(), `SELECT "ReportId" FROM events ORDER BY "Timestamp"`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	last, n := int64(-1), 0
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil || id <= last {
			t.Fatalf("%d after %d, %v", id, last, err)
		}
		last, n = id, n+1
	}
	if n != 12 {
		t.Errorf("%d rows", n)
	}
}

// replay closes without sealing everything, as a crash does, and feeds again
// from the durable position.
func (s suite) replay(t *testing.T) {
	dir := t.TempDir()
	ev := s.make(t, dir)
	for i := range uint64(4) {
		put(t, ev, Delivery(i+1, "a", i+1, 10))
	}
	s.do(t, ev, "flush", "seal")
	if p := ev.Sealed(); p != (store.Position{Epoch: Epoch, Sequence: 4}) {
		t.Fatalf("sealed up to %+v", p)
	}
	if err := ev.Close(); err != nil {
		t.Fatal(err)
	}
	ev = s.make(t, dir)
	if p := ev.Sealed(); p.Sequence != 4 {
		t.Fatalf("after opening again sealed up to %+v", p)
	}
	for i := range uint64(6) {
		put(t, ev, Delivery(i+1, "a", i+1, 10))
	}
	s.do(t, ev, "flush")
	if n := number(t, ev, "SELECT count(*) FROM events"); n != 60 {
		t.Errorf("%d rows, want 60", n)
	}
}

func (s suite) unknown(t *testing.T) {
	ev := s.make(t, t.TempDir())
	d := Delivery(1, "a", 1, 1)
	d.Batch.Blocks = []*event.Block{
		{Name: "DeviceFutureEvents", Rows: 1, Columns: []event.Column{{Name: "FileName", Type: schema.String, Strings: []string{"known column"}}}},
		{Name: "DeviceFileEvents", Rows: 2, Columns: []event.Column{
			{Name: "Colour", Type: schema.String, Strings: []string{"red", ""}},
			{Name: "AdditionalFields", Type: schema.String, Strings: []string{`{"a":1}`, `{"b":2}`}},
		}},
	}
	put(t, ev, d)
	s.do(t, ev, "flush")
	if n := number(t, ev, `SELECT count(*) FROM events WHERE "TableName" = 'DeviceFutureEvents' AND "FileName" = 'known column'`); n != 1 {
		t.Error("a row of an unknown table is gone")
	}
	if n := number(t, ev, `SELECT count(*) FROM DeviceFileEvents WHERE "AdditionalFields" LIKE '%"Colour":"red"%' AND "AdditionalFields" LIKE '%"a":1%'`); n != 1 {
		t.Error("an unknown column is gone")
	}
	if n := number(t, ev, `SELECT count(*) FROM DeviceFileEvents WHERE "AdditionalFields" = '{"b":2}'`); n != 1 {
		t.Error("a row without the unknown column changed")
	}
}

func (s suite) compaction(t *testing.T) {
	ev := s.make(t, t.TempDir())
	for i := range uint64(10) {
		put(t, ev, Delivery(i+1, "a", i+1, 7))
		s.do(t, ev, "seal")
	}
	before := number(t, ev, `SELECT CAST(sum(hash("ReportId", "Timestamp", "FolderPath", "RemotePort") % 1000003) AS BIGINT) FROM events`)
	s.do(t, ev, "compact")
	after := number(t, ev, `SELECT CAST(sum(hash("ReportId", "Timestamp", "FolderPath", "RemotePort") % 1000003) AS BIGINT) FROM events`)
	if n := number(t, ev, "SELECT count(*) FROM events"); n != 70 || before != after {
		t.Errorf("%d rows, sums %d and %d", n, before, after)
	}
}

func (s suite) concurrent(t *testing.T) {
	ev := s.make(t, t.TempDir())
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for i := range uint64(60) {
			if err := ev.Append(context.Background(), []store.Delivery{Delivery(i+1, "a", i+1, 50)}); err != nil {
				t.Error(err)
				return
			}
			if i%20 == 19 {
				if err := s.step(ev, "seal"); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	last := int64(0)
	for last < 3000 && !t.Failed() {
		n := number(t, ev, "SELECT count(*) FROM events")
		if n < last || n > 3000 {
			t.Fatalf("%d rows after %d: rows vanished or doubled", n, last)
		}
		last = n
		s.do(t, ev, "flush")
	}
	wg.Wait()
}

// hostile stores what a sensor under foreign control may send.
func (s suite) hostile(t *testing.T) {
	ev := s.make(t, t.TempDir())
	d := Delivery(1, "a", 1, 1)
	long := strings.Repeat("x", 1<<20)
	same := make([]string, 200)
	for i := range same {
		same[i] = long // once on the wire, 200 MiB in rows
	}
	d.Batch.Blocks = []*event.Block{
		{Name: "DeviceFileEvents", Rows: 3, Columns: []event.Column{
			{Name: "FileName", Type: schema.String, Strings: []string{"\xff\xfe not text, and longer", "nul\x00inside", "\xc3"}},
			{Name: "deviceid", Type: schema.String, Strings: []string{"another device", "another device", "another device"}},
			{Name: "TableName", Type: schema.String, Strings: []string{"DeviceLogonEvents", "", ""}},
			{Name: "RowIndex", Type: schema.Long, Ints: []int64{77, 77, 77}},
			{Name: "BatchSequence", Type: schema.Long, Ints: []int64{-1, -1, -1}},
			{Name: "FolderPath", Type: schema.Long, Ints: []int64{1, 2, 3}}, // another type than ours
			{Name: "AdditionalFields", Type: schema.Dynamic, Strings: []string{"[1", `{"n":12345678901234567890}`, ""}},
			{Name: "Timestamp", Type: schema.Datetime, Ints: []int64{1 << 62, -1 << 62, 1}},
		}},
		{Name: `x"; DROP TABLE events; --`, Rows: 1, Columns: []event.Column{{Name: `y"'`, Type: schema.String, Strings: []string{"z"}}}},
		{Name: "DeviceEvents", Rows: len(same), Columns: []event.Column{{Name: "DnsQueryName", Type: schema.String, Strings: same}}},
	}
	put(t, ev, d)
	s.do(t, ev, "flush")
	for _, sealed := range []bool{false, true} {
		if sealed {
			s.do(t, ev, "seal")
		}
		for what, q := range map[string]struct {
			query string
			want  int64
		}{
			"rows":             {"SELECT count(*) FROM events", 204},
			"server's word":    {`SELECT count(*) FROM DeviceFileEvents WHERE "DeviceId" = '` + DeviceID + `' AND "BatchSequence" = 1`, 3},
			"place in batch":   {`SELECT max("RowIndex") FROM events`, 203},
			"made text":        {"SELECT count(*) FROM DeviceFileEvents WHERE \"FileName\" = '\uFFFD not text, and longer' OR \"FileName\" = '\uFFFD'", 2},
			"text is usable":   {`SELECT count(*) FROM DeviceFileEvents WHERE lower("FileName") LIKE '%inside'`, 1},
			"odd type":         {`SELECT count(*) FROM DeviceFileEvents WHERE "FolderPath" IS NULL AND "AdditionalFields" LIKE '%"FolderPath":"%'`, 3},
			"numbers stay":     {`SELECT count(*) FROM DeviceFileEvents WHERE "AdditionalFields" LIKE '%12345678901234567890%'`, 1},
			"odd table":        {`SELECT count(*) FROM events WHERE "TableName" LIKE 'x"; DROP%' AND "AdditionalFields" LIKE '%z%'`, 1},
			"impossible times": {`SELECT count(*) FROM events WHERE "Timestamp" = make_timestamp(` + fmt.Sprint(int64(start)+86_400_000_000) + `)`, 204},
			"bounded":          {`SELECT CASE WHEN sum(length("DnsQueryName")) <= 67108864 THEN 1 ELSE 0 END FROM DeviceEvents`, 1},
		} {
			if n := number(t, ev, q.query); n != q.want {
				t.Errorf("%s (sealed %v): %d, want %d", what, sealed, n, q.want)
			}
		}
	}
}

// days makes deliveries of one row a day.
func days(n int) (out []store.Delivery) {
	for i := range n {
		d := Delivery(uint64(i+1), "a", uint64(i+1), 1)
		d.Envelope.Received = start + event.Time(n)*86_400_000_000
		d.Batch.Blocks[0].Column("Timestamp").Ints[0] = int64(start) + int64(i)*86_400_000_000
		out = append(out, d)
	}
	return out
}

func (s suite) expiry(t *testing.T) {
	ev := s.make(t, t.TempDir())
	put(t, ev, days(4)...)
	s.do(t, ev, "flush", "seal")
	day := 24 * time.Hour
	for _, c := range []struct {
		before time.Time
		want   int64
	}{{start.Time(), 4}, {start.Time().Add(day - time.Hour), 3}, {start.Time().Add(2*day + time.Hour), 1}, {start.Time().Add(9 * day), 0}} {
		if err := ev.Expire(context.Background(), c.before); err != nil {
			t.Fatal(err)
		}
		if n := number(t, ev, "SELECT count(*) FROM events"); n != c.want {
			t.Errorf("before %v expired: %d rows left, want %d", c.before, n, c.want)
		}
	}
	put(t, ev, Delivery(9, "a", 4, 1)) // forgotten rows do not come again
	s.do(t, ev, "flush")
	if n := number(t, ev, "SELECT count(*) FROM events"); n != 0 {
		t.Errorf("%d rows came again", n)
	}
}

func (s suite) readOnly(t *testing.T) {
	ev := s.make(t, t.TempDir())
	put(t, ev, Delivery(1, "a", 1, 10))
	s.do(t, ev, "flush")
	for _, q := range []string{
		"DROP TABLE events", "DELETE FROM events", "INSERT INTO events SELECT * FROM events", "SELECT 1; DELETE FROM events", "SELECT 1; SELECT 2",
		"WITH x AS (SELECT 1) DELETE FROM events", "CREATE TABLE x (a INTEGER)", "COPY events TO 'x'", "SET threads = 1", "PRAGMA version", "EXPLAIN SELECT 1", "", ";", "(SELECT 1)",
	} {
		rows, err := ev.Query(context.Background(), q)
		if err == nil {
			rows.Close()
			t.Errorf("%q was run", q)
		} else if picket.Kind(err) != picket.Invalid {
			t.Errorf("%q: %v is not invalid", q, err)
		}
	}
	for q, want := range map[string]int64{
		"SELECT count(*) FROM events;":                                        10,
		"with few as (select * from events limit 3) select count(*) from few": 3,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 5)\nSELECT count(*) FROM n, DeviceProcessEvents": 5 * 7,
	} {
		if n := number(t, ev, q); n != want {
			t.Errorf("%q: %d, want %d", q, n, want)
		}
	}
}

// within checks that a span of time leaves out no row that lies in it.
func (s suite) within(t *testing.T) {
	ev := s.make(t, t.TempDir())
	put(t, ev, days(6)...)
	s.do(t, ev, "flush", "seal")
	late := days(3)[2]
	late.Position.Sequence, late.Envelope.Seq = 7, 7
	put(t, ev, late) // a second row of the third day, in memory
	s.do(t, ev, "flush")
	for first := range 6 {
		for last := first; last < 6; last++ {
			from, to := start.Time().AddDate(0, 0, first), start.Time().AddDate(0, 0, last)
			want := int64(last - first + 1)
			if first <= 2 && last >= 2 {
				want++
			}
			rows, err := ev.Query(store.Within(context.Background(), from, to), `SELECT count(*) FROM events WHERE "Timestamp" >= ? AND "Timestamp" <= ?`, from, to)
			if err != nil {
				t.Fatal(err)
			}
			var n int64
			if !rows.Next() || rows.Scan(&n) != nil || n != want {
				t.Errorf("days %d to %d: %d rows, want %d", first, last, n, want)
			}
			rows.Close()
		}
	}
}

func (s suite) cancel(t *testing.T) {
	ev := s.make(t, t.TempDir())
	put(t, ev, Delivery(1, "a", 1, 1000))
	s.do(t, ev, "flush")
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	for what, ctx := range map[string]context.Context{"cancelled before": gone, "cancelled while it runs": short} {
		rows, err := ev.Query(ctx, "SELECT count(*) FROM events a, events b, events c, events d, events e WHERE a.\"ReportId\" + b.\"ReportId\" + c.\"ReportId\" + d.\"ReportId\" + e.\"ReportId\" = 3")
		if err == nil {
			rows.Close()
			t.Errorf("%s: the query must fail", what)
		} else if picket.Kind(err) != picket.Canceled {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := number(t, ev, "SELECT count(*) FROM events"); n != 1000 {
		t.Errorf("%d rows after a cancelled query", n)
	}
	if err := ev.Append(gone, []store.Delivery{Delivery(2, "a", 2, 1)}); picket.Kind(err) != picket.Canceled {
		t.Errorf("append: %v", err)
	}
}

// Writer feeds numbered batches for ever from where the store's durable
// position is, printing that position, until the process is killed.
func Writer(open func() (store.Events, error)) {
	ev, err := open()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sealer := ev.(interface {
		Seal(context.Context) error
		Compact(context.Context) error
	})
	for n := ev.Sealed().Sequence + 1; ; n++ {
		if err := ev.Append(context.Background(), []store.Delivery{Delivery(n, "boot", n, 20)}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if n%7 == 0 {
			if err := sealer.Seal(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			fmt.Println(ev.Sealed().Sequence)
			if err := sealer.Compact(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
}

// Kill kills a Writer process ten times. In the end every batch up to the
// durable position must be there exactly once. The test binary runs Writer
// when variable is set to a directory.
func Kill(t *testing.T, variable string, open func(dir string) (store.Events, error)) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	var durable uint64
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), variable+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(out)
		for i := 0; i <= round%4 && sc.Scan(); i++ {
			if durable, err = strconv.ParseUint(sc.Text(), 10, 64); err != nil {
				t.Fatalf("%q: %v", sc.Text(), err)
			}
		}
		time.AfterFunc(time.Duration(round*3)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for sc.Scan() {
			if n, err := strconv.ParseUint(sc.Text(), 10, 64); err == nil {
				durable = n
			}
		}
		_ = cmd.Wait()
	}
	ev, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ev.Close()
	at := ev.Sealed().Sequence
	if at < durable {
		t.Fatalf("said to be durable up to %d, opens at %d", durable, at)
	}
	if n := number(t, ev, "SELECT count(*) FROM events"); n != int64(at)*20 {
		t.Errorf("%d rows up to batch %d, want %d", n, at, at*20)
	}
	if n := number(t, ev, `SELECT count(DISTINCT ("BatchSequence", "RowIndex")) FROM events`); n != int64(at)*20 {
		t.Errorf("%d distinct rows, want %d", n, at*20)
	}
}
