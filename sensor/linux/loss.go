// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"maps"
	"sync"
)

// tally counts by name from any goroutine.
type tally struct {
	mu sync.Mutex
	n  map[string]uint64
}

func newTally() *tally { return &tally{n: map[string]uint64{}} }

func (t *tally) add(name string, n uint64) {
	if n == 0 {
		return
	}
	t.mu.Lock()
	t.n[name] += n
	t.mu.Unlock()
}

func (t *tally) copy() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.n)
}

// since returns what was added after an earlier reading. Counters only grow;
// a smaller value would be a fault and counts as nothing.
func since(now, before uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}
