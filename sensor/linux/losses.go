// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"strings"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/kernel"
)

// countLosses takes over what the kernel could not write since the last look.
func (c *Collector) countLosses() {
	if now, err := c.kernel.Counters(); err == nil {
		c.takeCounters(now)
	}
	c.lossTimes.look(c.clock.time(c.clock.now()), c.lost.copy())
}

func (c *Collector) takeCounters(now []kernel.Counter) {
	for i, class := range kernel.Classes {
		var before kernel.Counter
		if i < len(c.counters.last) {
			before = c.counters.last[i]
		}
		if n := since(now[i].Lost, before.Lost); n > 0 {
			c.lost.add(class.Name, n)
			c.out.miss(class.Table, n)
		}
	}
	c.counters.last = now
}

// tellLosses makes one row of what was lost since the last such row.
func (c *Collector) tellLosses() {
	missed := c.kernel.Skipped()
	if n := since(missed, c.counters.missed); n > 0 {
		c.lost.add("kernel.skipped", n)
		c.counters.missed = missed
	}
	at := c.clock.time(c.clock.now())
	now := c.lost.copy()
	c.lossTimes.look(at, now)
	from, seconds := c.lossTimes.take(at)
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
	row := &event.DeviceEvents{Timestamp: at, ActionType: "SensorLoss"}
	row.AdditionalFields = toJSON(map[string]any{"Lost": moved, "Total": now, "From": from.String(), "To": at.String(), "Seconds": seconds})
	c.out.push(row, nil, nil, false)
}

// isEventLoss tells the loss of an event from that of a detail of one.
func isEventLoss(name string) bool {
	return !strings.HasPrefix(name, "hash.") && !strings.HasPrefix(name, "cache.") && !strings.HasPrefix(name, "proc.")
}
