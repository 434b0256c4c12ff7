// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/picket-edr/picket"
)

// Backup seals what is in memory and copies the store, as of now, into a
// directory that must hold no store. Files never change, so they are linked
// where possible. Opening the directory restores it.
func (s *Store) Backup(ctx context.Context, dir string) error {
	if err := s.Seal(ctx); err != nil {
		return err
	}
	v := s.versions.acquire() // its files stay
	defer s.versions.release(v)
	if err := v.manifest.copyTo(ctx, s.opts.Dir, dir); err != nil {
		return fmt.Errorf("back up events: %w", err)
	}
	return nil
}

func (m *manifest) copyTo(ctx context.Context, from, to string) error {
	if _, err := os.Stat(filepath.Join(to, manifestName)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds a store already: %w", to, picket.Conflict)
	}
	root := filepath.Join(to, filesDir)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	dirs := map[string]bool{root: true, to: true}
	for _, f := range m.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		target := filepath.Join(root, f.Name)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		dirs[filepath.Dir(target)] = true
		if err := linkOrCopy(filepath.Join(from, filesDir, f.Name), target); err != nil {
			return err
		}
	}
	for d := range dirs {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return m.save(to) // last: without it the directory is no store
}

func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return errors.Join(out.Sync(), out.Close())
}
