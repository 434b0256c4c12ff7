// SPDX-License-Identifier: Apache-2.0

//go:build linux

package journal

import (
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxFiles   = 128   // followed at once
	maxSkipped = 8192  // that are known not to be followed
	maxNames   = 8192  // in one folder
	atOnce     = 10000 // entries of one file in one look
	patience   = 20    // looks that what is not written yet may take
	maxSeen    = 8192  // entries that are known to have been told
	settle     = 2 * time.Second
)

// Entry is one message of the journal, with the fields that were asked for.
type Entry struct {
	Time   time.Time
	Fields map[string]string

	realtime, monotonic uint64 // microseconds
	boot                [16]byte
	hash                uint64
	unread              uint64 // fields that could not be unpacked
}

// Options say what a Reader reads.
type Options struct {
	Dirs    []string                            // that hold a folder for each machine
	Machine string                              // whose files to read, as in /etc/machine-id; "": any
	Boot    string                              // of whose time to tell; "": any
	Since   time.Duration                       // monotonic time of the boot before which nothing is told
	Fields  []string                            // to be taken along
	Want    func(fields map[string]string) bool // which entries are told
	Lost    func(class string, n uint64)
}

// Reader follows all files of a host's journal. It is not for use by several
// goroutines.
type Reader struct {
	o       Options
	machine [16]byte
	boot    [16]byte
	fields  map[string]bool
	unpack  *unpacker
	files   []*followed
	skipped map[string]int // by path and inode: looks left to try again, 0 for never
	done    map[[16]byte]bool
	dirs    map[string]time.Time // folders as they were when read last
	seen    map[key]bool
	order   []key // the last maxSeen of them, in a ring
	told    int
	begun   bool
}

type followed struct {
	*file
	f     *os.File
	inode uint64
	gone  bool // it has no name any more
	tries int  // looks that brought nothing though there should be more
}

// key names an entry however often it is copied.
type key struct {
	boot                      [16]byte
	realtime, monotonic, hash uint64
}

// Open notes what is in the journal, which will not be told.
func Open(o Options) (*Reader, error) {
	u, err := newUnpacker()
	if err != nil {
		return nil, err
	}
	r := &Reader{o: o, machine: id128(o.Machine), boot: id128(o.Boot), fields: map[string]bool{}, unpack: u,
		skipped: map[string]int{}, done: map[[16]byte]bool{}, dirs: map[string]time.Time{}, seen: map[key]bool{}, order: make([]key, maxSeen)}
	for _, f := range o.Fields {
		r.fields[f] = true
	}
	r.scan(time.Now())
	r.begun = true
	return r, nil
}

func id128(s string) (id [16]byte) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), "-", ""))
	if err == nil && len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}

// Files is how many files are followed.
func (r *Reader) Files() int { return len(r.files) }

// Close ends the reading.
func (r *Reader) Close() {
	for _, f := range r.files {
		f.f.Close()
	}
	r.files = nil
	r.unpack.close()
}

// Look tells what was written since the last look.
func (r *Reader) Look(tell func(Entry)) {
	r.scan(time.Now())
	kept := r.files[:0]
	for _, f := range r.files {
		if r.follow(f, tell) {
			kept = append(kept, f)
			continue
		}
		f.f.Close()
		if len(r.done) >= maxSkipped {
			clear(r.done)
		}
		r.done[f.header.file] = true
	}
	clear(r.files[len(kept):])
	r.files = kept
}

// follow tells the new entries of one file, and whether more may come.
func (r *Reader) follow(f *followed, tell func(Entry)) bool {
	if err := f.refresh(); err != nil {
		return r.stalled(f)
	}
	if !isZero(r.boot) && f.tailBoot != r.boot && f.state == archived {
		return false
	}
	for range atOnce {
		passed := f.total
		e, err := f.next()
		switch {
		case errors.Is(err, io.EOF):
			f.tries = 0
			return f.state != archived && !f.gone
		case err != nil && f.total == passed:
			return r.stalled(f)
		case err != nil:
			r.o.Lost("journal.damaged", 1)
		default:
			f.tries = 0
			r.entry(e, tell)
		}
	}
	return true
}

