// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

const (
	boot1 = "8e5cf4b6-0000-4000-8000-000000000001"
	boot2 = "8e5cf4b6-0000-4000-8000-000000000002"
)

// options are for a spool without background work.
func options(fs FS, boot string) Options {
	salt := uint64(0)
	return Options{
		Dir: "/spool", BootID: boot, FS: fs, SyncEvery: -1,
		Now:  func() event.Time { return 1764000000000000 },
		Salt: func() uint64 { salt++; return salt },
	}
}

func open(t testing.TB, o Options) *Spool {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// row makes a row of a class that carries n.
func row(s *Spool, c Class, n int) event.Row {
	name := fmt.Sprint("row-", n)
	switch c {
	case High:
		return &event.DeviceProcessEvents{ActionType: "ProcessCreated", FileName: name, ReportId: s.NextReportID()}
	case Normal:
		return &event.DeviceFileEvents{ActionType: "FileCreated", FileName: name, ReportId: s.NextReportID()}
	}
	return &event.DeviceFileEvents{ActionType: "FileModified", FileName: name, ReportId: s.NextReportID()}
}

// add appends one batch with the given numbers in rows.
func add(t testing.TB, s *Spool, c Class, numbers ...int) error {
	t.Helper()
	var b event.Builder
	for _, n := range numbers {
		r := row(s, c, n)
		if ClassOf(r) != c {
			t.Fatalf("row of %s has class %s", c, ClassOf(r))
		}
		b.Add(r)
	}
	return s.Append(c, b.Take())
}

// fat appends a batch of one row that takes about n bytes.
func fat(t testing.TB, s *Spool, c Class, n int) error {
	t.Helper()
	noise := make([]byte, n*3/4)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var b event.Builder
	switch x := row(s, c, n).(type) {
	case *event.DeviceProcessEvents:
		x.ProcessCommandLine = fmt.Sprintf("%x", noise)
		b.Add(x)
	case *event.DeviceFileEvents:
		x.AdditionalFields = fmt.Sprintf("%x", noise)
		b.Add(x)
	}
	return s.Append(c, b.Take())
}

// failer is a test of this package or of rapid.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drain reads everything from the oldest unacknowledged batch on.
func drain(s *Spool) []Batch {
	s.Rewind()
	var all []Batch
	for {
		b, ok := s.Next()
		if !ok {
			return all
		}
		all = append(all, b)
	}
}

// rowsOf returns the names in the rows of batches, and checks numbers and chain.
func rowsOf(t testing.TB, batches []Batch) []string {
	t.Helper()
	var names []string
	prev := map[string]event.Hash{}
	last := map[string]uint64{}
	for _, b := range batches {
		d, err := event.Decode(b.Payload, event.DefaultLimits)
		must(t, err)
		if d.BootID != b.Boot || d.Seq != b.Seq || uint64(d.Rows()) != b.Rows {
			t.Fatalf("batch says %s/%d with %d rows, its record %s/%d with %d", d.BootID, d.Seq, d.Rows(), b.Boot, b.Seq, b.Rows)
		}
		if b.Seq <= last[b.Boot] {
			t.Fatalf("batch %d after %d", b.Seq, last[b.Boot])
		}
		if b.Seq == last[b.Boot]+1 && d.Prev != prev[b.Boot] {
			t.Fatalf("batch %d does not continue the chain", b.Seq)
		}
		last[b.Boot], prev[b.Boot] = b.Seq, event.HashOf(b.Payload)
		for _, blk := range d.Blocks {
			for i := range blk.Rows {
				if n := blk.Text("FileName", i); n != "" {
					names = append(names, n)
				} else {
					names = append(names, blk.Text("ActionType", i))
				}
			}
		}
	}
	return names
}

// told sums what SensorLoss rows say, by kind.
func told(t failer, batches []Batch) map[string]uint64 {
	t.Helper()
	sum := map[string]uint64{}
	for _, b := range batches {
		d, err := event.Decode(b.Payload, event.DefaultLimits)
		must(t, err)
		for _, blk := range d.Blocks {
			for i := range blk.Rows {
				if blk.Text("ActionType", i) != "SensorLoss" {
					continue
				}
				var more struct{ Lost map[string]uint64 }
				must(t, json.Unmarshal([]byte(blk.Text("AdditionalFields", i)), &more))
				for k, n := range more.Lost {
					sum[k] += n
				}
			}
		}
	}
	return sum
}

func equal(t testing.TB, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestOrderAcrossClassesAndRuns(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	s := open(t, options(fs, boot1))
	must(t, add(t, s, Low, 1, 2))
	must(t, add(t, s, High, 3))
	must(t, add(t, s, Normal, 4))
	must(t, s.Close())

	s = open(t, options(fs, boot1))
	equal(t, Recovery{SameBoot: true, LastReport: 4, NextReport: 5}, s.Recovery())
	must(t, add(t, s, Low, 5))
	equal(t, []string{"row-1", "row-2", "row-3", "row-4", "row-5"}, rowsOf(t, drain(s)))
	equal(t, Position{boot1, 1, 5}, s.Rewind())
	s.Ack(boot1, 2)
	equal(t, []string{"row-4", "row-5"}, rowsOf(t, drain(s)))
	must(t, s.Close())

	s = open(t, options(fs, boot2))
	must(t, add(t, s, High, 6))
	equal(t, Position{boot1, 3, 2}, s.Rewind())
	equal(t, []string{"row-4", "row-5", "row-6"}, rowsOf(t, drain(s)))
	s.Ack(boot1, 4)
	equal(t, Position{boot2, 1, 2}, s.Rewind())
	s.Ack(boot2, 1)
	if got := drain(s); len(got) != 0 {
		t.Errorf("%d batches after everything was acknowledged", len(got))
	}
	must(t, s.Close())
	s = open(t, options(fs, boot2))
	if got := fs.segmentFiles(); len(got) != 0 {
		t.Errorf("acknowledged segments stay after a restart: %v", got)
	}
	equal(t, Position{boot2, 2, 2}, s.Rewind())
	must(t, s.Close())
}

func TestKilledSpoolGoesOn(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	for run := range 5 {
		o := options(fs, boot1)
		o.Now = func() event.Time { return event.Time(1764000000000000 - 3600_000_000*run) } // the clock goes back each time
		s := open(t, o)
		if r := s.Recovery(); r.Unclean != (run > 0) || r.Batches != 0 {
			t.Errorf("run %d: %+v", run, r)
		}
		must(t, add(t, s, Normal, run))
		equal(t, run+1, len(rowsOf(t, drain(s))))
	}
}

func TestReportIDsNeverRepeat(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	seen := map[int64]bool{}
	for run := range 4 {
		s := open(t, options(fs, boot1))
		for range 1000 {
			n := s.NextReportID()
			if seen[n] {
				t.Fatalf("run %d: number %d again", run, n)
			}
			seen[n] = true
		}
		if run == 2 {
			must(t, s.Close())
		}
	}
	s := open(t, options(fs, boot2))
	equal(t, int64(1), s.NextReportID())
}

func TestFullSpoolGivesUpLowestClassFirst(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	o := options(fs, boot1)
	o.Limit = MinLimit
	s := open(t, o)
	for range 8 {
		must(t, fat(t, s, High, 30<<10))
		must(t, fat(t, s, Low, 30<<10))
	}
	for range 40 { // more high than fits
		must(t, fat(t, s, High, 30<<10))
		if st := s.Stats(); st.Bytes > o.Limit || fs.used() > o.Limit+64<<10 {
			t.Fatalf("%d bytes kept, %d on disk, limit %d", st.Bytes, fs.used(), o.Limit)
		}
	}
	lost := s.Stats().Lost
	equal(t, uint64(8), lost["spool.low"])
	if lost["spool.high"] == 0 || lost["spool.high"] > 30 {
		t.Errorf("%d high rows lost", lost["spool.high"])
	}
	if err := fat(t, s, Low, 30<<10); !errors.Is(err, ErrFull) || !errors.Is(err, picket.Unavailable) {
		t.Errorf("low batch against a spool full of high ones: %v", err)
	}
	lost = s.Stats().Lost
	equal(t, uint64(9), lost["spool.low"])
	s.TellLosses()
	all := drain(s)
	equal(t, s.Stats().Lost, told(t, all))
	arrived := 0
	for _, n := range rowsOf(t, all) {
		if n != "SensorLoss" {
			arrived++
		}
	}
	equal(t, 57, arrived+int(lost["spool.low"]+lost["spool.high"]))
}

func TestBatchesOnTheirWayAreGivenUpLast(t *testing.T) {
	t.Parallel()
	o := options(newMemFS(), boot1)
	o.Limit = MinLimit
	s := open(t, o)
	for range 20 {
		must(t, fat(t, s, Low, 30<<10))
	}
	s.Rewind()
	first, _ := s.Next()
	for s.Stats().Lost["spool.low"] == 0 {
		must(t, fat(t, s, Low, 30<<10))
	}
	equal(t, first.Seq, s.Rewind().First)
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	s := open(t, options(fs, boot1))
	must(t, add(t, s, High, 1))
	must(t, add(t, s, Low, 2))
	fs.budget = fs.used() + 100 // nothing fits
	if err := fat(t, s, High, 20<<10); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("append to a full disk: %v", err)
	}
	if st := s.Stats(); !st.Full || st.DiskErrors == 0 {
		t.Errorf("%+v", st)
	}
	equal(t, map[string]uint64{"spool.low": 1, "spool.high": 2}, s.Stats().Lost)

	// Losses are remembered on the full disk, over a kill, and told when there is room.
	s = open(t, options(fs, boot1))
	fs.budget = -1
	must(t, add(t, s, Normal, 3))
	s.TellLosses()
	all := drain(s)
	equal(t, map[string]uint64{"spool.low": 1, "spool.high": 2}, told(t, all))
	equal(t, []string{"row-3", "SensorLoss"}, rowsOf(t, all))
	if s.Stats().Full {
		t.Error("still full")
	}
}

func TestOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	fs.budget = 0
	s := open(t, options(fs, boot1))
	if err := add(t, s, High, 1); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	fs.budget = -1
	must(t, add(t, s, High, 2))
	equal(t, []string{"row-2"}, rowsOf(t, drain(s)))
	must(t, s.Close())
}

