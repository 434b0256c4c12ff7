// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
)

// Options configure a store.
type Options struct {
	Dir      string
	MemoryMB int           // for queries, sorting and the rows in memory
	Threads  int           // of one query
	SealRows int           // rows in memory that make a file; 0 means 131072
	SealAge  time.Duration // of the oldest row in memory that makes a file; 0 means 5 minutes
	Log      *slog.Logger
	Now      func() time.Time
}

// Rows in memory become visible after flushEvery; damaged or superseded files
// are deleted deleteAfter later, when no query reads them any more.
const (
	flushEvery  = 200 * time.Millisecond
	deleteAfter = 5 * time.Minute
	sealRows    = 128 << 10
	sealAge     = 5 * time.Minute
)

// Store is a tenant's telemetry. It is safe for concurrent use.
//
// Locks, in order: sealing, mu, db. Appending holds mu; sealing holds sealing
// for its whole time and mu only to switch tables.
type Store struct {
	opts    Options
	columns []schema.Column // that events have, physical
	active  []schema.Column // of the table in memory: those that somebody fills, and those met since
	reader  *sql.DB
	conn    mapping.Connection // appends

	sealing sync.Mutex // one seal or compaction at a time

	mu        sync.Mutex
	manifest  *manifest // as saved
	app       *appender
	table     string         // rows go into this table in memory
	sealTable string         // table being sealed, "" when none
	next      *manifest      // what will be true once sealTable is sealed
	tables    int            // number of the last table
	hot       int            // rows in table
	oldest    time.Time      // when the first row of table came
	pending   store.Position // of the newest delivery in memory
	batches   map[string]map[string]uint64
	duplicate int64
	unknown   int64
	failed    error // of a flush in the background; Append reports it

	delete []deletion
	stop   context.CancelFunc
	done   sync.WaitGroup
	full   chan struct{} // asks for a seal
	sealed *sync.Cond    // on mu: a seal ended
}

type deletion struct {
	path string
	at   time.Time
}

