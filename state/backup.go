// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/picket-edr/picket"
)

// Backup writes a copy of the database, as of one moment, to a new file while
// the database is in use; readers and writers go on. A file that is there
// already is a Conflict. When Backup returns nil the copy is complete and on
// disk; otherwise there is none. PostgreSQL has its own tools for this:
// Invalid.
func (db *DB) Backup(ctx context.Context, path string) error {
	if db.postgres() {
		return fmt.Errorf("the records are in PostgreSQL: back them up with pg_dump: %w", picket.Invalid)
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("back up to %s: there is a file already: %w", path, picket.Conflict)
	}
	part := path + ".part"
	err := errors.Join(os.RemoveAll(part), db.vacuumInto(ctx, part))
	if err == nil {
		err = publish(part, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("back up to %s: %w", path, fault(err)), os.RemoveAll(part))
	}
	return nil
}

// vacuumInto copies over a connection of its own, so that the writer is free.
func (db *DB) vacuumInto(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // an empty file is a fit target
	if err != nil {
		return fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	own, err := sql.Open("sqlite", sqliteDSN(db.path))
	if err != nil {
		return err
	}
	_, err = own.ExecContext(ctx, "VACUUM INTO ?", path)
	return errors.Join(err, own.Close())
}

// publish brings a finished file to disk and gives it its name.
func publish(part, path string) error {
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	return nil
}
