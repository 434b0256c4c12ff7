// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/picket-edr/picket"
)

// Files that are checked before the store opens; the rest is checked in the
// background, gently, and all again every scrubEvery.
const (
	checkedBytes = 64 << 20
	scrubEvery   = 24 * time.Hour
	scrubRate    = 64 << 20 // bytes a second
)

// syncFile has a file's content on disk on return.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ensureDir makes a directory that survives a power loss.
func ensureDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// lock keeps other processes out of a directory until the file is closed:
// each would take the other's newest files for remains of a crash.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another process has it open: %v: %w", err, picket.Conflict)
	}
	return f, nil
}

// checksum reads a whole file. Pause, when not nil, is called between blocks
// with their size.
func checksum(path string, pause func(n int) error) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	table := crc32.MakeTable(crc32.Castagnoli)
	sum, buf := uint32(0), make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		sum = crc32.Update(sum, table, buf[:n])
		if err == io.EOF {
			return sum, nil
		}
		if err != nil {
			return 0, err
		}
		if pause != nil {
			if err := pause(n); err != nil {
				return 0, err
			}
		}
	}
}

// fault says what is wrong with a file, "" when nothing is. Whole asks for its
// content to be read. An error means that it could not be looked at.
func (f file) fault(dir string, whole bool, pause func(n int) error) (string, error) {
	path := filepath.Join(dir, filesDir, f.Name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "missing", nil
	}
	if err != nil {
		return "", err
	}
	if info.Size() != f.Bytes {
		return fmt.Sprintf("%d bytes long, was %d", info.Size(), f.Bytes), nil
	}
	if !whole {
		return "", nil
	}
	sum, err := checksum(path, pause)
	var device *fs.PathError
	if errors.As(err, &device) && errors.Is(err, syscall.EIO) {
		return "unreadable: " + err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	if sum != f.Sum {
		return fmt.Sprintf("content changed: checksum %08x, was %08x", sum, f.Sum), nil
	}
	return "", nil
}

// setAside moves the remains of a damaged file out of the way.
func setAside(dir, name string) error {
	to := filepath.Join(dir, damagedDir)
	if err := ensureDir(to); err != nil {
		return err
	}
	err := os.Rename(filepath.Join(dir, filesDir, name), filepath.Join(to, filepath.Base(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// tidy gives up files that are damaged, checking the content of the newest,
// and deletes files that the manifest does not name: a crash between writing
// a file and naming it, or between replacing and deleting it, leaves such.
func (m *manifest) tidy(dir string, now time.Time) (problems int, err error) {
	left := int64(checkedBytes)
	for _, f := range newestFirst(m.Files) {
		left -= f.Bytes
		reason, err := f.fault(dir, left >= 0, nil)
		if err != nil {
			return problems, err
		}
		if reason == "" {
			continue
		}
		problems++
		m.giveUp(f, reason, now)
		if err := setAside(dir, f.Name); err != nil {
			return problems, err
		}
	}
	if problems > 0 {
		if err := m.save(dir); err != nil {
			return problems, err
		}
	}
	return problems, m.sweep(dir)
}

// newestFirst orders files by their number, last written first.
func newestFirst(files []file) []file {
	out := append([]file(nil), files...)
	sortFiles(out, func(a, b file) bool { return filepath.Base(a.Name) > filepath.Base(b.Name) })
	return out
}

// sweep deletes files that the manifest does not name.
func (m *manifest) sweep(dir string) error {
	named := map[string]bool{}
	for _, f := range m.Files {
		named[f.Name] = true
	}
	root := filepath.Join(dir, filesDir)
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if rel, err := filepath.Rel(root, path); err != nil || named[rel] {
			return err
		}
		return os.Remove(path)
	})
}

// scrub reads all files gently and gives up those that changed.
func (s *Store) scrub(ctx context.Context) error {
	began, done := time.Now(), 0
	pause := func(n int) error {
		done += n
		ahead := time.Duration(float64(done)/scrubRate*float64(time.Second)) - time.Since(began)
		if ahead <= 0 {
			return ctx.Err()
		}
		t := time.NewTimer(ahead)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return nil
		}
	}
	v := s.versions.acquire() // its files stay
	defer s.versions.release(v)
	for _, f := range v.manifest.Files {
		reason, err := f.fault(s.opts.Dir, true, pause)
		if err != nil {
			return fmt.Errorf("scrub %s: %w", f.Name, err)
		}
		if reason == "" {
			continue
		}
		if err := s.giveUp(f, reason); err != nil {
			return fmt.Errorf("scrub %s: %w", f.Name, err)
		}
	}
	return nil
}

// giveUp takes a damaged file out of the store.
func (s *Store) giveUp(f file, reason string) error {
	err := s.edit(func(m *manifest) bool {
		for _, x := range m.Files {
			if x.Name == f.Name {
				m.giveUp(f, reason, s.opts.Now())
				return true
			}
		}
		return false // compacted or expired meanwhile
	})
	if err != nil {
		return err
	}
	s.opts.Log.Error("event file given up", "dir", s.opts.Dir, "file", f.Name, "reason", reason, "rows", f.Rows)
	return setAside(s.opts.Dir, f.Name)
}
