// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// auditGuards make the audit table append-only in the database itself. It is
// the one place where the engines need different statements.
var auditGuards = struct{ sqlite, postgres []string }{
	sqlite: []string{
		`CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END`,
		`CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END`,
	},
	postgres: []string{
		`CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN RAISE EXCEPTION ''the audit log is append-only''; END'`,
		`CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
			FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()`,
	},
}

// migrate brings the tables up to date. Several processes may do so at once.
func (db *DB) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	dialect, guards := goose.DialectSQLite3, auditGuards.sqlite
	if db.postgres() {
		dialect, guards = goose.DialectPostgres, auditGuards.postgres
	}
	guard := goose.NewGoMigration(2, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		for _, s := range guards {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("make the audit table append-only: %w", err)
			}
		}
		return nil
	}}, nil)
	opts := []goose.ProviderOption{
		goose.WithDisableGlobalRegistry(true),
		goose.WithTableName("state_version"),
		goose.WithGoMigrations(guard),
		goose.WithSlog(db.log),
	}
	if db.postgres() {
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db.w.DB, files, opts...)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}
