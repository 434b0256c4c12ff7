// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/picket-edr/picket/store"
)

// A day's files are merged, into files of mergeRows at most, once openFiles of
// them are worth it, busyFiles while rows come so fast that files are sealed
// because memory is full, and any two once the day is over. Files of half
// mergeRows are left alone. Sorting mergeRows takes mergeMB.
const (
	mergeRows    = 1 << 20
	mergeLeast   = 1 << 16
	mergeMB      = 384
	openFiles    = 8
	busyFiles    = 32
	compactEvery = 10 * time.Minute
)

// plan chooses the files of one day that are worth merging: small ones, where
// none is more than four times the rest of them together, least files or more
// with most rows together. So a row is written again a few times only, however
// small the pieces in which rows come.
func plan(files []file, least int, most int64) []file {
	small := slices.DeleteFunc(slices.Clone(files), func(f file) bool { return f.Rows >= most/2 })
	sortFiles(small, func(a, b file) bool { return a.Rows < b.Rows })
	var chosen []file
	sum := int64(0)
	for _, f := range small {
		if len(chosen) > 0 && (f.Rows > 4*sum || sum+f.Rows > most) {
			break
		}
		chosen = append(chosen, f)
		sum += f.Rows
	}
	if len(chosen) < max(least, 2) {
		return nil
	}
	return chosen
}

// pick returns the files to merge next, nil when there is nothing worth it.
func (s *Store) pick(m *manifest, most int64) []file {
	now := s.opts.Now()
	least := openFiles
	if now.Unix()-s.pressed.Load() < 60 {
		least = busyFiles
	}
	byDay := map[int64][]file{}
	var days []int64
	for _, f := range m.Files {
		if byDay[f.day()] == nil {
			days = append(days, f.day())
		}
		byDay[f.day()] = append(byDay[f.day()], f)
	}
	slices.Sort(days)
	today := floorDay(now.UnixMicro())
	for _, d := range days {
		n := least
		if d < today && least < busyFiles {
			n = 2
		}
		if files := plan(byDay[d], n, most); files != nil {
			return files
		}
	}
	return nil
}

func (s *Store) compactLoop(ctx context.Context) {
	t := time.NewTicker(compactEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.merge:
		case <-t.C:
		}
		s.report(ctx, "compact", s.Compact(ctx))
	}
}

// Compact merges small files until nothing is worth it.
func (s *Store) Compact(ctx context.Context) error {
	s.merging.Lock()
	defer s.merging.Unlock()
	most := int64(mergeRows)
	if s.pick(s.versions.current().manifest, most) == nil {
		return nil
	}
	// An instance of its own: sorting must not take the memory of new rows.
	e, err := openEngine(s.opts.Dir, "tmp-compact", max(s.opts.MemoryMB/3, mergeMB), 1)
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	defer e.close()
	for ctx.Err() == nil {
		files := s.pick(s.versions.current().manifest, most)
		if files == nil {
			return nil
		}
		err := s.mergeFiles(ctx, e, files)
		if outOfMemory(err) && most > mergeLeast { // rows are unusually wide
			most /= 2
			continue
		}
		if err != nil {
			return fmt.Errorf("compact: %w", err)
		}
	}
	return ctx.Err()
}

// mergeFiles replaces files by one.
func (s *Store) mergeFiles(ctx context.Context, e *engine, files []file) error {
	v := s.versions.acquire() // the files stay
	defer s.versions.release(v)
	began := s.opts.Now()
	names, rows := map[string]bool{}, int64(0)
	only := &manifest{Sets: v.manifest.Sets, Files: files}
	for _, f := range files {
		names[f.Name] = true
		rows += f.Rows
	}
	query := ""
	for i, src := range (&version{manifest: only}).sources(s.opts.Dir, store.Between{}) {
		if i > 0 {
			query += " UNION ALL BY NAME "
		}
		query += "SELECT * FROM " + src.from
	}
	merged, err := s.write(ctx, e, "SELECT * FROM ("+query+")", files[0].day(), 3)
	if err != nil {
		return err
	}
	path := filepath.Join(s.opts.Dir, filesDir, merged.Name)
	if merged.Rows != rows {
		_ = os.Remove(path)
		return fmt.Errorf("%d files with %d rows make a file with %d", len(files), rows, merged.Rows)
	}
	replaced := false
	err = s.edit(func(m *manifest) bool {
		if len(m.remove(names)) != len(files) {
			return false // one expired or was given up meanwhile
		}
		merged.Set = m.set(only.union())
		m.Files = append(m.Files, merged)
		replaced = true
		return true
	})
	if err == nil && !replaced {
		return os.Remove(path)
	}
	s.metrics.compactions.Observe(s.opts.Now().Sub(began).Seconds())
	return err
}

// union returns the columns of all files, sorted.
func (m *manifest) union() []string {
	var all []string
	for _, f := range m.Files {
		all = append(all, m.Sets[f.Set]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Expire forgets files whose newest row is older than a moment. Rows that
// share a file with younger ones stay until the whole file goes: a day at most.
func (s *Store) Expire(ctx context.Context, before time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.edit(func(m *manifest) bool {
		gone := map[string]bool{}
		for _, f := range m.Files {
			if f.Max < before.UnixMicro() {
				gone[f.Name] = true
			}
		}
		s.metrics.expired.Add(float64(len(m.remove(gone))))
		m.Damage = slices.DeleteFunc(m.Damage, func(d store.Damage) bool { return d.To.Before(before) })
		return len(gone) > 0
	})
	if err != nil {
		return fmt.Errorf("expire: %w", err)
	}
	return nil
}

func (s *Store) askScrub() { ask(s.scrubs) }

func (s *Store) scrubLoop(ctx context.Context) {
	t := time.NewTicker(scrubEvery)
	defer t.Stop()
	for {
		s.report(ctx, "check files", s.scrub(ctx))
		select {
		case <-ctx.Done():
			return
		case <-s.scrubs:
		case <-t.C:
		}
	}
}
