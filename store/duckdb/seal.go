// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/store"
)

// Compaction merges files of one day until they are compactRows long.
const (
	compactRows  = 1 << 20
	compactFiles = 8
	maintenance  = 30 * time.Second
)

// order is how rows lie in a file: what a timeline reads lies together.
const order = `ORDER BY "DeviceId", "Timestamp", "BootId", "BatchSequence", "` + store.IndexColumn + `"`

func (s *Store) sealLoop(ctx context.Context) {
	defer s.done.Done()
	t := time.NewTicker(maintenance)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.full:
			s.report("seal", s.Seal(ctx))
			s.report("compact", s.compact(ctx))
		case <-t.C:
			s.mu.Lock()
			due := !s.oldest.IsZero() && s.opts.Now().Sub(s.oldest) >= s.opts.SealAge
			s.mu.Unlock()
			if due {
				s.report("seal", s.Seal(ctx))
				s.report("compact", s.compact(ctx))
			}
			s.deleteOld()
		}
	}
}

func (s *Store) report(what string, err error) {
	if err != nil {
		s.opts.Log.Error("event store", "step", what, "dir", s.opts.Dir, "error", err)
	}
}

// Seal writes the rows in memory into a file and moves the durable position
// forward. Rows stay visible all the time. When it fails, rows stay in memory
// and on the bus, and the next call tries again.
func (s *Store) Seal(ctx context.Context) error {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	defer s.sealed.Broadcast()
	s.mu.Lock()
	if err := s.app.flush(); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.sealTable == "" {
		if s.hot == 0 {
			s.mu.Unlock()
			return s.sealPosition()
		}
		if err := s.switchTable(ctx, s.table); err != nil {
			s.mu.Unlock()
			return err
		}
		s.next = s.manifest.clone()
		s.next.Position = s.pending
		s.next.Batches = cloneBatches(s.batches)
		s.next.prune()
	}
	table, next := s.sealTable, s.next
	s.mu.Unlock()
	f, err := s.write(ctx, next, "SELECT * FROM "+table)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	next.Files = append(next.Files, f)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := next.save(s.opts.Dir); err != nil {
		next.Files = next.Files[:len(next.Files)-1]
		return fmt.Errorf("seal: %w", err)
	}
	s.manifest, s.sealTable, s.next = next, "", nil
	if err := s.views(ctx); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	_, err = s.reader.ExecContext(ctx, "DROP TABLE "+table)
	return err
}

// sealPosition moves the durable position when nothing but repeats came.
func (s *Store) sealPosition() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.manifest.Position == s.pending || s.hot > 0 {
		return nil
	}
	next := s.manifest.clone()
	next.Position = s.pending
	if err := next.save(s.opts.Dir); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	s.manifest = next
	return nil
}

// prune forgets the oldest boots of devices that start often. Which boot is
// oldest is not known, so those with the fewest batches go first.
func (m *manifest) prune() {
	for _, boots := range m.Batches {
		for len(boots) > bootsKept {
			least := ""
			for b := range boots {
				if least == "" || boots[b] < boots[least] {
					least = b
				}
			}
			delete(boots, least)
		}
	}
}

// write copies the rows of a query, sorted, into a new file that is on disk
// on return. It takes the file's number from the manifest.
func (s *Store) write(ctx context.Context, m *manifest, query string) (file, error) {
	f := file{Name: fmt.Sprintf("%010d.parquet", m.Next)}
	m.Next++
	path := filepath.Join(s.opts.Dir, filesDir, f.Name)
	copyQuery := fmt.Sprintf("COPY (%s %s) TO %s (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3, ROW_GROUP_SIZE 40960)", query, order, quote(path))
	if _, err := s.reader.ExecContext(ctx, copyQuery); err != nil {
		_ = os.Remove(path)
		return f, err
	}
	if err := syncFile(path); err != nil {
		return f, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return f, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return f, err
	}
	f.Bytes = info.Size()
	q := `SELECT count(*), coalesce(epoch_us(min("Timestamp")), 0), coalesce(epoch_us(max("Timestamp")), 0) FROM read_parquet(` + quote(path) + ")"
	return f, s.reader.QueryRowContext(ctx, q).Scan(&f.Rows, &f.Min, &f.Max)
}

