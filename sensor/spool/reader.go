// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"
	"os"
	"slices"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Batch is a batch as the spool hands it out.
type Batch struct {
	Boot    string
	Seq     uint64
	Class   Class
	Rows    uint64
	Payload []byte

	flags uint32
}

// point is a position in the order of all batches: boots by age, then numbers.
type point struct {
	rank int
	seq  uint64
}

// cursor walks the segments of one class.
type cursor struct {
	seg   *segment // nil: the first one after id after
	after uint64
	p     place
	head  record // next record, when have
	off   int64
	have  bool
}

// Next returns the next batch that is not acknowledged, in the order in which
// they were made, and false when there is none. Damaged batches are skipped
// and counted.
func (s *Spool) Next() (Batch, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Batch{}, false
	}
	for {
		cur := s.front()
		if cur == nil {
			return Batch{}, false
		}
		g, r := cur.seg, cur.head
		cur.have = false
		payload, err := g.payload(r, cur.off)
		if err != nil {
			s.skipDamaged(g, cur.off, uint64(r.rows), err)
			continue
		}
		s.sent = point{g.rank, r.seq}
		return Batch{g.boot, r.seq, g.class, uint64(r.rows), payload, r.flags}, true
	}
}

// front returns the cursor with the oldest head, nil when none has one.
func (s *Spool) front() *cursor {
	var best *cursor
	for c := range s.cursors {
		cur := &s.cursors[c]
		if !s.head(Class(c), cur) {
			continue
		}
		if best == nil || cur.seg.rank < best.seg.rank || (cur.seg.rank == best.seg.rank && cur.head.seq < best.head.seq) {
			best = cur
		}
	}
	return best
}

// head makes the cursor stand on the next record that is to be sent.
func (s *Spool) head(c Class, cur *cursor) bool {
	for {
		if cur.seg != nil && cur.seg.gone {
			*cur = cursor{after: cur.seg.id}
		}
		if cur.have && cur.head.seq > s.acked[cur.seg.boot] {
			return true
		}
		cur.have = false
		if cur.seg == nil {
			i := slices.IndexFunc(s.segs[c], func(g *segment) bool { return g.id > cur.after })
			if i < 0 {
				return false
			}
			cur.seg = s.segs[c][i]
			cur.p = cur.seg.start()
		}
		g, before := cur.seg, cur.p
		r, off, ok := g.next(&cur.p, g.size)
		if !ok {
			if before.off < g.size {
				s.skipDamaged(g, before.off, g.end-before.end, picket.Invalid)
				cur.p = place{g.size, g.last, g.end}
			}
			if s.active[c] == g {
				return false
			}
			*cur = cursor{after: g.id}
			continue
		}
		if off != before.off {
			s.skipDamaged(g, before.off, r.before-before.end, picket.Invalid)
		}
		if !s.wanted(g, r, off) {
			continue
		}
		cur.head, cur.off, cur.have = r, off, true
	}
}

// wanted reports whether a record is still to be sent.
func (s *Spool) wanted(g *segment, r record, off int64) bool {
	return r.seq > s.acked[g.boot] && !s.rejected[number{g.boot, r.seq}] && !g.damaged[off]
}

func (s *Spool) skipDamaged(g *segment, off int64, rows uint64, err error) {
	if g.mark(off) {
		s.opts.Log.Warn("spool: damaged batch skipped", "segment", g.path, "offset", off, "rows", rows, "error", err)
		s.lose(damagedKind, rows, 1, g.boot, 0, 0)
	}
}

// Position is where a spool stands.
type Position struct {
	Boot  string // boot of the oldest batch that is not acknowledged; the running boot when there is none
	First uint64 // number of that batch; Next when there is none
	Next  uint64 // number of the next batch of the running boot
}

// Rewind makes Next start again at the oldest batch that is not acknowledged.
func (s *Spool) Rewind() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Position{s.opts.BootID, s.st.Next, s.st.Next}
	}
	s.sweep()
	s.cursors = [classes]cursor{}
	s.sent = point{}
	pos := Position{s.opts.BootID, s.st.Next, s.st.Next}
	if cur := s.front(); cur != nil {
		pos.Boot, pos.First = cur.seg.boot, cur.head.seq
	}
	return pos
}

// Pending reports whether there are batches that are not acknowledged.
func (s *Spool) Pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.segs {
		for _, g := range list {
			if g.count > 0 && g.last > s.acked[g.boot] {
				return true
			}
		}
	}
	return false
}

// sweep removes segments in which nothing is left but what was rejected or
// cannot be read: no acknowledgement will ever cover those.
func (s *Spool) sweep() {
	for c := range s.segs {
		for _, g := range slices.Clone(s.segs[c]) {
			if g == s.active[c] || (len(g.damaged) == 0 && len(s.rejected) == 0) {
				continue
			}
			left := 0
			s.pending(g, func(record, int64) { left++ })
			if left == 0 {
				s.remove(g)
			}
		}
	}
}

// Ack says that the server keeps everything of a boot up to a number. Segments
// without anything else are removed.
func (s *Spool) Ack(boot string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.ack(boot, seq)
	}
}

