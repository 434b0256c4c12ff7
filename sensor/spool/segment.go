// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/picket-edr/picket"
)

// segment is one file of records of one boot and class, in ascending order of
// their numbers. Only the newest of a class is written to.
type segment struct {
	header
	id      uint64
	path    string
	f       File
	size    int64  // bytes that hold records; what lies behind is ignored
	rank    int    // order of its boot among the boots in the spool
	first   uint64 // number of the first record, 0: none
	last    uint64 // number of the last record
	count   uint64 // records
	end     uint64 // rows of the class after the last record
	report  int64  // greatest report id
	tail    record // the last record
	tailOff int64
	ioErr   error // reading failed, which says nothing about what is there
	dirty   bool  // written since the last sync
	gone    bool  // removed from disk and from the list
	damaged map[int64]bool
}

func createSegment(fs FS, dir string, id uint64, h header) (*segment, error) {
	g := &segment{header: h, id: id, path: filepath.Join(dir, segmentName(id, h.class)), end: h.rows, size: segmentHeader, dirty: true}
	f, err := fs.OpenFile(g.path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("write header of %s: %w", g.path, err), f.Close(), fs.Remove(g.path))
	}
	g.f = f
	return g, nil
}

// append writes a record after the last one. After an error the segment is as
// it was before, or sealed at that size by what lies behind being ignored.
func (g *segment) append(r record, payload []byte) error {
	if _, err := g.f.WriteAt(append(r.encode(g.salt), payload...), g.size); err != nil {
		return errors.Join(fmt.Errorf("append to %s: %w", g.path, err), g.f.Truncate(g.size))
	}
	g.note(r, g.size)
	g.size += r.size()
	g.dirty = true
	return nil
}

func (g *segment) note(r record, off int64) {
	g.tail, g.tailOff = r, off
	if g.first == 0 {
		g.first = r.seq
	}
	g.last, g.end = r.seq, r.end()
	g.count++
	g.report = max(g.report, r.report)
}

// damage is a part of a segment that cannot be read back.
type damage struct {
	path string
	off  int64
	rows uint64 // 0 when it cannot be known
}

// openSegment opens a segment file that an earlier run left, finds its
// records, and cuts off a torn end. An unreadable header is an error that
// wraps picket.Invalid.
func openSegment(fs FS, dir, name string) (*segment, []damage, error) {
	id, class, ok := parseSegmentName(name)
	if !ok {
		return nil, nil, fmt.Errorf("segment %s: name: %w", name, picket.Invalid)
	}
	g := &segment{id: id, path: filepath.Join(dir, name)}
	f, err := fs.OpenFile(g.path, os.O_RDWR)
	if err != nil {
		return nil, nil, fmt.Errorf("open segment: %w", err)
	}
	g.f = f
	found, err := g.scan(class)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("segment %s: %w", name, err), f.Close())
	}
	return g, found, nil
}

func (g *segment) scan(class Class) ([]damage, error) {
	size, err := g.f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, segmentHeader)
	if _, err := g.f.ReadAt(b, 0); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("ends within the header: %w", picket.Invalid)
	} else if err != nil {
		return nil, err
	}
	if g.header, err = decodeHeader(b); err != nil {
		return nil, err
	}
	if g.class != class {
		return nil, fmt.Errorf("class %s does not match the name: %w", g.class, picket.Invalid)
	}
	g.size, g.end = segmentHeader, g.rows
	var found []damage
	for p := g.start(); ; {
		before := p
		r, off, ok := g.next(&p, size)
		if !ok && g.ioErr != nil {
			return found, nil
		}
		if !ok {
			return found, g.cut()
		}
		if off != before.off {
			found = append(found, damage{g.path, before.off, r.before - g.end})
			g.mark(before.off)
		}
		g.note(r, off)
		g.size = p.off
	}
}

// cut removes what lies behind the last record.
func (g *segment) cut() error {
	if onDisk, err := g.f.Size(); err != nil || onDisk == g.size {
		return err
	}
	g.dirty = true
	return g.f.Truncate(g.size)
}

// mark remembers damage at off and reports whether it is new.
func (g *segment) mark(off int64) bool {
	if g.damaged[off] {
		return false
	}
	if g.damaged == nil {
		g.damaged = map[int64]bool{}
	}
	g.damaged[off] = true
	return true
}

// place is a position between two records of a segment.
type place struct {
	off  int64
	last uint64 // number of the record before
	end  uint64 // rows of the class after the record before
}

func (g *segment) start() place { return place{off: segmentHeader, end: g.rows} }

// next returns the first record at or after p that ends before size, and where
// it starts, and moves p behind it. When that is not where p was, the bytes
// between are damaged. Without such a record p is left as it is.
func (g *segment) next(p *place, size int64) (record, int64, bool) {
	fits := func(r record, off int64) bool {
		return off+r.size() <= size && r.seq > p.last && r.before >= p.end
	}
	if r, ok := g.at(p.off); ok && fits(r, p.off) {
		off := p.off
		*p = place{off + r.size(), r.seq, r.end()}
		return r, off, true
	}
	const step = 64 << 10
	buf := make([]byte, step+recordHeader)
	for at := p.off + 1; at+recordHeader <= size; at += step {
		n, err := g.f.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			g.ioErr = err
			return record{}, 0, false
		}
		for i := 0; i+recordHeader <= n && i < step; i++ {
			off := at + int64(i)
			if r, ok := decodeRecord(buf[i:], g.salt); ok && fits(r, off) {
				*p = place{off + r.size(), r.seq, r.end()}
				return r, off, true
			}
		}
	}
	return record{}, 0, false
}

// at reads the record header at off.
func (g *segment) at(off int64) (record, bool) {
	b := make([]byte, recordHeader)
	if _, err := g.f.ReadAt(b, off); err != nil {
		if !errors.Is(err, io.EOF) {
			g.ioErr = err
		}
		return record{}, false
	}
	return decodeRecord(b, g.salt)
}

// payload reads and checks the payload of the record at off.
func (g *segment) payload(r record, off int64) ([]byte, error) {
	b := make([]byte, r.length)
	if _, err := g.f.ReadAt(b, off+recordHeader); err != nil {
		return nil, fmt.Errorf("read batch %d in %s: %w", r.seq, g.path, err)
	}
	if crc32.Checksum(b, castagnoli) != r.sum {
		return nil, fmt.Errorf("batch %d in %s: checksum does not match: %w", r.seq, g.path, picket.Invalid)
	}
	return b, nil
}
