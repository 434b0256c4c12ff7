// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"

	"github.com/picket-edr/picket"
)

// Options say where the records are.
type Options struct {
	URL string       // sqlite:<path> or postgres://...
	Log *slog.Logger // nil: silent
}

// DB is an open state database. It is safe for concurrent use.
type DB struct {
	w    *bun.DB // for SQLite exactly one connection: one writer at a time
	r    *bun.DB // for PostgreSQL the same as w
	path string  // of the SQLite file; empty for PostgreSQL
	log  *slog.Logger
}

// Open opens the database, creates it when it is a SQLite file that does not
// exist, and brings its tables up to date.
func Open(ctx context.Context, o Options) (*DB, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var db *DB
	var err error
	switch scheme, rest, _ := strings.Cut(o.URL, ":"); scheme {
	case "sqlite":
		db, err = openSQLite(rest)
	case "postgres", "postgresql":
		db, err = openPostgres(o.URL)
	default:
		err = fmt.Errorf("state database URL must start with sqlite: or postgres:// : %w", picket.Invalid)
	}
	if err != nil {
		return nil, err
	}
	db.log = log
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate the state database: %w", fault(err)), db.Close())
	}
	return db, nil
}

// sqliteDSN spells a file name and its settings for the driver. Commits reach
// the disk before they are acknowledged (synchronous FULL).
func sqliteDSN(path string, extra ...string) string {
	q := url.Values{"_pragma": append([]string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}, extra...)}
	q.Set("_txlock", "immediate")
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// openSQLite opens one connection to write and a few to read.
func openSQLite(path string) (*DB, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return nil, fmt.Errorf("sqlite: needs the path of a file: %w", picket.Invalid)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %v: %w", path, err, picket.Invalid)
	}
	// The records hold password hashes: the file is its owner's only. SQLite
	// gives its side files the mode of the database.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %v: %w", path, err, picket.Unavailable)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open %s: %v: %w", path, err, picket.Unavailable)
	}
	w, err := sql.Open("sqlite", sqliteDSN(path))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, fault(err))
	}
	w.SetMaxOpenConns(1)
	r, err := sql.Open("sqlite", sqliteDSN(path, "query_only(1)"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, fault(err)), w.Close())
	}
	r.SetMaxOpenConns(max(2, runtime.GOMAXPROCS(0)))
	r.SetMaxIdleConns(max(2, runtime.GOMAXPROCS(0)))
	return &DB{w: bun.NewDB(w, sqlitedialect.New()), r: bun.NewDB(r, sqlitedialect.New()), path: path}, nil
}

func openPostgres(dsn string) (*DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL URL: %v: %w", err, picket.Invalid)
	}
	// Queries reach the driver as finished text, so preparing each would only
	// fill its cache.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(4)
	db := bun.NewDB(pool, pgdialect.New())
	return &DB{w: db, r: db}, nil
}

// Close closes the database. Calls under way fail.
func (db *DB) Close() error {
	err := db.w.Close()
	if db.r != db.w {
		err = errors.Join(err, db.r.Close())
	}
	if err != nil {
		return fmt.Errorf("close the state database: %w", fault(err))
	}
	return nil
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.w.PingContext(ctx); err != nil {
		return fmt.Errorf("state database: %v: %w", err, picket.Unavailable)
	}
	return nil
}

// postgres reports which engine is in use, for the few places that differ.
func (db *DB) postgres() bool { return db.path == "" }

// write runs f in one transaction, which is on disk when write returns nil.
func (db *DB) write(ctx context.Context, f func(ctx context.Context, tx bun.Tx) error) error {
	return fault(db.w.RunInTx(ctx, nil, f))
}

// lock makes a SELECT inside a transaction hold its rows until the end.
// SQLite has one writer, which holds everything already.
func (db *DB) lock(q *bun.SelectQuery) *bun.SelectQuery {
	if db.postgres() {
		return q.For("UPDATE")
	}
	return q
}

// SQLite result codes that have a meaning of their own here.
const (
	sqliteBusy       = 5
	sqliteFull       = 13
	sqliteConstraint = 19
	sqliteIOErr      = 10
	sqliteForeignKey = 787 // extended
)

// fault gives an error of a driver the kind that it means. Errors that carry
// a kind stay as they are.
func fault(err error) error {
	if err == nil {
		return nil
	}
	for _, k := range picket.Kinds() {
		if errors.Is(err, k) {
			return err
		}
	}
	kind := picket.Internal
	var lite *sqlite.Error
	var pg *pgconn.PgError
	var dial *pgconn.ConnectError
	switch {
	case errors.Is(err, sql.ErrNoRows):
		kind = picket.NotFound
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = picket.Canceled
	case errors.As(err, &lite):
		kind = liteKind(lite.Code())
	case errors.As(err, &pg):
		kind = pgKind(pg.Code)
	case errors.As(err, &dial), errors.Is(err, sql.ErrConnDone):
		kind = picket.Unavailable
	}
	return fmt.Errorf("%w: %w", err, kind)
}

func liteKind(code int) error {
	if code == sqliteForeignKey { // what the record belongs to is not there
		return picket.NotFound
	}
	switch code & 0xff {
	case sqliteConstraint:
		return picket.Conflict
	case sqliteBusy, sqliteFull, sqliteIOErr:
		return picket.Unavailable
	}
	return picket.Internal
}

func pgKind(code string) error {
	switch {
	case code == "23503": // what the record belongs to is not there
		return picket.NotFound
	case code == "23505":
		return picket.Conflict
	case strings.HasPrefix(code, "22"): // data exception
		return picket.Invalid
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "40"):
		return picket.Unavailable
	}
	return picket.Internal
}

// micros and at convert between time.Time and the form kept in the tables.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func at(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// clean makes text from outside fit to store: valid UTF-8 without NUL, which
// PostgreSQL refuses, and at most limit bytes.
func clean(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// affected returns the number of rows that a statement changed.
func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// changedOne turns a statement that changed nothing into NotFound.
func changedOne(what string, res sql.Result, err error) error {
	n, err := affected(res, err)
	if err != nil {
		return fmt.Errorf("%s: %w", what, fault(err))
	}
	if n == 0 {
		return fmt.Errorf("%s: %w", what, picket.NotFound)
	}
	return nil
}
