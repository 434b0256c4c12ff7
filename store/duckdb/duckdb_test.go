// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/picket-edr/picket/bench"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/store"
	"github.com/picket-edr/picket/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("PICKET_STORE_WRITER"); dir != "" {
		storetest.Writer(func() (store.Events, error) { return Open(context.Background(), options(dir)) })
		return
	}
	goleak.VerifyTestMain(m)
}

const epoch = "epoch"

func options(dir string) Options {
	return Options{Dir: dir, MemoryMB: 512, Threads: 2, Log: slog.New(slog.DiscardHandler), Now: time.Now}
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), options(dir))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(dir string) (store.Events, error) { return Open(context.Background(), options(dir)) }, func(ev store.Events, step string) error {
		s := ev.(*Store)
		switch step {
		case "flush":
			return s.Flush()
		case "seal":
			return s.Seal(context.Background())
		}
		return s.Compact(context.Background())
	})
}

func TestKill(t *testing.T) {
	storetest.Kill(t, "PICKET_STORE_WRITER", func(dir string) (store.Events, error) { return Open(context.Background(), options(dir)) })
}

// feed appends n batches of one invented device.
func feed(t testing.TB, s *Store, d *bench.Device, from, n, rows int) int {
	t.Helper()
	total := 0
	for i := range n {
		b, _, err := d.Batch(rows)
		if err != nil {
			t.Fatal(err)
		}
		total += b.Rows()
		env := event.Envelope{Tenant: "default", DeviceID: d.ID, DeviceName: d.Name, Group: "g", Received: b.Created, BootID: b.BootID, Seq: b.Seq}
		if err := s.Append(context.Background(), []store.Delivery{{Position: store.Position{Epoch: epoch, Sequence: uint64(from + i)}, Envelope: env, Batch: b}}); err != nil {
			t.Fatal(err)
		}
	}
	return total
}

func count(t testing.TB, s *Store, where string) (n int) {
	t.Helper()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Query(context.Background(), "SELECT count(*) FROM events WHERE "+where)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() || rows.Scan(&n) != nil {
		t.Fatal("no count")
	}
	return n
}

func TestDamagedFilesAreCountedAndSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	d := bench.NewDevice(1, 1764000000000000)
	a := feed(t, s, d, 1, 2, 300)
	if err := s.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	b := feed(t, s, d, 3, 2, 300)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "events", "*", "*.parquet"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	if err := os.Truncate(files[0], 100); err != nil {
		t.Fatal(err)
	}
	orphan := filepath.Join(filepath.Dir(files[0]), "9999999999.parquet")
	if err := os.WriteFile(orphan, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if got := count(t, s, "true"); got != b {
		t.Errorf("%d rows left, want %d", got, b)
	}
	if st := s.Stats(); st.Lost != int64(a) {
		t.Errorf("%d rows counted as lost, want %d", st.Lost, a)
	}
	if _, err := os.Stat(orphan); !os.IsNotExist(err) {
		t.Error("a file that the manifest does not name must go")
	}
}

func TestQueriesCannotLeaveTheDirectory(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	for _, q := range []string{
		"SELECT * FROM read_csv('/etc/passwd')",
		"COPY (SELECT 1) TO '/tmp/picket-escape.csv'",
		"ATTACH '/tmp/picket-escape.db'",
		"INSTALL httpfs",
		"SET enable_external_access = true",
	} {
		if rows, err := s.Query(context.Background(), q); err == nil {
			rows.Close()
			t.Errorf("%s was allowed", q)
		}
	}
}

func TestSealAndExpireKeepVisibility(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	total := 0
	d := bench.NewDevice(1, event.TimeOf(start))
	for i := range 3 {
		total += feed(t, s, d, 1+i*2, 2, 300)
		if err := s.Seal(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := count(t, s, "true"); got != total {
			t.Fatalf("after seal %d: %d rows, want %d", i, got, total)
		}
	}
	if err := s.Expire(context.Background(), start.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, "true"); got != total {
		t.Errorf("nothing was old enough, %d rows left of %d", got, total)
	}
	if err := s.Expire(context.Background(), start.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, "true"); got != 0 {
		t.Errorf("%d rows are older than a year from now", got)
	}
}

func TestBackup(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	s := open(t, dir)
	total := feed(t, s, bench.NewDevice(1, 1764000000000000), 1, 5, 200)
	if err := s.Backup(context.Background(), copied); err != nil {
		t.Fatal(err)
	}
	feed(t, s, bench.NewDevice(2, 1764000000000000), 6, 1, 200)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := open(t, copied)
	defer c.Close()
	if got := count(t, c, "true"); got != total {
		t.Errorf("backup holds %d rows, want %d", got, total)
	}
	if p := c.Sealed(); p.Sequence != 5 || p.Epoch != epoch {
		t.Errorf("position %+v", p)
	}
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir())
	const devices, rows = 20, 1000
	var fleet []*bench.Device
	for i := range devices {
		fleet = append(fleet, bench.NewDevice(i, 1764000000000000))
	}
	var batches []store.Delivery
	for i := range 200 {
		d := fleet[i%devices]
		batch, _, err := d.Batch(rows)
		if err != nil {
			b.Fatal(err)
		}
		batches = append(batches, store.Delivery{Envelope: event.Envelope{DeviceID: d.ID, DeviceName: d.Name, Received: batch.Created, BootID: batch.BootID}, Batch: batch})
	}
	seq, n, began := uint64(0), 0, cpu(b)
	for b.Loop() {
		d := batches[seq%uint64(len(batches))]
		seq++
		d.Position, d.Envelope.Seq = store.Position{Epoch: epoch, Sequence: seq}, seq
		if err := s.Append(context.Background(), []store.Delivery{d}); err != nil {
			b.Fatal(err)
		}
		n += d.Batch.Rows()
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	st := s.Stats()
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(n), "cpu-us/row")
	b.ReportMetric(float64(st.Bytes)/float64(st.Rows), "B/row")
	b.ReportMetric(float64(n), "rows")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// cpu is the time that the processors spent on this process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkTimelineDay(b *testing.B) {
	s := open(b, b.TempDir())
	defer s.Close()
	seq := 1
	for i := range 10 {
		feed(b, s, bench.NewDevice(i, 1764000000000000), seq, 20, 1000)
		seq += 20
	}
	if err := s.Seal(context.Background()); err != nil {
		b.Fatal(err)
	}
	d := bench.NewDevice(3, 0)
	for b.Loop() {
		page, err := store.Timeline(context.Background(), s, store.TimelineQuery{DeviceID: d.ID, Limit: 100})
		if err != nil || len(page.Items) != 100 {
			b.Fatal(fmt.Sprint(len(page.Items)), err)
		}
	}
}
