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
	t.Run("compaction keeps rows", s.compaction)
	t.Run("append while querying", s.concurrent)
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
		b := &event.Block{Name: table.Name, Table: table, Rows: 2}
		for i, c := range table.Columns {
			if c.IsServerOnly() {
				continue
			}
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

func checkBlock(t *testing.T, ev store.Events, b *event.Block, sealed bool) {
	t.Helper()
	var conds []string
	for _, c := range b.Columns {
		if (c.Ints != nil && c.Valid == nil && c.Ints[0] == 0) || c.Name == "ReportId" {
			continue
		}
		conds = append(conds, fmt.Sprintf(`CAST(coalesce("%s" IS NOT NULL, false) AS INTEGER)`, c.Name))
	}
	full := number(t, ev, "SELECT max("+strings.Join(conds, " + ")+") FROM "+b.Name)
	if full != int64(len(conds)) {
		t.Errorf("%s (sealed %v): %d of %d columns have their value", b.Name, sealed, full, len(conds))
	}
	if n := number(t, ev, `SELECT count(*) FROM `+b.Name+` WHERE "DeviceId" = ? AND "DeviceName" = 'host.example' AND "MachineGroup" = 'servers' AND "BootId" = 'boot' AND "BatchSequence" = 1`, DeviceID); n != 2 {
		t.Errorf("%s (sealed %v): %d rows carry the server's word, want 2", b.Name, sealed, n)
	}
	if c := b.Column("AdditionalFields"); c != nil {
		if n := number(t, ev, `SELECT count(*) FROM `+b.Name+` WHERE "AdditionalFields" = ?`, c.Strings[0]); n != 1 {
			t.Errorf("%s (sealed %v): text does not survive", b.Name, sealed)
		}
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

func (s suite) cancel(t *testing.T) {
	ev := s.make(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if rows, err := ev.Query(ctx, "SELECT count(*) FROM events"); err == nil {
		rows.Close()
		t.Error("a cancelled query must fail")
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
	sealer := ev.(interface{ Seal(context.Context) error })
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
