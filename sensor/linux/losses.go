// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/picket-edr/picket/event"
)

const counterSize = 24 // three 64-bit numbers

// countLosses takes over what the kernel could not write since the last look.
func (c *Collector) countLosses() {
	now, err := c.kernelCounters()
	if err != nil {
		return
	}
	c.takeCounters(now)
}

func (c *Collector) takeCounters(now []kernelCounter) {
	for i, class := range classes {
		var before kernelCounter
		if i < len(c.counters.last) {
			before = c.counters.last[i]
		}
		if n := since(now[i].Lost, before.Lost); n > 0 {
			c.lost.add(class.name, n)
			c.out.miss(class.table, n)
		}
	}
	c.counters.last = now
}

// kernelCounters sums the counters of each class over processors.
func (c *Collector) kernelCounters() ([]kernelCounter, error) {
	if c.kernel == nil || c.kernel.counters == nil {
		return nil, fmt.Errorf("no counters: %w", ebpf.ErrMapIncompatible)
	}
	b := make([]byte, processors()*len(classes)*counterSize)
	if _, err := c.kernel.counters.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	return sumCounters(b), nil
}

// sumCounters adds up the classes of all processors.
func sumCounters(b []byte) []kernelCounter {
	sums := make([]kernelCounter, len(classes))
	for i := 0; len(b) >= counterSize; i++ {
		n := &sums[i%len(classes)]
		n.Produced += binary.LittleEndian.Uint64(b)
		n.Lost += binary.LittleEndian.Uint64(b[8:])
		n.Filtered += binary.LittleEndian.Uint64(b[16:])
		b = b[counterSize:]
	}
	return sums
}

// skippedRuns counts programs that the kernel did not run because they would
// have interrupted themselves, and that no other program stood in for.
func (c *Collector) skippedRuns() uint64 {
	if c.kernel == nil {
		return 0
	}
	var n, network uint64
	for name, p := range c.kernel.programs {
		s, err := p.Stats()
		switch {
		case err != nil || name == "network_nested": // its own skipped runs had network_state run
		case name == "network_state":
			network = s.RecursionMisses
		default:
			n += s.RecursionMisses
		}
	}
	if len(c.counters.last) > classNested {
		network = since(network, c.counters.last[classNested].Produced)
	}
	return n + network
}

// tellLosses makes one row of what was lost since the last such row.
func (c *Collector) tellLosses() {
	missed := c.skippedRuns()
	if n := since(missed, c.counters.missed); n > 0 {
		c.lost.add("kernel.skipped", n)
		c.counters.missed = missed
	}
	now := c.lost.copy()
	moved := map[string]uint64{}
	events := false
	for name, n := range now {
		if d := since(n, c.told[name]); d > 0 {
			moved[name] = d
			events = events || isEventLoss(name)
		}
	}
	if !events {
		return // only detail is missing: it stays in the counters
	}
	c.told = now
	row := &event.DeviceEvents{Timestamp: c.clock.time(c.clock.now()), ActionType: "SensorLoss"}
	row.AdditionalFields = toJSON(map[string]any{"Lost": moved, "Total": now})
	c.out.push(row, nil, nil, false)
}

// isEventLoss tells the loss of an event from that of a detail of one.
func isEventLoss(name string) bool {
	return !strings.HasPrefix(name, "hash.") && !strings.HasPrefix(name, "cache.") && !strings.HasPrefix(name, "proc.")
}
