// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/json"
	"path/filepath"

	"github.com/picket-edr/picket/event"
)

// makeRoom gives up the oldest batches of the lowest class until need more
// bytes fit. It never gives up anything above class c.
func (s *Spool) makeRoom(c Class, need int64) error {
	if need+segmentHeader > s.limit {
		return ErrFull
	}
	for s.used+need+segmentHeader > s.limit {
		if !s.dropOne(c) {
			return ErrFull
		}
	}
	return nil
}

// dropOne gives up one segment of at most class c, lowest class and oldest
// first. Segments that are acknowledged cost nothing and go before all others;
// those of which batches are on their way go last in their class.
func (s *Spool) dropOne(c Class) bool {
	for _, list := range s.segs {
		for _, g := range list {
			if g.count > 0 && g.last <= s.acked[g.boot] {
				s.remove(g)
				return true
			}
		}
	}
	for k := Low; k <= c; k++ {
		var choice *segment
		for _, g := range s.segs[k] {
			if g.count == 0 {
				continue
			}
			if choice == nil {
				choice = g
			}
			if !s.onTheirWay(g) {
				choice = g
				break
			}
		}
		if choice != nil {
			s.drop(choice)
			return true
		}
	}
	return false
}

func (s *Spool) onTheirWay(g *segment) bool {
	return g.rank < s.sent.rank || (g.rank == s.sent.rank && g.first <= s.sent.seq)
}

// drop counts what a segment holds as lost and removes it. The name of the
// segment is written down first: a run that is killed in between neither
// counts it twice nor sends what was counted.
func (s *Spool) drop(g *segment) {
	var rows, batches, first, last uint64
	s.pending(g, func(r record, off int64) {
		if r.flags&flagAccount != 0 {
			s.untell(g, r, off)
			return
		}
		if batches == 0 {
			first = r.seq
		}
		last = r.seq
		rows += uint64(r.rows)
		batches++
	})
	s.st.Drop = filepath.Base(g.path)
	s.lose(int(g.class), rows, batches, g.boot, first, last)
	if s.slots != nil { // the account must not be lost with the power
		s.diskError("sync state", s.slots.sync())
	}
	s.remove(g)
	s.st.Drop = "" // saved with the next append; the file is gone
}

// untell takes back an account of losses that is being given up, so that the
// next account includes it.
func (s *Spool) untell(g *segment, r record, off int64) {
	payload, err := g.payload(r, off)
	if err != nil {
		return
	}
	b, err := event.Decode(payload, event.DefaultLimits)
	if err != nil {
		return
	}
	seq := r.seq
	if g.boot != s.st.Boot {
		seq = 0 // older than all accounts of this boot
	}
	for _, blk := range b.Blocks {
		for i := range blk.Rows {
			var more account
			if json.Unmarshal([]byte(blk.Text("AdditionalFields", i)), &more) != nil {
				continue
			}
			for k, name := range kindNames {
				s.take(seq, k, more.Lost[name])
			}
		}
	}
}

// take subtracts from what is told by batch seq and later ones.
func (s *Spool) take(seq uint64, kind int, rows uint64) {
	if len(s.st.Telling) == 0 || seq < s.st.Telling[0].Seq {
		s.st.Told[kind] -= min(rows, s.st.Told[kind])
	}
	for i := range s.st.Telling {
		if t := &s.st.Telling[i]; seq <= t.Seq {
			t.Told[kind] -= min(rows, t.Told[kind])
		}
	}
}

// pending calls fn for each record of a segment that is still to be sent.
func (s *Spool) pending(g *segment, fn func(r record, off int64)) {
	for p := g.start(); ; {
		before := p
		r, off, ok := g.next(&p, g.size)
		if !ok {
			return
		}
		if off != before.off {
			s.skipDamaged(g, before.off, r.before-before.end, nil)
		}
		if s.wanted(g, r, off) {
			fn(r, off)
		}
	}
}