// Open opens or makes the store of a directory.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.SealRows == 0 {
		o.SealRows = sealRows
	}
	if o.SealAge == 0 {
		o.SealAge = sealAge
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	if err := os.MkdirAll(filepath.Join(o.Dir, filesDir), 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{opts: o, full: make(chan struct{}, 1)}
	if s.manifest, err = loadManifest(o.Dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.connect(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	problems, err := s.manifest.tidy(o.Dir, s.countRows)
	if err != nil {
		s.disconnect()
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	for _, p := range problems {
		o.Log.Error("event file given up", "dir", o.Dir, "problem", p)
	}
	s.pending, s.batches = s.manifest.Position, cloneBatches(s.manifest.Batches)
	if err := s.Ensure(ctx, schema.Wide()); err != nil {
		s.disconnect()
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	s.sealed = sync.NewCond(&s.mu)
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Add(2)
	go s.flushLoop(background)
	go s.sealLoop(background)
	return s, nil
}

// connect opens the database in memory twice: once by database/sql for
// queries, once natively for appending vectors.
func (s *Store) connect() error {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return err
	}
	s.reader = sql.OpenDB(connector)
	for _, set := range []string{
		fmt.Sprintf("SET memory_limit = '%dMB'", s.opts.MemoryMB),
		fmt.Sprintf("SET threads = %d", s.opts.Threads),
		"SET checkpoint_threshold = '1TB'", // a checkpoint would compress rows that leave memory soon
		"SET preserve_insertion_order = false",
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET temp_directory = " + quote(filepath.Join(s.opts.Dir, "tmp")),
		"SET allowed_directories = [" + quote(s.opts.Dir) + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	} {
		if _, err := s.reader.Exec(set); err != nil {
			s.reader.Close()
			return fmt.Errorf("%s: %w", set, err)
		}
	}
	native, err := nativeDatabase(connector)
	if err != nil {
		s.reader.Close()
		return err
	}
	if mapping.Connect(native, &s.conn) == mapping.StateError {
		return errors.New("second connection refused")
	}
	return nil
}

// nativeDatabase returns the handle inside a connector. The driver has no
// other way to a second, native connection on a database in memory; its
// version is pinned, and a handle that is not there is an error.
func nativeDatabase(c *duckdb.Connector) (mapping.Database, error) {
	f := reflect.ValueOf(c).Elem().FieldByName("db")
	if !f.IsValid() || f.Type() != reflect.TypeFor[mapping.Database]() {
		return mapping.Database{}, fmt.Errorf("this version of the driver keeps its handle elsewhere: %w", picket.Internal)
	}
	return *(*mapping.Database)(unsafe.Pointer(f.UnsafeAddr())), nil
}

func (s *Store) disconnect() {
	if s.app != nil {
		s.app.close()
	}
	mapping.Disconnect(&s.conn)
	s.reader.Close()
}

func (s *Store) countRows(path string) (rows int64, err error) {
	err = s.reader.QueryRow("SELECT count(*) FROM read_parquet(" + quote(path) + ")").Scan(&rows)
	return rows, err
}

// Ensure starts a new table in memory with the columns; earlier rows keep theirs.
func (s *Store) Ensure(ctx context.Context, columns []schema.Column) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.columns = physical(columns)
	s.active = nil
	for _, c := range s.columns {
		if len(c.Fill) > 0 || c.Name == store.TableColumn || c.Name == store.IndexColumn {
			s.active = append(s.active, c)
		}
	}
	if err := s.createTable(ctx, template, s.columns); err != nil {
		return err
	}
	return s.switchTable(ctx, "")
}

// template is an empty table with every column. It gives its columns to the
// views when neither memory nor files have them.
const template = "template"

func (s *Store) createTable(ctx context.Context, name string, columns []schema.Column) error {
	var defs []string
	for _, c := range columns {
		defs = append(defs, fmt.Sprintf("%q %s", c.Name, sqlType(c.Type)))
	}
	_, err := s.reader.ExecContext(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s (%s)", name, strings.Join(defs, ", ")))
	return err
}

// widen adds columns that a batch brings and nobody filled so far to the
// table in memory. The caller holds mu.
func (s *Store) widen(ctx context.Context, b *event.Batch) error {
	var more []schema.Column
	for _, blk := range b.Blocks {
		for i := range blk.Columns {
			name := blk.Columns[i].Name
			if !s.app.has(name) && !has(more, name) {
				if c := find(s.columns, name); c != nil {
					more = append(more, *c)
				}
			}
		}
	}
	if len(more) == 0 {
		return nil
	}
	if err := s.app.flush(); err != nil {
		return err
	}
	for _, c := range more {
		if _, err := s.reader.ExecContext(ctx, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %q %s", s.table, c.Name, sqlType(c.Type))); err != nil {
			return err
		}
	}
	s.active = append(s.active, more...)
	if err := s.newAppender(s.table); err != nil {
		return err
	}
	return s.views(ctx)
}

func find(columns []schema.Column, name string) *schema.Column {
	for i := range columns {
		if strings.EqualFold(columns[i].Name, name) {
			return &columns[i]
		}
	}
	return nil
}

func has(columns []schema.Column, name string) bool { return find(columns, name) != nil }

func (s *Store) newAppender(table string) error {
	if s.app != nil {
		s.unknown += s.app.unknown
		s.app.close()
		s.app = nil
	}
	app, err := newAppender(s.conn, table, s.active)
	if err != nil {
		return err
	}
	s.app = app
	return nil
}

// switchTable makes a new table for appending. The old one, if it is to be
// sealed, stays visible. The caller holds mu.
func (s *Store) switchTable(ctx context.Context, sealing string) error {
	s.tables++
	name := fmt.Sprintf("hot_%d", s.tables)
	if err := s.createTable(ctx, name, s.active); err != nil {
		return err
	}
	if err := s.newAppender(name); err != nil {
		return err
	}
	s.table, s.sealTable, s.hot, s.oldest = name, sealing, 0, time.Time{}
	return s.views(ctx)
}

// views defines the table of all events and one view for each logical table
// over files and tables in memory, in one transaction. The caller holds mu.
func (s *Store) views(ctx context.Context) error {
	tx, err := s.reader.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	parts := []string{"SELECT * FROM " + template, "SELECT * FROM " + s.table}
	if s.sealTable != "" {
		parts = append(parts, "SELECT * FROM "+s.sealTable)
	}
	if len(s.manifest.Files) > 0 {
		var names []string
		for _, f := range s.manifest.Files {
			names = append(names, quote(filepath.Join(s.opts.Dir, filesDir, f.Name)))
		}
		parts = append(parts, "SELECT * FROM read_parquet(["+strings.Join(names, ", ")+"], union_by_name = true)")
	}
	if _, err := tx.ExecContext(ctx, "CREATE OR REPLACE VIEW "+store.EventsTable+" AS "+strings.Join(parts, " UNION ALL BY NAME ")); err != nil {
		return fmt.Errorf("define events: %w", err)
	}
	for _, t := range schema.Tables {
		var cols []string
		seen := map[string]bool{}
		for _, c := range t.Columns {
			if key := strings.ToLower(c.Name); !seen[key] {
				seen[key] = true
				cols = append(cols, fmt.Sprintf("%q", c.Name))
			}
		}
		q := fmt.Sprintf("CREATE OR REPLACE VIEW %s AS SELECT %s FROM %s WHERE %s = '%s'", t.Name, strings.Join(cols, ", "), store.EventsTable, store.TableColumn, t.Name)
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("define %s: %w", t.Name, err)
		}
	}
	return tx.Commit()
}

// Append takes deliveries into memory. It waits while the table before is
// still being written and this one is full, so that memory stays bounded.
func (s *Store) Append(ctx context.Context, deliveries []store.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range deliveries {
		if err := s.room(ctx); err != nil {
			return err
		}
		d := &deliveries[i]
		if s.pending.Epoch == d.Position.Epoch && d.Position.Sequence <= s.pending.Sequence {
			s.duplicate++
			continue
		}
		if s.fresh(&d.Envelope) {
			if err := errors.Join(s.widen(ctx, d.Batch), s.app.add(d)); err != nil {
				s.failed = err
				return err
			}
			if s.oldest.IsZero() {
				s.oldest = s.opts.Now()
			}
			s.hot += d.Batch.Rows()
		}
		s.pending = d.Position
	}
	return nil
}

// room asks for a seal when the table is full, and waits for one when the
// table before it is not on disk yet. The caller holds mu.
func (s *Store) room(ctx context.Context) error {
	for s.failed == nil && ctx.Err() == nil && s.hot >= s.opts.SealRows {
		s.askSeal()
		if s.sealTable == "" {
			break
		}
		s.sealed.Wait()
	}
	if s.failed != nil {
		return s.failed
	}
	return ctx.Err()
}

func (s *Store) askSeal() {
	select {
	case s.full <- struct{}{}:
	default: // asked already
	}
}

// fresh reports whether a batch is not here yet, and remembers it.
func (s *Store) fresh(e *event.Envelope) bool {
	boots := s.batches[e.DeviceID]
	if boots == nil {
		boots = map[string]uint64{}
		s.batches[e.DeviceID] = boots
	}
	if e.Seq <= boots[e.BootID] {
		s.duplicate++
		return false
	}
	boots[e.BootID] = e.Seq
	return true
}

// Sealed returns the position up to which everything is on disk.
func (s *Store) Sealed() store.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manifest.Position
}

// Query runs one statement over what is visible.
func (s *Store) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := s.reader.QueryContext(ctx, query, args...)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("query: %w: %w", ctx.Err(), picket.Canceled)
		}
		return nil, fmt.Errorf("query: %w", err)
	}
	return rows, nil
}

// Flush makes all appended rows visible now.
func (s *Store) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = s.app.flush()
	}
	return s.failed
}

func (s *Store) flushLoop(ctx context.Context) {
	defer s.done.Done()
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := s.Flush(); err != nil {
				s.opts.Log.Error("event store cannot take rows", "error", err)
				return
			}
		}
	}
}

// Stats describes what the store holds.
func (s *Store) Stats() store.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := store.Stats{Hot: int64(s.hot), Rows: int64(s.hot), Files: len(s.manifest.Files), Lost: s.manifest.Lost, Duplicate: s.duplicate, Unknown: s.unknown + s.app.unknown}
	for i, f := range s.manifest.Files {
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
	s.stop()
	s.done.Wait()
	err := s.Seal(context.Background())
	s.disconnect()
	return err
}