func (s *Spool) ack(boot string, seq uint64) {
	if boot == s.opts.BootID && s.st.Boot == boot {
		seq = min(seq, s.st.Next-min(s.st.Next, 1))
	}
	if _, ok := s.ranks[boot]; !ok || seq <= s.acked[boot] {
		return
	}
	s.acked[boot] = seq
	s.st.AckBoot, s.st.AckSeq = boot, seq
	for n := range s.rejected {
		if n.boot == boot && n.seq <= seq {
			delete(s.rejected, n)
		}
	}
	if boot == s.st.Boot {
		s.settle(seq)
	}
	s.save() // before the batches that prove it go
	left := false
	for c := range s.segs {
		for _, g := range slices.Clone(s.segs[c]) {
			switch {
			case g.boot != boot:
			case g.last > seq, s.active[c] == g && g.size < s.segmentSize()/4:
				left = true // a small active segment is kept: making files costs more
			default:
				s.remove(g)
			}
		}
	}
	if !left && boot != s.opts.BootID {
		delete(s.ranks, boot)
		delete(s.acked, boot)
	}
}

// remove deletes a segment.
func (s *Spool) remove(g *segment) {
	g.gone = true
	g.dirty = false
	if s.active[g.class] == g {
		s.active[g.class] = nil
	}
	s.segs[g.class] = slices.DeleteFunc(s.segs[g.class], func(x *segment) bool { return x == g })
	s.used -= g.size
	s.diskError("close segment", g.f.Close())
	s.diskError("remove segment", s.opts.FS.Remove(g.path))
}

// number names a batch.
type number struct {
	boot string
	seq  uint64
}

func (n number) file() string { return fmt.Sprintf("rejected/%s-%016x.batch", n.boot, n.seq) }

// maxRejected bounds the batches kept in quarantine.
const maxRejected = 16

// Reject says that the server will never take a batch. It goes to the folder
// rejected, its rows are counted as lost, and Next leaves it out from now on.
func (s *Spool) Reject(boot string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := number{boot, seq}
	if s.closed || s.rejected[key] {
		return
	}
	for _, list := range s.segs {
		for _, g := range list {
			if g.boot != boot || seq < g.first || seq > g.last || seq <= s.acked[boot] {
				continue
			}
			for p := g.start(); ; {
				r, off, ok := g.next(&p, g.size)
				if !ok {
					break
				}
				if r.seq == seq {
					s.rejected[key] = true
					s.quarantine(g, r, off, key)
					s.lose(rejectedKind, uint64(r.rows), 1, boot, seq, seq)
					return
				}
			}
		}
	}
}

// quarantine copies a batch into the folder rejected and forgets the oldest
// ones there.
func (s *Spool) quarantine(g *segment, r record, off int64, key number) {
	payload, err := g.payload(r, off)
	if err != nil {
		s.diskError("read rejected batch", err)
		return
	}
	names, err := s.opts.FS.ReadDir(s.path("rejected"))
	s.diskError("list rejected batches", err)
	for len(names) >= maxRejected {
		s.diskError("remove rejected batch", s.opts.FS.Remove(s.path("rejected/"+names[0])))
		names = names[1:]
	}
	f, err := s.opts.FS.OpenFile(s.path(key.file()), os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		s.diskError("keep rejected batch", err)
		return
	}
	_, err = f.WriteAt(payload, 0)
	s.diskError("keep rejected batch", err)
	s.diskError("keep rejected batch", f.Close())
}

// Renumber is for a spool that lost its files while the server kept its
// position: numbers up to seq of the running boot are taken. What the spool
// holds of the boot is numbered anew after them, so that the server does not
// mistake it for repeats. It reports whether anything had to be done.
func (s *Spool) Renumber(seq uint64, hash event.Hash) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || seq < s.st.Next {
		return false, nil
	}
	var old []*segment
	for c := range s.segs {
		s.active[c] = nil
		for _, g := range s.segs[c] {
			if g.boot == s.opts.BootID {
				old = append(old, g)
			}
		}
	}
	batches := s.collect(old)
	s.report.skip(s.report.next.Load() + 1<<32) // numbers of events may be taken as well
	s.st.Next, s.st.Last = seq+1, hash[:]
	delete(s.acked, s.opts.BootID)
	s.save()
	for _, b := range batches {
		decoded, err := event.Decode(b.Payload, event.DefaultLimits)
		if err != nil {
			s.lose(damagedKind, b.Rows, 1, b.Boot, 0, 0)
			continue
		}
		if err := s.append(b.Class, decoded.Blocks, decoded.Rest, b.flags); err != nil {
			return true, fmt.Errorf("renumber batch %d: %w", b.Seq, err)
		}
	}
	for _, g := range old {
		if !g.gone {
			s.remove(g)
		}
	}
	s.cursors = [classes]cursor{}
	s.sent = point{}
	return true, nil
}

// collect reads the unacknowledged batches of segments in order.
func (s *Spool) collect(segs []*segment) []Batch {
	var all []Batch
	for _, g := range segs {
		s.pending(g, func(r record, off int64) {
			if payload, err := g.payload(r, off); err == nil {
				all = append(all, Batch{g.boot, r.seq, g.class, uint64(r.rows), payload, r.flags})
			}
		})
	}
	slices.SortFunc(all, func(a, b Batch) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return all
}
