// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// load reads what an earlier run left.
func (s *Spool) load() error {
	s.loadState()
	s.base = s.st.Lost
	s.recovery.Unclean = s.hadState && !s.st.Clean
	s.recovery.SameBoot = s.hadState && s.st.Boot == s.opts.BootID
	names, err := s.opts.FS.ReadDir(s.opts.Dir)
	if err != nil {
		return err
	}
	if err := s.loadSegments(names); err != nil {
		return err
	}
	if s.st.AckBoot != "" {
		s.ack(s.st.AckBoot, s.st.AckSeq)
	}
	if err := s.loadRejected(); err != nil {
		return err
	}
	s.continueBoot()
	return s.openReport()
}

func (s *Spool) openReport() error {
	r, err := openReportIDs(s.opts.FS, s.path("report"), s.opts.BootID)
	s.report = r
	s.diskError("open report ids", err)
	s.recovery.LastReport = s.st.Report
	r.skip(s.st.Report)
	s.recovery.NextReport = r.next.Load() + 1
	s.diskError("reserve report ids", r.extend())
	return nil
}

// loadSegments opens the segment files in order of age. One that cannot be
// understood is removed and what it held is counted.
func (s *Spool) loadSegments(names []string) error {
	var broken []string
	for _, name := range names {
		id, _, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		s.nextID = max(s.nextID, id+1)
		if name == s.st.Drop {
			s.diskError("remove dropped segment", s.opts.FS.Remove(s.path(name)))
			continue
		}
		g, found, err := openSegment(s.opts.FS, s.opts.Dir, name)
		switch {
		case errors.Is(err, picket.Invalid):
			s.opts.Log.Warn("spool: segment cannot be understood", "segment", name, "error", err)
			broken = append(broken, name)
			continue
		case err != nil:
			return err
		}
		g.dirty, s.dirDirty = true, true // a killed run may not have synced it
		s.add(g)
		for _, d := range found {
			s.countDamage(g, d)
		}
	}
	s.st.Drop = ""
	s.st.Seen = slices.DeleteFunc(s.st.Seen, func(key string) bool {
		name, _, _ := strings.Cut(key, ":")
		return !slices.Contains(names, name)
	})
	for _, name := range broken {
		s.countBroken(name)
	}
	return nil
}

// countDamage counts a damaged place once, over all runs.
func (s *Spool) countDamage(g *segment, d damage) {
	s.recovery.Batches++
	s.recovery.Damaged += d.rows
	key := fmt.Sprintf("%s:%d", filepath.Base(d.path), d.off)
	if slices.Contains(s.st.Seen, key) {
		return
	}
	if len(s.st.Seen) < maxSeen {
		s.st.Seen = append(s.st.Seen, key)
	}
	s.opts.Log.Warn("spool: damaged place skipped", "segment", d.path, "offset", d.off, "rows", d.rows)
	s.lose(damagedKind, d.rows, 1, g.boot, 0, 0)
}

// countBroken removes a file without a readable header and counts the rows
// between its neighbours.
func (s *Spool) countBroken(name string) {
	id, class, _ := parseSegmentName(name)
	var rows uint64
	list := s.segs[class]
	i, _ := slices.BinarySearchFunc(list, id, func(g *segment, id uint64) int { return int(int64(g.id) - int64(id)) })
	if i > 0 && i < len(list) && list[i-1].boot == list[i].boot && list[i].rows > list[i-1].end {
		rows = list[i].rows - list[i-1].end
	}
	s.recovery.Batches++
	s.recovery.Damaged += rows
	s.lose(damagedKind, rows, 1, "", 0, 0)
	s.diskError("remove broken segment", s.opts.FS.Remove(s.path(name)))
}

// continueBoot sets the state so that the next batch continues the chain of
// the running boot.
func (s *Spool) continueBoot() {
	if s.st.Boot == "" {
		s.st.Boot = s.opts.BootID
	}
	s.catchUp()
	for _, t := range s.st.Telling {
		if s.holds(s.st.Boot, t.Seq) {
			s.st.Told = t.Told
		}
	}
	s.st.Telling = nil
	s.countMissingEnds()
	if s.st.Boot != s.opts.BootID {
		s.st.Boot, s.st.Next, s.st.Last, s.st.Report = s.opts.BootID, 1, nil, 0
		s.st.Rows, s.st.Newest = [classes]uint64{}, [classes]uint64{}
		s.catchUp()
	}
	if s.st.Next == 0 {
		s.st.Next = 1
	}
	if len(s.st.Last) != len(event.Hash{}) {
		s.st.Last = make([]byte, len(event.Hash{}))
	}
	s.st.Clean = false
	s.save()
}

// catchUp brings the state up to the newest record of its boot, in case the
// run before was killed between writing the record and the state.
func (s *Spool) catchUp() {
	var newest *segment
	for c, list := range s.segs {
		for _, g := range list {
			if g.boot != s.st.Boot {
				continue
			}
			s.st.Report = max(s.st.Report, g.report)
			if g.last >= max(s.st.Next, 1) {
				s.st.Rows[c] = max(s.st.Rows[c], g.end)
				if newest == nil || g.last > newest.last {
					newest = g
				}
			}
		}
	}
	if newest == nil {
		return
	}
	s.st.Next = newest.last + 1
	s.st.Last = s.lastHash(newest)
}

// holds reports whether a batch is in the spool, whole and durable.
func (s *Spool) holds(boot string, seq uint64) bool {
	for _, list := range s.segs {
		for _, g := range list {
			if g.boot != boot || seq < g.first || seq > g.last {
				continue
			}
			for p := g.start(); ; {
				r, off, ok := g.next(&p, g.size)
				if !ok {
					break
				}
				if r.seq == seq {
					_, err := g.payload(r, off)
					err = errors.Join(err, g.f.Sync(), s.opts.FS.SyncDir(s.opts.Dir))
					return err == nil
				}
			}
		}
	}
	return false
}

// lastHash returns the hash of the last payload of a segment. When that is
// damaged the chain starts anew, which the server sees as a gap.
func (s *Spool) lastHash(g *segment) []byte {
	payload, err := g.payload(g.tail, g.tailOff)
	if err != nil {
		return make([]byte, len(event.Hash{}))
	}
	h := event.HashOf(payload)
	return h[:]
}

// countMissingEnds counts rows that the state knows were appended and whose
// records are not at the end of their segments any more.
func (s *Spool) countMissingEnds() {
	for c, list := range s.segs {
		if len(list) == 0 {
			continue
		}
		g := list[len(list)-1]
		if g.id != s.st.Newest[c] || s.st.Rows[c] <= g.end {
			continue
		}
		rows := s.st.Rows[c] - g.end
		s.st.Rows[c] = g.end
		s.recovery.Batches++
		s.recovery.Damaged += rows
		s.lose(damagedKind, rows, 1, g.boot, 0, 0)
	}
}

func (s *Spool) loadRejected() error {
	names, err := s.opts.FS.ReadDir(s.path("rejected"))
	if err != nil {
		return err
	}
	for _, name := range names {
		base := strings.TrimSuffix(name, ".batch")
		i := strings.LastIndexByte(base, '-')
		if seq, err := strconv.ParseUint(base[i+1:], 16, 64); err == nil && i > 0 {
			s.rejected[number{base[:i], seq}] = true
		}
	}
	return nil
}