func TestWriteErrorLosesNothing(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	s := open(t, options(fs, boot1))
	must(t, add(t, s, High, 1))
	broken := fs.segmentFiles()[0]
	fs.fail = func(op, name string) error {
		if name == broken && (op == "write" || op == "truncate") {
			return syscall.EIO
		}
		return nil
	}
	must(t, add(t, s, High, 2))
	equal(t, []string{"row-1", "row-2"}, rowsOf(t, drain(s)))
	if len(s.Stats().Lost) != 0 {
		t.Error(s.Stats().Lost)
	}
}

func TestSyncErrorSealsSegment(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	s := open(t, options(fs, boot1))
	must(t, add(t, s, High, 1))
	fs.fail = func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, ".seg") {
			return syscall.EIO
		}
		return nil
	}
	if err := s.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	fs.fail = nil
	must(t, add(t, s, High, 2))
	must(t, s.Sync())
	equal(t, 2, len(fs.segmentFiles()))
	equal(t, []string{"row-1", "row-2"}, rowsOf(t, drain(s)))
}

func TestRejectedBatchIsKeptApart(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	s := open(t, options(fs, boot1))
	for n := range 4 {
		must(t, add(t, s, Normal, n))
	}
	s.Reject(boot1, 2)
	s.Reject(boot1, 2)
	s.Reject(boot1, 99)
	s.Reject("other", 1)
	equal(t, map[string]uint64{"spool.rejected": 1}, s.Stats().Lost)
	equal(t, []string{"row-0", "row-2", "row-3"}, rowsOf(t, drain(s)))

	s = open(t, options(fs, boot1)) // killed
	equal(t, []string{"row-0", "row-2", "row-3"}, rowsOf(t, drain(s)))
	kept, err := event.Decode(fs.files["/spool/"+number{boot1, 2}.file()].data, event.DefaultLimits)
	must(t, err)
	equal(t, uint64(2), kept.Seq)
	s.TellLosses()
	equal(t, map[string]uint64{"spool.rejected": 1}, told(t, drain(s)))
}

