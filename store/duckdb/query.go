// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"strings"
	"sync"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
)

// readers is a pool of connections for queries. Its size bounds how many run
// at once.
type readers struct {
	connector *duckdb.Connector
	slots     chan *duckdb.Conn // nil: not connected yet

	mu      sync.Mutex
	running map[*context.CancelCauseFunc]bool
}

func newReaders(c *duckdb.Connector, n int) *readers {
	r := &readers{connector: c, slots: make(chan *duckdb.Conn, n), running: map[*context.CancelCauseFunc]bool{}}
	for range n {
		r.slots <- nil
	}
	return r
}

func (r *readers) get(ctx context.Context) (*duckdb.Conn, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case c := <-r.slots:
		if c != nil {
			return c, nil
		}
		fresh, err := r.connector.Connect(ctx)
		if err != nil {
			r.slots <- nil
			return nil, err
		}
		return fresh.(*duckdb.Conn), nil
	}
}

// errGaveWay is why a query was stopped for want of memory. Queries and new
// rows share it, and new rows come first.
var errGaveWay = fmt.Errorf("the query takes too much memory, which new events need: %w", picket.TooLarge)

// begin registers a query that gives way when asked to.
func (r *readers) begin(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[&cancel] = true
	return ctx, func() {
		cancel(nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.running, &cancel)
	}
}

// giveWay stops all queries that run.
func (r *readers) giveWay() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for cancel := range r.running {
		(*cancel)(errGaveWay)
	}
}

// close waits for queries to end and disconnects.
func (r *readers) close() {
	for range cap(r.slots) {
		if c := <-r.slots; c != nil {
			_ = c.Close()
		}
	}
}

// Query runs one SELECT statement over what is visible. DuckDB has the whole
// answer in memory when it returns.
func (s *Store) Query(ctx context.Context, query string, args ...any) (store.Rows, error) {
	start := s.opts.Now()
	rows, err := s.query(ctx, query, args)
	s.metrics.queries.Observe(s.opts.Now().Sub(start).Seconds())
	if err == nil {
		return rows, nil
	}
	s.metrics.failedQueries.Inc()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("query: %w: %w", ctx.Err(), picket.Canceled)
	}
	if strings.Contains(err.Error(), filepath.Join(s.opts.Dir, filesDir)) {
		s.askScrub() // it names one of our files: look whether that is damaged
	}
	return nil, fmt.Errorf("query: %w", err)
}

func (s *Store) query(ctx context.Context, query string, args []any) (*answer, error) {
	if s.ctx.Err() != nil {
		return nil, errClosed()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() // Close does not wait for long queries
	head, rest, err := split(query)
	if err != nil {
		return nil, err
	}
	values := make([]driver.NamedValue, len(args))
	for i, a := range args {
		v, err := driver.DefaultParameterConverter.ConvertValue(a)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %v: %w", i+1, err, picket.Invalid)
		}
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	conn, err := s.readers.get(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { s.readers.slots <- conn }()
	ctx, end := s.readers.begin(ctx)
	defer end()
	v := s.versions.acquire()
	defer s.versions.release(v)
	rows, stmt, err := run(ctx, conn, head+v.prelude(s.opts.Dir, named(s.physical(), query), query, store.WindowOf(ctx))+rest, values)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errGaveWay) {
			return nil, cause
		}
		return nil, err
	}
	return &answer{rows: rows, stmt: stmt, columns: rows.Columns(), values: make([]driver.Value, len(rows.Columns()))}, nil
}

// named returns the columns that a statement may mean. Most of the time of a
// short query goes into columns that it never names, so those are left out
// unless it asks for all in one of the ways that there are.
func named(columns []schema.Column, query string) []schema.Column {
	q := strings.ToLower(query)
	for _, all := range []string{"*", "columns", "natural", "summarize", "describe"} {
		if strings.Contains(strings.ReplaceAll(q, "count(*)", ""), all) {
			return columns
		}
	}
	if strings.HasPrefix(strings.TrimSpace(q), "from") {
		return columns
	}
	var out []schema.Column
	for _, c := range columns {
		if c.Name == store.TableColumn || strings.Contains(q, strings.ToLower(c.Name)) {
			out = append(out, c)
		}
	}
	return out
}