// stalled is called when there should be an entry but is none. The writer may
// be at it; if not, the file is damaged there.
func (r *Reader) stalled(f *followed) bool {
	if f.tries++; f.tries < patience {
		return true
	}
	if f.tries == patience {
		r.o.Lost("journal.damaged", 1)
	}
	if f.array != 0 && f.total < f.base+f.items && f.total < f.entries {
		f.skip()
	}
	return f.state != archived && !f.gone
}

// entry tells an entry that is new and wanted.
func (r *Reader) entry(e Entry, tell func(Entry)) {
	if !isZero(r.boot) && (e.boot != r.boot || e.monotonic < uint64(r.o.Since/time.Microsecond)) {
		return
	}
	if !r.o.Want(e.Fields) {
		return
	}
	k := key{e.boot, e.realtime, e.monotonic, e.hash}
	if r.seen[k] {
		return
	}
	slot := &r.order[r.told%maxSeen]
	delete(r.seen, *slot)
	*slot, r.seen[k] = k, true
	r.told++
	if e.unread > 0 {
		r.o.Lost("journal.packed", e.unread)
	}
	e.Time = time.UnixMicro(int64(min(e.realtime, 1<<62)))
	tell(e)
}

func isZero(id [16]byte) bool { return id == [16]byte{} }

// scan looks for files that came, went or were renamed.
func (r *Reader) scan(now time.Time) {
	for _, dir := range r.o.Dirs {
		for _, sub := range list(dir) {
			name := filepath.Join(dir, sub)
			st, err := os.Stat(name)
			if err != nil || !st.IsDir() || st.ModTime().Equal(r.dirs[name]) {
				continue
			}
			if now.Sub(st.ModTime()) > settle && len(r.dirs) < maxFiles {
				r.dirs[name] = st.ModTime() // younger ones may change again at the same time
			}
			for _, base := range list(name) {
				if strings.HasSuffix(base, ".journal") || strings.HasSuffix(base, ".journal~") {
					r.consider(filepath.Join(name, base))
				}
			}
		}
	}
	for _, f := range r.files {
		if st, err := f.f.Stat(); err == nil && st.Sys().(*syscall.Stat_t).Nlink == 0 {
			f.gone = true
		}
	}
}

func list(dir string) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, err := d.Readdirnames(maxNames)
	if err != nil {
		return nil
	}
	return names
}

// consider begins to follow a file, unless it is or was followed, or is an old
// one.
func (r *Reader) consider(path string) {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() {
		return
	}
	inode := st.Sys().(*syscall.Stat_t).Ino
	for _, f := range r.files {
		if f.inode == inode {
			return
		}
	}
	id := path + " " + strconv.FormatUint(inode, 10)
	if left, ok := r.skipped[id]; ok && left == 0 {
		return
	}
	if !r.begun && strings.ContainsAny(filepath.Base(path), "@~") {
		r.never(id)
		return
	}
	if len(r.files) >= maxFiles {
		r.o.Lost("journal.files", 1)
		r.never(id)
		return
	}
	r.begin(path, id, inode)
}

func (r *Reader) never(id string) {
	if len(r.skipped) >= maxSkipped {
		clear(r.skipped)
	}
	r.skipped[id] = 0
}

func (r *Reader) begin(path, id string, inode uint64) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	j, err := newFile(f, r.fields, r.unpack)
	if err == nil && !r.begun {
		err = j.end()
	}
	switch {
	case err != nil:
		f.Close()
		r.again(path, id)
	case !isZero(r.machine) && j.machine != r.machine, r.done[j.header.file], !r.begun && j.state == archived:
		f.Close()
		r.never(id)
	default:
		delete(r.skipped, id)
		r.files = append(r.files, &followed{file: j, f: f, inode: inode})
	}
}

// again lets a file that cannot be read be tried some more: it may be at its
// making.
func (r *Reader) again(path, id string) {
	left, ok := r.skipped[id]
	if !ok {
		left = patience
	}
	if left--; left > 0 {
		r.never(id)
		r.skipped[id] = left
		delete(r.dirs, filepath.Dir(path))
		return
	}
	r.o.Lost("journal.damaged", 1)
	r.never(id)
}