func TestQuarantineIsBounded(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	s := open(t, options(fs, boot1))
	for n := range uint64(maxRejected * 2) {
		must(t, add(t, s, Normal, int(n)))
		s.Reject(boot1, n+1)
	}
	names, _ := fs.ReadDir("/spool/rejected")
	if len(names) > maxRejected {
		t.Errorf("%d rejected batches kept", len(names))
	}
}

func TestRenumberAfterLosingTheFolder(t *testing.T) {
	t.Parallel()
	s := open(t, options(newMemFS(), boot1))
	must(t, add(t, s, High, 1))
	must(t, add(t, s, Low, 2))
	s.Ack(boot1, 1) // of another life
	serverHash := event.HashOf([]byte("the server's last batch"))
	done, err := s.Renumber(40, serverHash)
	must(t, err)
	all := drain(s)
	if !done || len(all) != 1 || all[0].Seq != 41 {
		t.Fatalf("renumbered %v to %v", done, all)
	}
	b, err := event.Decode(all[0].Payload, event.DefaultLimits)
	must(t, err)
	equal(t, serverHash, b.Prev)
	equal(t, []string{"row-2"}, rowsOf(t, all))
	equal(t, Position{boot1, 41, 42}, s.Rewind())
	if done, err := s.Renumber(41, serverHash); done || err != nil {
		t.Errorf("renumbered again: %v", err)
	}
	must(t, add(t, s, High, 3))
	equal(t, []string{"row-2", "row-3"}, rowsOf(t, drain(s)))
	if s.NextReportID() < 1<<32 {
		t.Error("numbers of events may repeat")
	}
}

