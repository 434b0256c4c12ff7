// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"bytes"
	"io"
	"os"
	"syscall"
)

const (
	tailOnce = 1 << 20 // bytes taken from a file in one look
	maxLine  = 8192
)

// tail follows a file that others append to, over rotation and truncation.
// It begins at the end of what is there at first.
type tail struct {
	name   string
	offset int64
	inode  uint64
	seen   bool // the file was there at some time
	begun  bool
	rest   []byte
}

// more returns what was appended since the last call.
func (t *tail) more() []byte {
	f, err := os.Open(t.name)
	if err != nil {
		t.begun = true // one that appears later is new from its first byte
		return nil
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil
	}
	t.seen = true
	inode := st.Sys().(*syscall.Stat_t).Ino
	switch {
	case !t.begun:
		t.begun, t.offset = true, st.Size()
	case inode != t.inode || st.Size() < t.offset:
		t.offset, t.rest = 0, nil
	}
	t.inode = inode
	b, err := io.ReadAll(io.NewSectionReader(f, t.offset, tailOnce))
	if err != nil {
		return nil
	}
	t.offset += int64(len(b))
	return b
}

// lines calls f with each whole new line. One without an end is kept back, or
// thrown away when it grows too long.
func (t *tail) lines(f func(string)) {
	b := append(t.rest, t.more()...)
	t.rest = nil
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		if i <= maxLine {
			f(string(b[:i]))
		}
		b = b[i+1:]
	}
	if len(b) <= maxLine {
		t.rest = bytes.Clone(b)
	}
}

// records calls f with whole new records of one size.
func (t *tail) records(size int, f func([]byte)) {
	b := append(t.rest, t.more()...)
	for ; len(b) >= size; b = b[size:] {
		f(b[:size])
	}
	t.rest = bytes.Clone(b)
}
