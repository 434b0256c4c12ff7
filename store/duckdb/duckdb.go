// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
)

// Options configure a store. Zero values mean the defaults said.
type Options struct {
	Dir       string
	MemoryMB  int           // for queries and rows in memory, 1024; compaction takes a third more while it runs, at least 384
	Threads   int           // of all queries together, 2
	Queries   int           // that run at once; 8
	SealRows  int           // rows in memory that make a file; 65536
	SealBytes int64         // size of rows in memory that makes a file; a fifth of MemoryMB
	SealAge   time.Duration // of the oldest row in memory that makes a file; 5 minutes
	OnSealed  func(store.Position)
	Metrics   prometheus.Registerer // nil: none
	Log       *slog.Logger
	Now       func() time.Time
}

const (
	flushEvery = 200 * time.Millisecond // rows in memory become visible
	flushRows  = 32 << 10               // rows that are not visible yet, at most
	checkEvery = 5 * time.Second        // whether to seal by age, or again after a failure
)

func (o *Options) defaults() error {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.MemoryMB, 1024)
	def(&o.Threads, 2)
	def(&o.Queries, 8)
	def(&o.SealRows, 64<<10)
	if o.SealBytes == 0 {
		o.SealBytes = int64(o.MemoryMB) << 20 / 5
	}
	if o.SealAge == 0 {
		o.SealAge = 5 * time.Minute
	}
	dir, err := filepath.Abs(o.Dir)
	o.Dir = dir
	return err
}

// Store is a tenant's telemetry. It is safe for concurrent use.
//
// Locks, in order: sealing, mu, commit, versions.mu. Sealing and compaction
// write files without holding mu, so rows keep coming meanwhile.
type Store struct {
	opts    Options
	locked  *os.File
	engine  *engine
	readers *readers
	metrics *metrics
	columns atomic.Pointer[[]schema.Column] // that events have, physical

	sealing  sync.Mutex // one seal at a time
	merging  sync.Mutex // one compaction at a time
	commit   sync.Mutex // one change of the version at a time
	versions versions
	number   atomic.Int64 // of the next file

	mu       sync.Mutex
	hot      hotTable       // takes new rows
	cold     *hotTable      // being sealed, nil when none
	next     snapshot       // what will be true once cold is sealed
	tables   int            // number of the last table
	app      *appender      // on hot; nil when a flush failed
	held     []*heldBatch   // rows given to app and not visible yet
	heldRows int            // in held
	visible  store.Position // of the newest delivery whose rows are visible
	pending  store.Position // of the newest delivery
	boots    bootMap
	counts   counts
	failure  error         // why rows cannot be taken at the moment
	closed   bool          // no more deliveries
	changed  chan struct{} // closed and replaced when waiting callers should look again

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	done    sync.WaitGroup
	full    chan struct{} // asks for a seal
	merge   chan struct{} // asks for a compaction
	scrubs  chan struct{} // asks for a check of all files
	pressed atomic.Int64  // when the last seal for want of room was, Unix seconds
}

// hotTable is a table in memory.
type hotTable struct {
	table
	rows  int
	bytes int64
	since time.Time // when its first row came; zero: empty
}

// snapshot is what the manifest says about the stream.
type snapshot struct {
	position store.Position
	boots    bootMap
}

type counts struct {
	duplicate, unknown, truncated int64
}

// Open opens or makes the store of a directory.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if err := o.defaults(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := ensureDir(filepath.Join(o.Dir, filesDir)); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	s := &Store{opts: o, metrics: newMetrics(), changed: make(chan struct{}), full: make(chan struct{}, 1), merge: make(chan struct{}, 1), scrubs: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store %s: %w", o.Dir, err)
			s.release()
		}
	}()
	if s.locked, err = lock(o.Dir); err != nil {
		return nil, err
	}
	m, err := loadManifest(o.Dir)
	if err != nil {
		return nil, err
	}
	problems, err := m.tidy(o.Dir, o.Now())
	if err != nil {
		return nil, err
	}
	for _, d := range m.Damage[len(m.Damage)-min(problems, len(m.Damage)):] {
		o.Log.Error("event file given up", "dir", o.Dir, "file", d.File, "reason", d.Reason, "rows", d.Rows)
	}
	if s.engine, err = openEngine(o.Dir, "tmp", o.MemoryMB, o.Threads); err != nil {
		return nil, err
	}
	s.readers = newReaders(s.engine.connector, o.Queries)
	s.number.Store(m.Next)
	s.visible, s.pending, s.boots = m.Position, m.Position, m.Boots.clone()
	s.versions = versions{all: []*version{{manifest: m}}, drop: s.drop}
	if err := s.Ensure(ctx, schema.Wide()); err != nil {
		return nil, err
	}
	if err := s.metrics.register(o.Metrics, s); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

func (s *Store) start() {
	s.ctx, s.stop = context.WithCancel(context.Background())
	for _, loop := range []func(context.Context){s.flushLoop, s.sealLoop, s.compactLoop, s.scrubLoop} {
		s.done.Go(func() { loop(s.ctx) })
	}
}

