// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/spool"
)

// Bounds of what waits between collector and spool. When the spool cannot keep
// up, rows of lower classes are refused first.
const (
	batchRows  = 1000
	batchBytes = 256 << 10
	queueRows  = 64 << 10
	queueBytes = 64 << 20
)

// shares is the part of the queue that each class may fill, in quarters.
var shares = [...]int{spool.Low: 2, spool.Normal: 3, spool.High: 4}

// unit is the rows of one class that become one batch.
type unit struct {
	class  spool.Class
	blocks []*event.Block
	rows   int
	size   int
	rest   int // units that follow with rows of the same moment
}

// intake takes rows from any goroutine and never makes it wait for more than
// another one that adds a row.
type intake struct {
	filter   atomic.Pointer[filter]
	filtered atomic.Uint64
	wake     chan struct{} // rows came into an empty intake, or a unit is full

	mu       sync.Mutex
	builders [3]event.Builder // by class
	sealed   []unit
	rows     int // in builders and sealed
	size     int
	taken    map[string]uint64 // rows taken, by table
	rules    map[string]uint64 // rows left out, by rule of the policy
}

func newIntake() *intake {
	return &intake{wake: make(chan struct{}, 1), taken: map[string]uint64{}, rules: map[string]uint64{}}
}

func (q *intake) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// add takes a row, or reports false when there is no room for its class.
func (q *intake) add(row event.Row) bool {
	if f := q.filter.Load(); f.drops(row) {
		q.filtered.Add(1)
		q.dropped(f.rule(row))
		return true
	}
	class := spool.ClassOf(row)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rows >= queueRows*shares[class]/4 || q.size >= queueBytes*shares[class]/4 {
		return false
	}
	b := &q.builders[class]
	before := b.Size()
	b.Add(row)
	q.rows++
	q.taken[row.Table().Name]++
	q.size += b.Size() - before
	rows, size := 0, 0
	for i := range q.builders {
		rows += q.builders[i].Len()
		size += q.builders[i].Size()
	}
	if rows >= batchRows || size >= batchBytes {
		q.seal()
		q.signal()
	} else if rows == 1 {
		q.signal()
	}
	return true
}

func (q *intake) dropped(rule string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rules[rule]++
}

// exclusions returns what rules of policies left out since the start, most
// first.
func (q *intake) exclusions() []RuleUsage {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := []RuleUsage{}
	for rule, n := range q.rules {
		out = append(out, RuleUsage{rule, n})
	}
	slices.SortFunc(out, func(a, b RuleUsage) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Rule, b.Rule))
	})
	return out[:min(len(out), 50)]
}

// seal turns the builders into units, highest class first.
func (q *intake) seal() {
	first := len(q.sealed)
	for _, c := range spool.Classes() {
		b := &q.builders[c]
		if n := b.Len(); n > 0 {
			size := b.Size()
			q.sealed = append(q.sealed, unit{class: c, blocks: b.Take(), rows: n, size: size})
		}
	}
	for i := first; i < len(q.sealed); i++ {
		q.sealed[i].rest = len(q.sealed) - 1 - i
	}
}

// full reports whether a unit is sealed.
func (q *intake) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.sealed) > 0
}

// take returns everything that waits.
func (q *intake) take() []unit {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seal()
	units := q.sealed
	q.sealed = nil
	return units
}

// done says that a unit left for good and makes room.
func (q *intake) done(u unit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rows -= u.rows
	q.size -= u.size
}

// counts returns the rows taken since the start, by table.
func (q *intake) counts() map[string]uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.taken)
}

// empty reports whether nothing waits.
func (q *intake) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.rows == 0
}