// split returns what stands before and after the definitions of the tables in
// front of a statement.
func split(query string) (head, rest string, err error) {
	q := strings.TrimSpace(query)
	word, after, _ := strings.Cut(strings.Join(strings.Fields(q), " "), " ")
	switch strings.ToUpper(word) {
	case "SELECT", "FROM", "VALUES":
		return "WITH ", " " + q, nil
	case "WITH":
		q = strings.TrimSpace(q[len(word):])
		if r, _, _ := strings.Cut(after, " "); strings.EqualFold(r, "RECURSIVE") {
			return "WITH RECURSIVE ", ", " + strings.TrimSpace(q[len(r):]), nil
		}
		return "WITH ", ", " + q, nil
	}
	return "", "", fmt.Errorf("a query starts with SELECT or WITH: %w", picket.Invalid)
}

// run prepares the only statement of a text, refuses what changes anything,
// and executes it. The statement is closed after the rows.
func run(ctx context.Context, conn *duckdb.Conn, text string, args []driver.NamedValue) (driver.Rows, *duckdb.Stmt, error) {
	prepared, err := conn.Prepare(text)
	if err != nil {
		var own *duckdb.Error
		if !errors.As(err, &own) { // the driver's: several statements, or none
			err = fmt.Errorf("%w: %w", err, picket.Invalid)
		}
		return nil, nil, kindOf(err)
	}
	stmt := prepared.(*duckdb.Stmt)
	kind, err := stmt.StatementType()
	if err == nil && kind != duckdb.STATEMENT_TYPE_SELECT {
		err = fmt.Errorf("a query only reads: %w", picket.Invalid)
	}
	if err != nil {
		return nil, nil, errors.Join(err, stmt.Close())
	}
	rows, err := stmt.QueryContext(ctx, args)
	if err != nil {
		return nil, nil, errors.Join(kindOf(err), stmt.Close())
	}
	return rows, stmt, nil
}

// kindOf tells a statement that is wrong from one that could not be worked off.
func kindOf(err error) error {
	var e *duckdb.Error
	if errors.As(err, &e) {
		switch e.Type {
		case duckdb.ErrorTypeParser, duckdb.ErrorTypeBinder, duckdb.ErrorTypeCatalog, duckdb.ErrorTypePermission, duckdb.ErrorTypeConversion, duckdb.ErrorTypeInvalidInput, duckdb.ErrorTypeSyntax:
			return fmt.Errorf("%w: %w", err, picket.Invalid)
		case duckdb.ErrorTypeOutOfMemory:
			return fmt.Errorf("%w: %w", err, picket.TooLarge)
		}
	}
	return err
}

// answer is the rows of one query. It is not safe for concurrent use.
type answer struct {
	rows    driver.Rows
	stmt    *duckdb.Stmt
	columns []string
	values  []driver.Value
	err     error
	closed  bool
}

func (a *answer) Columns() []string { return a.columns }

func (a *answer) Next() bool {
	if a.closed || a.err != nil {
		return false
	}
	if err := a.rows.Next(a.values); err != nil {
		if !errors.Is(err, io.EOF) {
			a.err = err
		}
		_ = a.Close()
		return false
	}
	return true
}

func (a *answer) Err() error { return a.err }

func (a *answer) Close() error {
	if a.closed {
		return nil
	}
	a.closed = true
	return errors.Join(a.rows.Close(), a.stmt.Close())
}

func (a *answer) Scan(dest ...any) error {
	if len(dest) != len(a.values) {
		return fmt.Errorf("scan: %d places for %d columns: %w", len(dest), len(a.values), picket.Internal)
	}
	for i, d := range dest {
		if !assign(d, a.values[i]) {
			return fmt.Errorf("scan: column %s is %T, which does not fit %T: %w", a.columns[i], a.values[i], d, picket.Internal)
		}
	}
	return nil
}

// assign stores a value of the driver in a place of the caller's type.
func assign(dest any, v any) bool {
	switch d := dest.(type) {
	case *any:
		*d = v
		return true
	case *string:
		return set(d, v)
	case *bool:
		return set(d, v)
	case *float64:
		return set(d, v)
	case *time.Time:
		return set(d, v)
	case *int64:
		n, ok := integer(v)
		*d = n
		return ok
	case *int:
		n, ok := integer(v)
		*d = int(n)
		return ok
	}
	return false
}

func set[T any](d *T, v any) bool {
	x, ok := v.(T)
	if ok {
		*d = x
	}
	return ok
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int32:
		return int64(v), true
	case int16:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint64:
		return int64(v), v < 1<<63
	case *big.Int: // what sum makes
		return v.Int64(), v.IsInt64()
	}
	return 0, false
}
