// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"slices"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/budget"
	"github.com/picket-edr/picket/sensor/linux/kernel"
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"golang.org/x/sys/unix"
)

const (
	summarize    = time.Second // between two looks at what limits left out
	maxSummaries = 64          // rows of one look; the rest is told together
)

// Budget is what the collector may take of the host, and how much of a kind it
// may tell.
type Budget struct {
	Limits  budget.Limits
	Ceiling budget.Ceiling
}

// frugal is how the collector keeps within its budget. Only the reader's
// goroutine touches it.
type frugal struct {
	limits   budget.Limits
	governor *budget.Governor
	told     map[kernel.Bucket]uint64
	last     []kernel.Counter // at the last look at what was left out
	since    uint64           // boot clock of that look
}

func newFrugal() *frugal {
	return &frugal{limits: budget.Default(), governor: budget.New(budget.DefaultCeiling), told: map[kernel.Bucket]uint64{}}
}

// SetBudget puts another budget in force. It may be called from any goroutine.
func (c *Collector) SetBudget(b Budget) {
	c.do(func() {
		c.frugal.limits = b.Limits
		c.frugal.governor.SetCeiling(b.Ceiling)
		c.applyLimits()
	})
}

// applyLimits tells the kernel what may be told.
func (c *Collector) applyLimits() {
	shed := budget.Shed(c.frugal.governor.Level())
	limits := map[string]kernel.Limit{}
	for _, kind := range budget.Kinds() {
		p, h := c.frugal.limits.Process[kind], c.frugal.limits.Host[kind]
		for _, class := range budget.ClassesOf(kind) {
			limits[class] = kernel.Limit{PerSecond: p.PerSecond, Burst: p.Burst, AllPerSecond: h.PerSecond, AllBurst: h.Burst, Off: shed[class]}
		}
	}
	if err := c.kernel.SetLimits(limits); err != nil {
		c.log.Warn("limits cannot be put in force", "error", err)
	}
}

// govern sheds when the collector takes more than it may, and tells of it.
func (c *Collector) govern(now time.Time) {
	cpu, rss := ownUsage()
	level, why := c.frugal.governor.Tick(now, cpu, rss)
	if why == "" {
		return
	}
	c.applyLimits()
	kinds := []string{}
	for _, s := range budget.Order[:level] {
		kinds = append(kinds, s.Kind)
	}
	c.log.Warn("kinds of event that are not collected change", "level", level, "because of", why, "kinds", kinds)
	row := &event.DeviceEvents{Timestamp: c.clock.time(c.clock.now()), ActionType: "SensorShedding"}
	row.AdditionalFields = toJSON(map[string]any{"Level": level, "Reason": why, "Shed": kinds})
	c.out.push(row, nil, nil, false)
}

// ownUsage returns the processor time and the resident memory of this process.
func ownUsage() (cpu time.Duration, rss uint64) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) == nil {
		cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return cpu, procfs.Resident("self")
}

// tellLimited makes summaries of what limits and shedding left out since the
// last look: one for each process and kind, and one for what has no process.
func (c *Collector) tellLimited() {
	now, err := c.kernel.Counters()
	if err != nil {
		return
	}
	c.takeLimited(now)
}

func (c *Collector) takeLimited(now []kernel.Counter) {
	before := c.frugal.last
	c.frugal.last = now
	left := map[string]uint64{} // by class
	for i, class := range kernel.Classes {
		var b kernel.Counter
		if i < len(before) {
			b = before[i]
		}
		if n := since(now[i].Limited, b.Limited); n > 0 {
			left[class.Name] = n
			c.limited.add(class.Name, n)
		}
	}
	if len(left) == 0 {
		c.frugal.since = c.clock.now()
		return
	}
	for _, s := range c.limitedProcesses() {
		n := min(s.n, left[s.class])
		left[s.class] -= n
		if n > 0 {
			c.summary(c.cache.get(s.bucket.PID, s.bucket.Start), s.class, n, "rate limit")
		}
	}
	for class, n := range left {
		if n > 0 {
			c.summary(nil, class, n, "shedding or limit of the host")
		}
	}
	c.frugal.since = c.clock.now()
}

type limitedProcess struct {
	bucket kernel.Bucket
	class  string
	n      uint64
}

// limitedProcesses returns the processes of which most was left out.
func (c *Collector) limitedProcesses() []limitedProcess {
	var out []limitedProcess
	counts := c.kernel.Limited()
	for b, n := range counts {
		d := since(n, c.frugal.told[b])
		if d > 0 && b.PID != 0 && int(b.Class) < len(kernel.Classes) {
			out = append(out, limitedProcess{b, kernel.Classes[b.Class].Name, d})
		}
	}
	c.frugal.told = counts
	slices.SortFunc(out, func(a, b limitedProcess) int {
		switch {
		case a.n > b.n:
			return -1
		case a.n < b.n:
			return 1
		}
		return int(a.bucket.PID) - int(b.bucket.PID)
	})
	return out[:min(len(out), maxSummaries)]
}

func (c *Collector) summary(p *process, class string, n uint64, why string) {
	row := &event.DeviceEvents{Timestamp: c.clock.time(c.clock.now()), ActionType: "EventsSummarized"}
	c.plans.fill(row, c.describe(p))
	row.AdditionalFields = toJSON(map[string]any{"Class": class, "Count": n, "Reason": why, "From": c.clock.time(c.frugal.since)})
	c.out.push(row, nil, actorImage(p), false)
}

// Limited returns what was left out by limits and shedding, by class.
func (c *Collector) Limited() map[string]uint64 { return c.limited.copy() }
