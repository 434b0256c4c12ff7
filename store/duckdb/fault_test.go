// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/store"
	"github.com/picket-edr/picket/store/storetest"
)

// crash ends a store as a kill does: what is in memory is gone.
func crash(s *Store) {
	s.mu.Lock()
	s.closed = true
	s.notify()
	s.mu.Unlock()
	s.stop()
	s.done.Wait()
	s.release()
}

func put(t testing.TB, s *Store, d ...store.Delivery) {
	t.Helper()
	if err := s.Append(context.Background(), d); err != nil {
		t.Fatal(err)
	}
}

func seal(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestFailedFlushIsTriedAgain(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	put(t, s, storetest.Delivery(1, "a", 1, 10))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	table := s.hot.name
	s.mu.Unlock()
	hide, show := "ALTER TABLE "+memory+"."+table+" RENAME TO hidden", "ALTER TABLE "+memory+".hidden RENAME TO "+table
	if err := s.engine.exec(context.Background(), hide); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock() // an appender that is open knows its table under any name
	s.broken(errors.New("made by the test"))
	s.mu.Unlock()
	if err := s.Flush(); err == nil {
		t.Fatal("rows cannot be taken, and nobody says so")
	}
	if err := s.Seal(context.Background()); err == nil {
		t.Error("a seal without the table must fail")
	}
	if err := s.engine.exec(context.Background(), show); err != nil {
		t.Fatal(err)
	}
	put(t, s, storetest.Delivery(2, "a", 2, 10)) // waits until rows can be taken again
	if got := count(t, s, "true"); got != 20 {
		t.Errorf("%d rows, want 20", got)
	}
	seal(t, s)
	if got := count(t, s, "true"); got != 20 || s.Sealed().Sequence != 2 {
		t.Errorf("%d rows sealed up to %d, want 20 and 2", got, s.Sealed().Sequence)
	}
}

// TestSealWithoutFlush seals what is visible while new rows cannot be taken:
// this is how room is made when memory is short.
func TestSealWithoutFlush(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, storetest.Delivery(1, "a", 1, 10))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	h := &heldBatch{Delivery: storetest.Delivery(2, "a", 5, 10), limit: 1 << 20}
	s.held, s.heldRows, s.pending = append(s.held, h), 10, h.Position
	s.boots.seen(h.Envelope.DeviceID, "a", 5, 2)
	next := s.snapshot()
	s.mu.Unlock()
	if next.position.Sequence != 1 {
		t.Errorf("a seal would claim up to %d", next.position.Sequence)
	}
	if next.boots.seen(h.Envelope.DeviceID, "a", 5, 2) {
		t.Error("after a crash now, the batch that is not sealed would be taken for a repeat")
	}
	crash(s)
	s = open(t, dir)
	defer s.Close()
	put(t, s, storetest.Delivery(1, "a", 1, 10), storetest.Delivery(2, "a", 5, 10))
	if got := count(t, s, "true"); got != 20 {
		t.Errorf("%d rows, want 20", got)
	}
}

