// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

func TestBackup(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := open(t, sqliteURL(t))
	dir := t.TempDir()
	path := filepath.Join(dir, "it's a copy.db")

	// A writer goes on during the backup.
	writing, stop := context.WithCancel(ctx)
	started := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; writing.Err() == nil; i++ {
			_, err := db.AppendAudit(writing, ours, picket.AuditEntry{Time: now, Actor: "a"})
			if err != nil && writing.Err() == nil {
				t.Error(err)
			}
			if i == 50 {
				close(started)
			}
		}
	})
	<-started
	before, _, err := db.AuditHead(ctx, ours)
	ok(t, err)
	ok(t, os.WriteFile(path+".part", []byte("left by a crash"), 0o600))
	ok(t, db.Backup(ctx, path))
	stop()
	wg.Wait()

	info, err := os.Stat(path)
	ok(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	kind(t, "twice", db.Backup(ctx, path), picket.Conflict)
	kind(t, "no directory", db.Backup(ctx, filepath.Join(dir, "none", "x")), picket.Unavailable)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if db.Backup(canceled, filepath.Join(dir, "y")) == nil {
		t.Error("a canceled backup succeeded")
	}

	copied, err := state.Open(ctx, state.Options{URL: "sqlite:" + path})
	ok(t, err)
	defer copied.Close()
	r, done := pipe(func(w *os.File) error { return copied.ExportAudit(ctx, ours, w) })
	rep, err := picket.VerifyAudit(r)
	ok(t, err)
	ok(t, <-done)
	if rep.Last < before {
		t.Errorf("copy ends at entry %d, %d were there when it began", rep.Last, before)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.part*"))
	ok(t, err)
	if len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

func TestBackupPostgres(t *testing.T) {
	t.Parallel()
	db := open(t, server.database(t))
	err := db.Backup(t.Context(), filepath.Join(t.TempDir(), "x"))
	kind(t, "PostgreSQL", err, picket.Invalid)
	if err == nil || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("error %v names no way out", err)
	}
}
