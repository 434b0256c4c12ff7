// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/picket-edr/picket/event"
)

// Kinds of loss. The first three are the value classes.
const (
	damagedKind  = int(classes) + iota // could not be read back
	rejectedKind                       // the server will never take it
	kinds
)

var kindNames = [kinds]string{"spool.low", "spool.normal", "spool.high", "spool.damaged", "spool.rejected"}

// state is what must outlive a run besides the batches. It is saved after each
// append, without waiting for the disk: a killed sensor finds it complete, and
// after a power cut the boot is another one.
type state struct {
	Boot    string          `json:"boot"`
	Next    uint64          `json:"next"`   // number of the next batch of the boot
	Last    []byte          `json:"last"`   // hash of the batch before
	Rows    [classes]uint64 `json:"rows"`   // appended in the boot, by class
	Newest  [classes]uint64 `json:"newest"` // segment written last, by class
	Report  int64           `json:"report"` // greatest report id appended in the boot
	Lost    [kinds]uint64   `json:"lost"`   // rows, since the spool was made
	Batches [kinds]uint64   `json:"batches"`
	Told    [kinds]uint64   `json:"told"`              // rows of Lost in accounts that are durable
	Telling []telling       `json:"telling,omitempty"` // accounts that may not be, oldest first
	AckBoot string          `json:"ack_boot"`
	AckSeq  uint64          `json:"ack_seq"`
	Drop    string          `json:"drop,omitempty"` // segment that is counted as lost and being removed
	Seen    []string        `json:"seen,omitempty"` // damage that is counted
	Clean   bool            `json:"clean"`          // closed in order
}

// telling is an account of losses in batch Seq of the boot. Whether that batch
// is there says, after a kill or a power cut, whether it counts as told.
type telling struct {
	Seq  uint64        `json:"seq"`
	Told [kinds]uint64 `json:"told"`
}

// Bounds of the lists in the state, which must fit a slot.
const (
	maxSeen    = 16
	maxTelling = 4
)

func (s *Spool) loadState() {
	st, payload, err := openSlots(s.opts.FS, s.path("state"))
	s.slots = st
	s.diskError("open state", err)
	if payload == nil {
		return
	}
	if err := json.Unmarshal(payload, &s.st); err != nil {
		s.diskError("read state", err)
		s.st = state{}
		return
	}
	s.hadState = true
}

// save writes the state. Failure is counted and not fatal: the next save
// writes everything again.
func (s *Spool) save() {
	if s.slots == nil {
		st, _, err := openSlots(s.opts.FS, s.path("state"))
		if err != nil {
			s.diskError("open state", err)
			return
		}
		s.slots = st
	}
	b, err := json.Marshal(&s.st)
	if err == nil {
		err = s.slots.write(b)
	}
	s.stateDirty = true
	s.diskError("write state", err)
}

// span is where losses of one kind happened, as far as this run knows.
type span struct {
	Kind  string `json:"Class"`
	Boot  string `json:"BootId"`
	First uint64 `json:"FirstSequence"`
	Last  uint64 `json:"LastSequence"`
}

// lose counts rows that will never arrive. Numbers 0 are unknown.
func (s *Spool) lose(kind int, rows, batches uint64, boot string, first, last uint64) {
	s.st.Lost[kind] += rows
	s.st.Batches[kind] += batches
	sp := &s.spans[kind]
	switch {
	case first == 0:
	case sp.Boot != boot || sp.First == 0:
		*sp = span{kindNames[kind], boot, first, last}
	default:
		sp.First, sp.Last = min(sp.First, first), max(sp.Last, last)
	}
	s.save()
}

// account is the detail of a SensorLoss row of the spool.
type account struct {
	Lost  map[string]uint64 `json:"Lost"`
	Spans []span            `json:"Spans,omitempty"` // numbers that are missing for it, where known
}

// untold reports whether there are losses that the server does not know of.
func (s *Spool) untold() bool { return s.st.Lost != s.toldSoFar() }

func (s *Spool) toldSoFar() [kinds]uint64 {
	if n := len(s.st.Telling); n > 0 {
		return s.st.Telling[n-1].Told
	}
	return s.st.Told
}

// settle says that accounts in batches up to seq of the boot are durable. It
// reports whether that changed anything.
func (s *Spool) settle(seq uint64) bool {
	n := 0
	for n < len(s.st.Telling) && s.st.Telling[n].Seq <= seq {
		s.st.Told = s.st.Telling[n].Told
		n++
	}
	s.st.Telling = s.st.Telling[n:]
	return n > 0
}

// tellLosses appends a batch with one SensorLoss row that accounts for all
// losses not told yet. It explains the holes in the numbering.
func (s *Spool) tellLosses() {
	if !s.untold() || len(s.st.Telling) == maxTelling {
		return
	}
	lost := map[string]uint64{}
	var spans []span
	told := s.toldSoFar()
	for k := range kinds {
		if n := s.st.Lost[k] - told[k]; n > 0 {
			lost[kindNames[k]] = n
			if s.spans[k].First > 0 {
				spans = append(spans, s.spans[k])
			}
		}
	}
	more, err := json.Marshal(account{lost, spans})
	if err != nil {
		s.diskError("describe losses", err)
		return
	}
	var b event.Builder
	b.Add(&event.DeviceEvents{
		Timestamp: s.opts.Now(), ActionType: "SensorLoss", ReportId: s.NextReportID(),
		AdditionalFields: string(more),
	})
	tell := telling{s.st.Next, s.st.Lost}
	s.st.Telling = append(s.st.Telling, tell)
	s.save()
	if err := s.append(High, b.Take(), 0, flagAccount); err != nil {
		s.st.Telling = slices.DeleteFunc(s.st.Telling, func(t telling) bool { return t.Seq == tell.Seq })
		s.save()
		return
	}
	s.spans = [kinds]span{}
}

// Lost returns the rows lost since this spool was opened, by kind.
func (s *Spool) lostMap() map[string]uint64 {
	m := map[string]uint64{}
	for k := range kinds {
		if n := s.st.Lost[k] - s.base[k]; n > 0 {
			m[kindNames[k]] = n
		}
	}
	return m
}

// diskError counts and logs an error of the disk.
func (s *Spool) diskError(doing string, err error) {
	if err == nil {
		return
	}
	s.diskErrors++
	s.lastError = fmt.Sprintf("%s: %v", doing, err)
	s.opts.Log.Warn("spool: disk error", "doing", doing, "error", err)
}