// release gives back what Open took.
func (s *Store) release() {
	s.metrics.unregister(s.opts.Metrics)
	if s.app != nil {
		s.app.close()
		s.app = nil
	}
	if s.readers != nil {
		s.readers.close()
	}
	if s.engine != nil {
		s.engine.close()
	}
	if s.locked != nil {
		s.locked.Close()
	}
}

// drop deletes tables and files that no version has any more.
func (s *Store) drop(tables, files []string) {
	for _, t := range tables {
		if err := s.engine.exec(context.Background(), "DROP TABLE IF EXISTS "+memory+"."+t); err != nil {
			s.opts.Log.Warn("table in memory cannot be dropped", "table", t, "error", err)
		}
	}
	for _, f := range files {
		path := filepath.Join(s.opts.Dir, filesDir, f)
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			s.opts.Log.Warn("event file cannot be deleted", "error", err)
		}
		_ = os.Remove(filepath.Dir(path)) // succeeds when it was the last of its day
	}
}

func (s *Store) physical() []schema.Column { return *s.columns.Load() }

// Ensure tells the columns that queries see and rows may have. It never takes
// any away from rows that are there.
func (s *Store) Ensure(ctx context.Context, columns []schema.Column) error {
	all := physical(columns)
	s.columns.Store(&all)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hot.name != "" {
		return nil
	}
	return s.switchTable(ctx)
}

// active is the columns of a new table in memory: those that always have a
// value and those that rows had so far. Columns that nobody fills would cost
// time and memory for each row.
func (s *Store) active() []schema.Column {
	used := s.versions.current().manifest.columns()
	for _, c := range s.hot.columns {
		used[strings.ToLower(c.Name)] = true
	}
	for _, c := range always {
		used[strings.ToLower(c)] = true
	}
	var out []schema.Column
	for _, c := range s.physical() {
		if used[strings.ToLower(c.Name)] {
			out = append(out, c)
		}
	}
	return out
}

// switchTable makes a new table for new rows. The caller holds mu and has
// taken care of the old one.
func (s *Store) switchTable(ctx context.Context) error {
	s.tables++
	t := table{name: fmt.Sprintf("t%d", s.tables), columns: s.active()}
	if err := s.engine.createTable(ctx, t); err != nil {
		return err
	}
	app, err := newAppender(s.engine, t)
	if err != nil {
		return errors.Join(err, s.engine.exec(ctx, "DROP TABLE "+memory+"."+t.name))
	}
	if s.app != nil {
		s.app.close()
	}
	s.app, s.hot = app, hotTable{table: t}
	s.showTables()
	return nil
}

// showTables makes a version of the tables in memory as they are now. The
// caller holds mu.
func (s *Store) showTables() {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.versions.install(&version{manifest: s.versions.current().manifest, tables: s.tablesNow()})
}

func (s *Store) tablesNow() []table {
	if s.cold != nil {
		return []table{s.hot.table, s.cold.table}
	}
	return []table{s.hot.table}
}

// edit changes the manifest, durably, unless change returns false.
func (s *Store) edit(change func(*manifest) bool) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	now := s.versions.current()
	return s.save(now, now.tables, change)
}

// save changes the manifest and the tables together. The caller holds commit.
func (s *Store) save(now *version, tables []table, change func(*manifest) bool) error {
	m := now.manifest.clone()
	if !change(m) {
		return nil
	}
	m.Next = s.number.Load()
	if err := m.save(s.opts.Dir); err != nil {
		return err
	}
	s.versions.install(&version{manifest: m, tables: tables})
	return nil
}

// Sealed returns the position up to which everything is on disk.
func (s *Store) Sealed() store.Position { return s.versions.current().manifest.Position }

// Stats describes what the store holds.
func (s *Store) Stats() store.Stats {
	m := s.versions.current().manifest
	s.mu.Lock()
	st := store.Stats{Hot: int64(s.hot.rows), Duplicate: s.counts.duplicate, Unknown: s.counts.unknown, Truncated: s.counts.truncated}
	if s.cold != nil {
		st.Hot += int64(s.cold.rows)
	}
	s.mu.Unlock()
	st.Rows, st.Files, st.Lost, st.Damage = st.Hot, len(m.Files), m.Lost, append([]store.Damage(nil), m.Damage...)
	for i, f := range m.Files {
		st.Rows += f.Rows
		st.Bytes += f.Bytes
		if lo := event.Time(f.Min).Time(); i == 0 || lo.Before(st.Oldest) {
			st.Oldest = lo
		}
		if hi := event.Time(f.Max).Time(); hi.After(st.Newest) {
			st.Newest = hi
		}
	}
	return st
}

// Close seals what is in memory and closes the store.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.notify()
	s.mu.Unlock()
	s.stop()
	s.done.Wait()
	err := s.Seal(context.Background())
	s.release()
	return err
}

// errClosed is what a closed store answers.
func errClosed() error { return fmt.Errorf("the event store is closed: %w", picket.Unavailable) }
