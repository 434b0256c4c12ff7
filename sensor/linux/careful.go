// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"time"
)

const (
	carefulWait  = 100 * time.Millisecond
	carefulStuck = 32 // reads that may hang at once
)

// careful reads memory of other processes. A process can put pages there that
// never arrive, from a file system of its own making, and whoever reads its
// arguments then waits for ever: that must not be the reader of events.
type careful struct {
	slots chan struct{}
	lost  *tally
	wait  time.Duration
}

func newCareful(lost *tally) *careful {
	return &careful{slots: make(chan struct{}, carefulStuck), lost: lost, wait: carefulWait}
}

// read returns at most limit bytes of a file, or nothing when they do not come
// in time.
func (c *careful) read(name string, limit int64) []byte {
	b, _ := attempt(c, func() []byte { return readSome(name, limit) })
	return b
}

// attempt runs what may hang. It reports whether the result came in time.
func attempt[T any](c *careful, f func() T) (T, bool) {
	var none T
	select {
	case c.slots <- struct{}{}:
	default:
		c.lost.add("proc.stuck", 1)
		return none, false
	}
	got := make(chan T, 1)
	go func() {
		defer func() { <-c.slots }()
		got <- f()
	}()
	t := time.NewTimer(c.wait)
	defer t.Stop()
	select {
	case v := <-got:
		return v, true
	case <-t.C:
		c.lost.add("proc.stuck", 1)
		return none, false
	}
}

// readSome reads at most n bytes of a file; what cannot be read is empty.
func readSome(name string, n int64) []byte { return procfs.ReadSome(name, n) }
