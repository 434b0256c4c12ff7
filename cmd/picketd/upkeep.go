// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/picket-edr/picket"
)

// backupMark is written last into a backup: without it the backup is not whole.
const backupMark = "backup-complete"

// upkeepEvery is how often old data is looked for.
const upkeepEvery = time.Hour

// upkeep removes what is older than the retention of its tenant, and sessions
// that ended, until ctx ends.
func (s *picketServer) upkeep(ctx context.Context) error {
	t := time.NewTicker(upkeepEvery)
	defer t.Stop()
	for {
		if err := s.expire(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("old data is not removed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (s *picketServer) expire(ctx context.Context) error {
	errs := []error{s.auth.Prune(ctx)}
	for id, p := range s.pipelines {
		t, err := s.db.Tenant(ctx, id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		before := time.Now().Add(-t.Retention)
		errs = append(errs, p.events.Expire(ctx, before))
		if n, err := s.db.ExpireAlerts(ctx, id, before); err != nil {
			errs = append(errs, err)
		} else if n > 0 {
			s.log.Info("alerts past retention are removed", "tenant", id, "alerts", n)
		}
	}
	return errors.Join(errs...)
}

// backup copies everything that a restored server needs into an absent
// directory, while the server runs. Events on the bus are sealed into the
// store first; the restored bus starts empty.
func (s *picketServer) backup(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s is there already: %w", dir, picket.Conflict)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// What devices have reached first: a copy of it may be older than the
	// events, never newer, or batches would be passed over.
	if err := s.bus.Backup(ctx, filepath.Join(dir, "bus")); err != nil {
		return err
	}
	for id, p := range s.pipelines {
		if err := p.events.Backup(ctx, eventsDir(dir, id)); err != nil {
			return err
		}
	}
	if s.cfg.State.URL == "" {
		if err := s.db.Backup(ctx, filepath.Join(dir, "state.db")); err != nil {
			return err
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "pki"), os.DirFS(filepath.Join(s.cfg.Data, "pki"))); err != nil {
		return err
	}
	if err := secure(dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, backupMark), []byte(picket.Version+"\n"), 0o600)
}