// compact merges small files of one day.
func (s *Store) compact(ctx context.Context) error {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	s.mu.Lock()
	next := s.manifest.clone()
	busy := s.sealTable != "" // a seal failed; let it go first
	s.mu.Unlock()
	small := map[int64][]file{}
	for _, f := range next.Files {
		if f.Rows < compactRows {
			small[f.day()] = append(small[f.day()], f)
		}
	}
	for _, files := range small {
		if len(files) < compactFiles || busy {
			continue
		}
		if err := s.merge(ctx, next, files); err != nil {
			return err
		}
	}
	return nil
}

// merge replaces files by one.
func (s *Store) merge(ctx context.Context, next *manifest, files []file) error {
	var names []string
	gone := map[string]bool{}
	rows := int64(0)
	for _, f := range files {
		if rows += f.Rows; rows > 2*compactRows {
			break
		}
		names = append(names, quote(filepath.Join(s.opts.Dir, filesDir, f.Name)))
		gone[f.Name] = true
	}
	merged, err := s.write(ctx, next, "SELECT * FROM read_parquet(["+strings.Join(names, ", ")+"], union_by_name = true)")
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return s.replace(ctx, next, gone, &merged)
}

// replace takes files out of the manifest, and one in, and deletes them later.
func (s *Store) replace(ctx context.Context, next *manifest, gone map[string]bool, in *file) error {
	var kept []file
	for _, f := range next.Files {
		if !gone[f.Name] {
			kept = append(kept, f)
		}
	}
	if in != nil {
		kept = append(kept, *in)
	}
	next.Files = kept
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := next.save(s.opts.Dir); err != nil {
		return err
	}
	s.manifest = next.clone()
	for name := range gone {
		s.delete = append(s.delete, deletion{filepath.Join(s.opts.Dir, filesDir, name), s.opts.Now().Add(deleteAfter)})
	}
	return s.views(ctx)
}

// Expire forgets files whose newest row is older than a moment.
func (s *Store) Expire(ctx context.Context, before time.Time) error {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	s.mu.Lock()
	next := s.manifest.clone()
	s.mu.Unlock()
	gone := map[string]bool{}
	for _, f := range next.Files {
		if f.Max < before.UnixMicro() {
			gone[f.Name] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return s.replace(ctx, next, gone, nil)
}

// deleteOld deletes files that no query reads any more.
func (s *Store) deleteOld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var later []deletion
	for _, d := range s.delete {
		if s.opts.Now().Before(d.at) {
			later = append(later, d)
			continue
		}
		if err := os.Remove(d.path); err != nil && !os.IsNotExist(err) {
			s.opts.Log.Warn("event file cannot be deleted", "error", err)
			later = append(later, d)
		}
	}
	s.delete = later
}

// Backup seals what is in memory and copies the store, as of now, into an
// absent directory. Files never change, so they are linked where possible.
func (s *Store) Backup(ctx context.Context, dir string) error {
	if err := s.Seal(ctx); err != nil {
		return err
	}
	s.sealing.Lock() // no file of the manifest goes away meanwhile
	defer s.sealing.Unlock()
	s.mu.Lock()
	m := s.manifest.clone()
	s.mu.Unlock()
	if err := os.MkdirAll(filepath.Join(dir, filesDir), 0o700); err != nil {
		return fmt.Errorf("back up events: %w", err)
	}
	for _, f := range m.Files {
		if err := linkOrCopy(filepath.Join(s.opts.Dir, filesDir, f.Name), filepath.Join(dir, filesDir, f.Name)); err != nil {
			return fmt.Errorf("back up events: %w", err)
		}
	}
	if err := m.save(dir); err != nil {
		return fmt.Errorf("back up events: %w: %w", err, picket.Internal)
	}
	return nil
}

func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		return err
	}
	return syncFile(to)
}
