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

// class is one kind of kernel event that is counted by itself.
type class struct {
	name  string // of the loss counter
	table string // whose rows carry the loss
}

// classes in the order of bpf/picket.h.
var classes = []class{
	{"ring.exec", "DeviceProcessEvents"},
	{"ring.fork", "DeviceProcessEvents"},
	{"ring.exit", "DeviceProcessEvents"},
	{"ring.file", "DeviceFileEvents"},
	{"ring.delete", "DeviceFileEvents"},
	{"ring.rename", "DeviceFileEvents"},
	{"ring.link", "DeviceFileEvents"},
	{"ring.connect", "DeviceNetworkEvents"},
	{"ring.accept", "DeviceNetworkEvents"},
	{"ring.listen", "DeviceNetworkEvents"},
	{"ring.dns", "DeviceEvents"},
	{"ring.flow", "DeviceNetworkEvents"},
	{"", ""}, // classNested
}

// classNested is no kind of event: it counts the runs of network_nested that
// stand in for skipped ones of network_state.
var classNested = len(classes) - 1

// kernelCounter is one entry of the counters map, summed over processors.
type kernelCounter struct{ Produced, Lost, Filtered uint64 }

// since returns what was added after an earlier reading. Counters only grow;
// a smaller value would be a fault and counts as nothing.
func since(now, before uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}
