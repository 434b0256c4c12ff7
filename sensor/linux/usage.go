// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picket-edr/picket/sensor/linux/budget"
	"github.com/picket-edr/picket/sensor/linux/kernel"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// Usage is what collecting costs, since the collector was opened unless it
// says otherwise.
type Usage struct {
	Kinds     []KindUsage
	Processes []ProcessUsage // those that cause most, most first
	Shed      []string       // kinds of event that are not collected at present
}

// KindUsage is what one kind of record costs.
type KindUsage struct {
	Kind          string
	Records       uint64
	User          time.Duration // in the collector, from one in sixteen
	KernelPercent float64       // of one processor, within the kernel, as last sampled; of the programs that make it
}

// ProcessUsage is what one program caused.
type ProcessUsage struct {
	Path    string
	PID     uint32 // of its latest process
	Records uint64
}

const (
	sampleEvery  = 16   // records of which one is timed
	maxCausers   = 4096 // processes that are counted by themselves
	topProcesses = 25
	measureEvery = time.Minute // in the kernel
	measureFor   = time.Second
)

type causer struct {
	key procKey
	n   uint64
}

// meter counts what records cost. The reader's goroutine writes it; what
// others see is a copy, made from time to time.
type meter struct {
	seen    uint64
	kinds   map[string]*KindUsage
	causers map[procKey]*causer
	timing  *kernel.Timing
	began   time.Time // of the measurement that runs, or of the last one

	mu   sync.Mutex
	last Usage
}

func newMeter() *meter {
	return &meter{kinds: map[string]*KindUsage{}, causers: map[procKey]*causer{}}
}

// kindOf names the kind of a record and returns its header.
func kindOf(rec any) (string, *record.Header) {
	switch r := rec.(type) {
	case *record.Exec:
		return "process start", &r.Header
	case *record.Fork:
		return "process fork", &r.Header
	case *record.Exit:
		return "process end", &r.Header
	case *record.File:
		return "file", &r.Header
	case *record.PathOp:
		return "file name", &r.Header
	case *record.Net:
		return "network", &r.Header
	case *record.DNS:
		return "dns", &r.Header
	case *record.Action:
		return "action", &r.Header
	}
	return "other", nil
}

// note counts a record that is about to be handled, and returns what is to be
// called when it was; nil mostly.
func (m *meter) note(rec any) func() {
	kind, h := kindOf(rec)
	k := m.kinds[kind]
	if k == nil {
		k = &KindUsage{Kind: kind}
		m.kinds[kind] = k
	}
	k.Records++
	if h != nil && h.PID != 0 {
		m.cause(procKey{h.PID, h.Start})
	}
	m.seen++
	if m.seen%sampleEvery != 0 {
		return nil
	}
	began := time.Now()
	return func() { k.User += sampleEvery * time.Since(began) }
}

func (m *meter) cause(key procKey) {
	c := m.causers[key]
	if c == nil {
		if len(m.causers) >= maxCausers {
			m.halve()
		}
		c = &causer{key: key}
		m.causers[key] = c
	}
	c.n++
}

// halve forgets the processes that caused least.
func (m *meter) halve() {
	all := slices.SortedFunc(maps.Values(m.causers), func(a, b *causer) int { return int(b.n) - int(a.n) })
	for _, c := range all[len(all)/2:] {
		delete(m.causers, c.key)
	}
}

// measure has the kernel time its programs for a moment each minute: to time
// all of their runs would cost more than many of them do.
func (c *Collector) measure(now time.Time) {
	m := c.meter
	switch {
	case m.timing == nil && now.Sub(m.began) >= measureEvery:
		t, err := c.kernel.StartTiming()
		if err == nil {
			m.timing, m.began = t, now
		} else {
			m.began = now
		}
	case m.timing != nil && now.Sub(m.began) >= measureFor:
		spent := m.timing.Stop()
		m.timing = nil
		for _, k := range m.kinds {
			k.KernelPercent = 0
		}
		for name, d := range spent {
			k := m.kinds[kindOfProgram(name)]
			if k != nil {
				k.KernelPercent += 100 * float64(d) / float64(now.Sub(m.began))
			}
		}
	}
}

// kindOfProgram tells by its name which records a program makes most.
func kindOfProgram(name string) string {
	switch {
	case name == "process_exec":
		return "process start"
	case name == "process_fork":
		return "process fork"
	case name == "process_exit":
		return "process end"
	case strings.HasPrefix(name, "file"):
		return "file"
	case strings.HasPrefix(name, "network"):
		return "network"
	case strings.HasPrefix(name, "udp"), strings.HasPrefix(name, "dns"), strings.HasPrefix(name, "stream"):
		return "dns"
	}
	return "action"
}

// publish makes what was counted so far visible to other goroutines.
func (c *Collector) publish() {
	m := c.meter
	u := Usage{Shed: []string{}}
	for _, k := range slices.Sorted(maps.Keys(m.kinds)) {
		u.Kinds = append(u.Kinds, *m.kinds[k])
	}
	for _, s := range budget.Order[:c.frugal.governor.Level()] {
		u.Shed = append(u.Shed, s.Kind)
	}
	byPath := map[string]*ProcessUsage{}
	for key, n := range m.causers {
		path := "?"
		if p := c.cache.get(key.pid, key.start); p != nil && p.path != "" {
			path = p.path
		}
		x := byPath[path]
		if x == nil {
			x = &ProcessUsage{Path: path}
			byPath[path] = x
		}
		x.Records += n.n
		x.PID = max(x.PID, key.pid)
	}
	for _, x := range slices.SortedFunc(maps.Values(byPath), func(a, b *ProcessUsage) int { return int(b.Records) - int(a.Records) }) {
		if len(u.Processes) < topProcesses {
			u.Processes = append(u.Processes, *x)
		}
	}
	m.mu.Lock()
	m.last = u
	m.mu.Unlock()
}

// Usage tells what collecting costs, as of a second ago at most.
func (c *Collector) Usage() Usage {
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	return c.meter.last
}
