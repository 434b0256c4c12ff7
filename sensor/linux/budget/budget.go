// SPDX-License-Identifier: Apache-2.0

// Package budget keeps the sensor within what it may take of a host. It holds
// the published order in which kinds of event are shed, the limits of a kind
// and a process, and the governor that decides how much is shed, from figures
// that it is given: it measures nothing itself and attaches to nothing.
package budget

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

// Step is one kind of event that is given up under pressure.
type Step struct {
	Kind    string   // for people
	Classes []string // of the kernel's counters
}

// Order is what is shed, first to last, while the sensor takes more than it
// may. Starts and ends of processes, listening ports, credentials, injection,
// kernel changes, scripts and logons are never shed.
var Order = []Step{
	{"image loads", []string{"ring.image"}},
	{"first bytes of streams", []string{"ring.payload"}},
	{"file attributes", []string{"ring.attribute"}},
	{"datagram flows and ends of connections", []string{"ring.flow", "ring.close"}},
	{"names asked for", []string{"ring.dns"}},
	{"changes of files", []string{"ring.file"}},
	{"deletions, renames and links of files", []string{"ring.delete", "ring.rename", "ring.link"}},
	{"connections", []string{"ring.connect", "ring.accept"}},
}

// Shed returns the classes that are off at a level: the number of steps taken.
func Shed(level int) map[string]bool {
	off := map[string]bool{}
	for _, s := range Order[:min(max(level, 0), len(Order))] {
		for _, c := range s.Classes {
			off[c] = true
		}
	}
	return off
}

// Limits are events a second that may be told; more are counted and told of
// in summaries.
type Limits struct {
	Process map[string]Rate `json:"process,omitempty"` // of one process, by kind of event
	Host    map[string]Rate `json:"host,omitempty"`    // of all processes together
}

// Rate is a token bucket.
type Rate struct {
	PerSecond uint32 `json:"perSecond"`
	Burst     uint32 `json:"burst"`
}

// classes of the kinds of event that may be limited. Starts and ends of
// processes may not: everything rests on them.
var classes = map[string][]string{
	"file":      {"ring.file", "ring.delete", "ring.rename", "ring.link"},
	"attribute": {"ring.attribute"},
	"network":   {"ring.connect", "ring.accept", "ring.listen", "ring.flow", "ring.close", "ring.payload"},
	"dns":       {"ring.dns"},
	"image":     {"ring.image"},
	"privilege": {"ring.privilege"},
	"kernel":    {"ring.kernel"},
	"socket":    {"ring.socket"},
	"script":    {"ring.script"},
}

// Kinds are the kinds of event that may be limited.
func Kinds() []string { return slices.Sorted(maps.Keys(classes)) }

// ClassesOf returns the classes of a kind.
func ClassesOf(kind string) []string { return slices.Clone(classes[kind]) }

// Default limits hold back a flood and nothing that a program does in earnest.
func Default() Limits {
	return Limits{Process: map[string]Rate{
		"file": {2000, 20000}, "attribute": {500, 5000}, "network": {2000, 20000}, "dns": {500, 5000}, "image": {1000, 10000},
		"privilege": {500, 5000}, "kernel": {200, 2000}, "socket": {500, 5000}, "script": {200, 2000},
	}}
}

const maxRate = 1_000_000

// Check refuses limits of kinds that cannot have one, and rates that nothing
// could pass.
func (l Limits) Check() error {
	for where, rates := range map[string]map[string]Rate{"process": l.Process, "host": l.Host} {
		for kind, r := range rates {
			if classes[kind] == nil {
				return fmt.Errorf("limits.%s: kind %q cannot be limited, want one of %s: %w", where, kind, strings.Join(Kinds(), ", "), picket.Invalid)
			}
			if r.PerSecond < 1 || r.PerSecond > maxRate || r.Burst < 1 || r.Burst > maxRate {
				return fmt.Errorf("limits.%s.%s: perSecond and burst must be 1 to %d: %w", where, kind, maxRate, picket.Invalid)
			}
		}
	}
	return nil
}

// With returns the limits with those of another in place of its own.
func (l Limits) With(over Limits) Limits {
	merge := func(a, b map[string]Rate) map[string]Rate {
		out := maps.Clone(a)
		if out == nil {
			out = map[string]Rate{}
		}
		maps.Copy(out, b)
		return out
	}
	return Limits{merge(l.Process, over.Process), merge(l.Host, over.Host)}
}

// Ceiling is what the sensor may take in the long run.
type Ceiling struct {
	CPUPercent  float64       // of one processor
	CPUBurst    time.Duration // of processor time that may be saved up
	MemoryBytes uint64        // resident
}

// DefaultCeiling is what a sensor may take that nobody gave another.
var DefaultCeiling = Ceiling{CPUPercent: 40, CPUBurst: 30 * time.Second, MemoryBytes: 256 << 20}

// Pace of the governor: it takes steps quickly and goes back slowly.
const (
	stepDown = 2 * time.Second
	stepUp   = 15 * time.Second
)

// Governor decides how many steps of Order are taken. Its zero value is not
// ready: use New.
type Governor struct {
	ceiling Ceiling
	saved   time.Duration // processor time in hand; negative: overdrawn
	at      time.Time
	cpu     time.Duration
	changed time.Time
	level   int
}

// New returns a governor at level 0 with all of its burst in hand.
func New(c Ceiling) *Governor { return &Governor{ceiling: c, saved: c.CPUBurst} }

// SetCeiling puts another ceiling in force.
func (g *Governor) SetCeiling(c Ceiling) {
	g.ceiling = c
	g.saved = min(g.saved, c.CPUBurst)
}

// Level is the number of steps that are taken.
func (g *Governor) Level() int { return g.level }

// Tick takes the processor time used so far and the memory in use, and returns
// the level, and why it changed; "" when it did not.
func (g *Governor) Tick(now time.Time, cpu time.Duration, rss uint64) (level int, why string) {
	if g.at.IsZero() {
		g.at, g.cpu, g.changed = now, cpu, now
		return g.level, ""
	}
	earned := time.Duration(float64(now.Sub(g.at)) * g.ceiling.CPUPercent / 100)
	g.saved = min(g.saved+earned-(cpu-g.cpu), g.ceiling.CPUBurst)
	g.saved = max(g.saved, -g.ceiling.CPUBurst)
	g.at, g.cpu = now, cpu
	busy := g.saved < 0
	large := g.ceiling.MemoryBytes > 0 && rss > g.ceiling.MemoryBytes
	calm := g.saved > g.ceiling.CPUBurst/4 && (g.ceiling.MemoryBytes == 0 || rss < g.ceiling.MemoryBytes/8*7)
	switch since := now.Sub(g.changed); {
	case (busy || large) && g.level < len(Order) && since >= stepDown:
		g.level++
		why = "processor time"
		if large {
			why = "memory"
		}
	case calm && g.level > 0 && since >= stepUp:
		g.level--
		why = "calm"
	}
	if why != "" {
		g.changed = now
	}
	return g.level, why
}
