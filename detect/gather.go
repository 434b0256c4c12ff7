// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/picket-edr/picket/event"
)

// gatherWait is how long the rest of a moment is waited for. It comes at once
// or, when the sensor had to give it up, never.
const gatherWait = 500 * time.Millisecond

// Gather puts the batches of one moment together again. A sensor sends what
// happened at one moment in one batch for each value class, the highest first;
// a file that was written and then run is in a later batch than its process.
// Put together, the rows can be seen in the order of their report ids. The
// zero value is ready. It is not safe for concurrent use.
type Gather struct {
	held map[deviceKey]*Moment
}

// Moment is what a device sent of one moment.
type Moment struct {
	Envelope event.Envelope // of the first batch
	Batch    *event.Batch   // with the blocks of all
	first    uint64         // place of the first batch in the stream
	seq      uint64         // number of the newest batch
	since    time.Time
}

// Clone returns a copy that can be changed apart from the original.
func (g *Gather) Clone() *Gather { return &Gather{held: maps.Clone(g.held)} }

// Add takes the batch at a place of the stream and returns what is complete,
// in the order in which it is to be seen.
func (g *Gather) Add(place uint64, env event.Envelope, b *event.Batch, now time.Time) []Moment {
	if env.Remark() {
		return []Moment{{Envelope: env, Batch: b}}
	}
	key := deviceKey{env.Tenant, env.DeviceID}
	var done []Moment
	m := &Moment{Envelope: env, Batch: b, first: place, seq: env.Seq, since: now}
	if old := g.held[key]; old != nil {
		delete(g.held, key)
		if old.goesOn(&env, b) {
			m = old.with(b)
		} else {
			done = append(done, *old)
		}
	}
	if b.Rest == 0 {
		return append(done, *m)
	}
	if g.held == nil {
		g.held = map[deviceKey]*Moment{}
	}
	g.held[key] = m
	return done
}

// goesOn reports whether a batch is the next one of the moment.
func (m *Moment) goesOn(env *event.Envelope, b *event.Batch) bool {
	return env.BootID == m.Envelope.BootID && env.Seq == m.seq+1 && b.Rest == m.Batch.Rest-1
}

// with returns the moment with one more batch. It does not change what a clone
// may hold as well.
func (m *Moment) with(b *event.Batch) *Moment {
	all := *m.Batch
	all.Blocks, all.Rest = slices.Concat(all.Blocks, b.Blocks), b.Rest
	next := *m
	next.Batch, next.seq = &all, m.seq+1
	return &next
}

// Overdue gives up waiting for the rest of moments, and returns them in the
// order of the stream.
func (g *Gather) Overdue(now time.Time) []Moment {
	var done []Moment
	for key, m := range g.held {
		if now.Sub(m.since) >= gatherWait {
			done = append(done, *m)
			delete(g.held, key)
		}
	}
	slices.SortFunc(done, func(a, b Moment) int { return cmp.Compare(a.first, b.first) })
	return done
}

// Before returns the place up to which nothing is held back, given the last
// place that was added.
func (g *Gather) Before(last uint64) uint64 {
	for _, m := range g.held {
		last = min(last, m.first-1)
	}
	return last
}
