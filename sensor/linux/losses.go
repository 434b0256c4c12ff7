// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/picket-edr/picket/event"
)

// countLosses takes over what the kernel could not write since the last look.
func (c *Collector) countLosses() {
	now, err := c.kernelCounters()
	if err != nil {
		return
	}
	c.counters.mu.Lock()
	defer c.counters.mu.Unlock()
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
	missed := c.skippedRuns()
	c.lost.add("kernel.skipped", since(missed, c.counters.miss))
	c.counters.miss = max(missed, c.counters.miss)
}

// kernelCounters sums the counters of each class over processors.
func (c *Collector) kernelCounters() ([]kernelCounter, error) {
	if c.kernel == nil || c.kernel.maps["counters"] == nil {
		return nil, fmt.Errorf("no counters: %w", ebpf.ErrMapIncompatible)
	}
	sums := make([]kernelCounter, len(classes))
	for i := range classes {
		var each []kernelCounter
		if err := c.kernel.maps["counters"].Lookup(uint32(i), &each); err != nil {
			return nil, fmt.Errorf("read counter %s: %w", classes[i].name, err)
		}
		for _, n := range each {
			sums[i].Produced += n.Produced
			sums[i].Lost += n.Lost
			sums[i].Filtered += n.Filtered
		}
	}
	return sums, nil
}

// skippedRuns counts programs that the kernel did not run because they would
// have interrupted themselves.
func (c *Collector) skippedRuns() uint64 {
	var n uint64
	for _, p := range c.kernel.programs {
		if s, err := p.Stats(); err == nil {
			n += s.RecursionMisses
		}
	}
	return n
}

// tellLosses makes one row of what was lost since the last such row.
func (c *Collector) tellLosses() {
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
	return !strings.HasPrefix(name, "hash.") && !strings.HasPrefix(name, "cache.")
}