func TestFailedSealKeepsRowsAndHoldsBack(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	o.SealRows = 100
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	events := filepath.Join(dir, filesDir)
	if err := os.Rename(events, events+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(events, nil, 0o600); err != nil { // in the way, as a full disk is
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	n := uint64(0)
	for err == nil && n < 1000 {
		n++
		err = s.Append(ctx, []store.Delivery{storetest.Delivery(n, "a", n, 20)})
	}
	if picket.Kind(err) != picket.Canceled || n > 20 {
		t.Fatalf("after %d batches: %v; memory must be bounded", n, err)
	}
	n-- // the last was refused
	if got := count(t, s, "true"); got != int(n)*20 {
		t.Errorf("%d rows visible, want %d", got, n*20)
	}
	if err := errors.Join(os.Remove(events), os.Rename(events+".away", events)); err != nil {
		t.Fatal(err)
	}
	seal(t, s)
	put(t, s, storetest.Delivery(n+1, "a", n+1, 20))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if got := count(t, s, "true"); got != int(n+1)*20 {
		t.Errorf("%d rows, want %d", got, (n+1)*20)
	}
}

func TestDamageWithinAFileIsFound(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, storetest.Delivery(1, "a", 1, 500))
	seal(t, s)
	put(t, s, storetest.Delivery(2, "a", 2, 30))
	seal(t, s)
	f := s.versions.current().manifest.Files[0]
	path := filepath.Join(dir, filesDir, f.Name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/3] ^= 0x40
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.scrub(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, "true"); got != 30 {
		t.Errorf("%d rows left, want 30", got)
	}
	st := s.Stats()
	if st.Lost != 500 || len(st.Damage) != 1 || !strings.Contains(st.Damage[0].Reason, "checksum") || st.Damage[0].Rows != 500 || !st.Damage[0].From.Before(st.Damage[0].To) {
		t.Errorf("%+v", st)
	}
	aside, err := os.ReadFile(filepath.Join(dir, damagedDir, filepath.Base(f.Name)))
	if err != nil || len(aside) != len(data) {
		t.Errorf("the remains must be kept: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if st := s.Stats(); st.Lost != 500 || st.Rows != 30 {
		t.Errorf("after opening again: %+v", st)
	}
}

func TestOnlyOneProcessOpensADirectory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if second, err := Open(context.Background(), options(dir)); picket.Kind(err) != picket.Conflict {
		if err == nil {
			second.Close()
		}
		t.Errorf("second: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir).Close()
}

func TestLostManifestDeletesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, storetest.Delivery(1, "a", 1, 10))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, manifestName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func() error{
		"gone":  func() error { return os.Remove(path) },
		"cut":   func() error { return os.WriteFile(path, good[:len(good)/2], 0o600) },
		"newer": func() error { return os.WriteFile(path, []byte(`{"version":99}`), 0o600) },
		"escaping": func() error {
			return os.WriteFile(path, []byte(`{"version":2,"sets":[[]],"files":[{"name":"../../etc/passwd"}]}`), 0o600)
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(context.Background(), options(dir)); !errors.Is(err, picket.Invalid) {
			t.Errorf("%s: %v", what, err)
			if err == nil {
				s.Close()
			}
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if got := count(t, s, "true"); got != 10 {
		t.Errorf("%d rows, want 10", got)
	}
}

func TestFilesStayWhileTheyAreRead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	put(t, s, storetest.Delivery(1, "a", 1, 10))
	seal(t, s)
	v := s.versions.acquire()
	path := filepath.Join(dir, filesDir, v.manifest.Files[0].Name)
	if err := s.Expire(context.Background(), time.Now().AddDate(10, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("deleted under a reader: %v", err)
	}
	s.versions.release(v)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("not deleted after the last reader: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
		t.Errorf("the empty day stays: %v", err)
	}
}

func TestClosedStore(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := s.Query(context.Background(), "SELECT 1"); picket.Kind(err) != picket.Unavailable {
		t.Errorf("query: %v", err)
	}
	if err := s.Append(context.Background(), []store.Delivery{storetest.Delivery(1, "a", 1, 1)}); picket.Kind(err) != picket.Unavailable {
		t.Errorf("append: %v", err)
	}
}

func TestMetricsOfTenants(t *testing.T) {
	r := prometheus.NewRegistry()
	var stores []*Store
	for _, tenant := range []string{"one", "two"} {
		o := options(t.TempDir())
		o.Metrics = prometheus.WrapRegistererWith(prometheus.Labels{"tenant": tenant}, r)
		s, err := Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, s)
	}
	put(t, stores[0], storetest.Delivery(1, "a", 1, 10))
	got := map[string]float64{}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "picket_events_rows_total" {
			for _, m := range f.Metric {
				got[m.Label[0].GetValue()] = m.Counter.GetValue()
			}
		}
	}
	if got["one"] != 10 || got["two"] != 0 || len(got) != 2 {
		t.Errorf("rows by tenant: %v", got)
	}
	for _, s := range stores {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if families, _ := r.Gather(); len(families) != 0 {
		t.Errorf("%d metrics of closed stores", len(families))
	}
}

func TestQueriesGiveWayToNewRows(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	put(t, s, storetest.Delivery(1, "a", 1, 2000))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		rows, err := s.Query(context.Background(), `SELECT count(*) FROM events a, events b, events c, events d WHERE a."ReportId" * b."ReportId" = c."ReportId" - d."ReportId"`)
		if err == nil {
			rows.Close()
		}
		done <- err
	}()
	for {
		s.readers.giveWay()
		select {
		case err := <-done:
			if picket.Kind(err) != picket.TooLarge {
				t.Errorf("stopped query: %v", err)
			}
			if got := count(t, s, "true"); got != 2000 {
				t.Errorf("%d rows after it", got)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func TestWideRowsAreSealedBySize(t *testing.T) {
	sealed := make(chan store.Position, 100)
	o := options(t.TempDir())
	o.SealBytes = 1 << 20
	o.OnSealed = func(p store.Position) { sealed <- p }
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := range uint64(20) {
		d := storetest.Delivery(n+1, "a", n+1, 1)
		d.Batch.Blocks[0].Column("FileName").Strings[0] = strings.Repeat("x", 200_000)
		put(t, s, d)
	}
	if p := <-sealed; p.Sequence == 0 || p.Epoch != storetest.Epoch {
		t.Errorf("sealed %+v", p)
	}
	if got := count(t, s, "true"); got != 20 {
		t.Errorf("%d rows, want 20", got)
	}
}

func TestBriefErrors(t *testing.T) {
	t.Parallel()
	err := errors.New("Out of Memory Error: failed\n\nPossible solutions: ...")
	if brief(err) != "Out of Memory Error: failed" || !outOfMemory(err) || isFatal(err) {
		t.Errorf("%q", brief(err))
	}
	for _, err := range []error{nil, errors.New("Parser Error: x")} {
		if outOfMemory(err) || isFatal(err) {
			t.Errorf("%v is harmless", err)
		}
	}
	if !isFatal(errors.New("FATAL Error: database has been invalidated because of a previous fatal error")) {
		t.Error("a dead engine must be told")
	}
}
