// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// memFS is a file system in memory that can run out of space, fail, be cut
// from power and rot.
type memFS struct {
	mu      sync.Mutex
	files   map[string]*memFile
	removed map[string]*memFile // removed since the folder was last synced
	budget  int64               // bytes that all files may hold; negative: no limit
	fail    func(op, name string) error
}

type memFile struct {
	fs      *memFS
	name    string
	data    []byte
	synced  []byte
	durable bool // its name outlives a power cut
	closed  bool
}

func newMemFS() *memFS {
	return &memFS{files: map[string]*memFile{}, removed: map[string]*memFile{}, budget: -1}
}

func (m *memFS) check(op, name string) error {
	if m.fail != nil {
		return m.fail(op, name)
	}
	return nil
}

func (m *memFS) used() int64 {
	var n int64
	for _, f := range m.files {
		n += int64(len(f.data))
	}
	return n
}

func (m *memFS) OpenFile(name string, flag int) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("open", name); err != nil {
		return nil, err
	}
	f, ok := m.files[name]
	switch {
	case !ok && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case ok && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case !ok:
		f = &memFile{fs: m, name: name}
		m.files[name] = f
	}
	if flag&os.O_TRUNC != 0 {
		f.data = nil
	}
	f.closed = false
	return f, nil
}

func (m *memFS) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m *memFS) MkdirAll(string) error { return nil }

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("remove", name); err != nil {
		return err
	}
	f, ok := m.files[name]
	if !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(m.files, name)
	m.removed[name] = f
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("syncdir", dir); err != nil {
		return err
	}
	for name, f := range m.files {
		if filepath.Dir(name) == dir {
			f.durable = true
		}
	}
	m.removed = map[string]*memFile{}
	return nil
}

// cutPower leaves what was synced, and of the rest what chance says: sectors
// of either age, and files whose name or removal never arrived. Chance draws a
// number below n.
func (m *memFS) cutPower(chance func(n int) int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range sortedNames(m.removed) {
		if m.files[name] == nil && chance(4) == 0 {
			m.files[name] = m.removed[name]
		}
	}
	m.removed = map[string]*memFile{}
	for _, name := range sortedNames(m.files) {
		f := m.files[name]
		if !f.durable && chance(2) == 0 {
			delete(m.files, name)
			continue
		}
		size := len(f.synced)
		if d := len(f.data) - size; d > 0 {
			size += chance(d + 1)
		} else if d < 0 && chance(2) == 0 {
			size = len(f.data)
		}
		data := make([]byte, size)
		copy(data, f.synced)
		for at := 0; at < size; at += 512 {
			if chance(2) == 0 && at < len(f.data) {
				copy(data[at:min(at+512, size)], f.data[at:])
			}
		}
		f.data, f.synced, f.durable = data, slices.Clone(data), true
	}
}

func sortedNames(m map[string]*memFile) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// segmentFiles returns the names of the segment files.
func (m *memFS) segmentFiles() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(sortedNames(m.files), func(n string) bool { return !strings.HasSuffix(n, ".seg") })
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, os.ErrClosed
	}
	if err := f.fs.check("read", f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, os.ErrClosed
	}
	if err := f.fs.check("write", f.name); err != nil {
		return 0, err
	}
	n := len(p)
	var full error
	if grow := off + int64(n) - int64(len(f.data)); grow > 0 && f.fs.budget >= 0 {
		if free := max(f.fs.budget-f.fs.used(), 0); grow > free {
			n = max(n-int(grow-free), 0)
			full = &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
		}
	}
	if n > 0 {
		if need := int(off) + n; need > len(f.data) {
			f.data = append(f.data, make([]byte, need-len(f.data))...)
		}
		copy(f.data[off:], p[:n])
	}
	return n, full
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.check("truncate", f.name); err != nil {
		return err
	}
	if size > int64(len(f.data)) {
		return fmt.Errorf("truncate %s to %d: longer than the file", f.name, size)
	}
	f.data = f.data[:size]
	return nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	if err := f.fs.check("sync", f.name); err != nil {
		return err
	}
	f.synced = slices.Clone(f.data)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.closed = true
	return nil
}