func TestAckOfWhatWasNeverMade(t *testing.T) {
	t.Parallel()
	s := open(t, options(newMemFS(), boot1))
	must(t, add(t, s, High, 1))
	s.Ack(boot1, 1<<60)
	s.Ack("unknown", 5)
	must(t, add(t, s, High, 2))
	equal(t, []string{"row-2"}, rowsOf(t, drain(s)))
}

func TestOpenRefusesBadBootIDs(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "a/b", "..", strings.Repeat("x", 65), "a\x00"} {
		if _, err := Open(options(newMemFS(), id)); !errors.Is(err, picket.Invalid) {
			t.Errorf("boot id %q: %v", id, err)
		}
	}
}

func TestClosedSpool(t *testing.T) {
	t.Parallel()
	s := open(t, options(newMemFS(), boot1))
	must(t, add(t, s, High, 1))
	must(t, s.Close())
	must(t, s.Close())
	if err := add(t, s, High, 2); !errors.Is(err, picket.Canceled) {
		t.Error(err)
	}
	if _, ok := s.Next(); ok {
		t.Error("a closed spool hands out batches")
	}
	s.Ack(boot1, 1)
	s.Reject(boot1, 1)
	s.TellLosses()
}

func TestBackgroundOnRealFiles(t *testing.T) {
	defer goleak.VerifyNone(t)
	o := Options{Dir: t.TempDir(), BootID: boot1, SyncEvery: 1e6, Limit: MinLimit}
	s := open(t, o)
	for range 60 {
		must(t, fat(t, s, Low, 30<<10))
	}
	select {
	case <-s.Ready():
	default:
		t.Error("not ready after appends")
	}
	if _, err := os.Stat(o.Dir + "/state"); err != nil {
		t.Error(err)
	}
	must(t, s.Close())
	s = open(t, o)
	all := drain(s)
	arrived := 0
	for _, n := range rowsOf(t, all) {
		if n != "SensorLoss" { // one a second is possible
			arrived++
		}
	}
	equal(t, map[string]uint64{"spool.low": uint64(60 - arrived)}, told(t, all))
	must(t, s.Close())
}
