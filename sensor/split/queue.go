// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"maps"
	"sync"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/spool"
)

// Bounds of what waits in the collector, and of what the agent has got and not
// kept yet. Rows of lower classes are refused first.
const (
	queueRows  = 64 << 10
	queueBytes = 64 << 20
	frameBytes = 64 << 10
	window     = 4 << 20
	maxRow     = 16 << 20
)

// shares is the part of the queue that each class may fill, in quarters.
var shares = [...]int{spool.Low: 2, spool.Normal: 3, spool.High: 4}

// frame is rows that go to the agent at once.
type frame struct {
	rowsHead
	data []byte // nil once it was taken
	size int    // of data, also when it has gone
}

// queue holds the rows of a collector until an agent keeps them. It is safe
// for concurrent use.
type queue struct {
	page *page
	wake chan struct{} // there may be something to send

	mu      sync.Mutex
	waiting []frame
	open    frame   // that rows are added to
	flight  []frame // sent and not taken
	taken   []frame // and not kept
	rows    int     // in waiting and open
	size    int
	out     int    // bytes in flight and taken
	next    uint64 // number of the next row
	frames  uint64 // number of the last frame
	lost    map[string]uint64
}

func newQueue(p *page) *queue {
	return &queue{page: p, wake: make(chan struct{}, 1), lost: map[string]uint64{}}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// add takes a row, or reports false when there is no room for its class.
func (q *queue) add(row event.Row) bool {
	class := spool.ClassOf(row)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rows >= queueRows*shares[class]/4 || q.size >= queueBytes*shares[class]/4 {
		q.page.refused.Add(1)
		return false
	}
	if q.open.data == nil {
		q.open = frame{data: make([]byte, 0, 4<<10)}
	}
	before := len(q.open.data)
	q.open.data = event.AppendRow(q.open.data, row)
	added := len(q.open.data) - before
	if added > maxRow {
		q.open.data = q.open.data[:before]
		q.page.refused.Add(1)
		return false
	}
	if q.open.rows == 0 {
		q.open.first = q.next
	}
	q.open.rows++
	q.rows++
	q.size += added
	q.next++
	q.page.accepted.Add(1)
	if len(q.open.data) >= frameBytes {
		q.seal()
	}
	if q.rows == 1 || q.open.data == nil {
		q.signal()
	}
	return true
}

// seal ends the open frame.
func (q *queue) seal() {
	if q.open.rows == 0 {
		return
	}
	q.frames++
	q.open.number, q.open.size = q.frames, len(q.open.data)
	q.waiting = append(q.waiting, q.open)
	q.open = frame{}
}

// pass returns the next frame to send, if there is one and the agent may have it.
func (q *queue) pass() (frame, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.seal()
	}
	if len(q.waiting) == 0 || (q.out > 0 && q.out+q.waiting[0].size > window) {
		return frame{}, false
	}
	f := q.waiting[0]
	q.waiting[0] = frame{} // let go of the data
	q.waiting = q.waiting[1:]
	q.flight = append(q.flight, f)
	q.rows -= int(f.rows)
	q.size -= f.size
	q.out += f.size
	return f, true
}

// full reports whether a whole frame waits.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) > 0
}

// take notes that an agent has the frames up to a number.
func (q *queue) take(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.flight) > 0 && q.flight[0].number <= n {
		f := q.flight[0]
		f.data = nil
		q.flight[0] = frame{}
		q.flight = q.flight[1:]
		q.taken = append(q.taken, f)
	}
}

// keep notes that the frames up to a number, which were taken, are safe.
func (q *queue) keep(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.taken) > 0 && q.taken[0].number <= n {
		q.out -= q.taken[0].size
		q.taken = q.taken[1:]
	}
	q.signal()
}

// relink prepares for another agent: what the last one did not take waits
// again, what it took and did not keep is lost. It returns how many rows are,
// and the number of the first row that comes now.
func (q *queue) relink() (lost, first uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range q.taken {
		lost += f.rows
	}
	if lost > 0 {
		q.lost["agent.killed"] += lost
	}
	for _, f := range q.flight {
		q.rows += int(f.rows)
		q.size += f.size
	}
	q.waiting = append(q.flight, q.waiting...)
	q.flight, q.taken, q.out = nil, nil, 0
	first = q.next - uint64(q.rows)
	q.signal()
	return lost, first
}

// empty reports whether an agent has taken everything.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.rows == 0 && len(q.flight) == 0
}

// losses returns the rows lost here, by class. Refused rows are counted by the
// collector that made them.
func (q *queue) losses() map[string]uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.lost)
}

// forget counts losses from zero again, for another collector.
func (q *queue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost = map[string]uint64{}
}
