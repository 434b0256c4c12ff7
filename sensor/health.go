// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/wire/wirepb"
)

// usage measures what the processes of the sensor take.
type usage struct {
	read func() []Process

	mu      sync.Mutex
	at      time.Time
	cpu     map[int]time.Duration // by process, when last measured
	percent map[int]float64
}

// usageSpan is the shortest time over which a share is measured.
const usageSpan = time.Second

func newUsage(read func() []Process) *usage {
	u := &usage{read: read, at: time.Now(), cpu: map[int]time.Duration{}, percent: map[int]float64{}}
	for _, p := range read() {
		u.cpu[p.PID] = p.CPU
	}
	return u
}

// now returns the processes of the sensor and the sums over them: the share of
// one processor in percent, and the memory. A process counts from its second
// look on.
func (u *usage) now() (processes []Process, percent float64, rss uint64) {
	processes = u.read()
	u.mu.Lock()
	defer u.mu.Unlock()
	if span := time.Since(u.at); span >= usageSpan {
		cpu, share := map[int]time.Duration{}, map[int]float64{}
		for _, p := range processes {
			if before, ok := u.cpu[p.PID]; ok && p.CPU >= before {
				share[p.PID] = 100 * float64(p.CPU-before) / float64(span)
			}
			cpu[p.PID] = p.CPU
		}
		u.at, u.cpu, u.percent = time.Now(), cpu, share
	}
	for i := range processes {
		processes[i].CPUPercent = u.percent[processes[i].PID]
		percent += processes[i].CPUPercent
		rss += processes[i].RSSBytes
	}
	return processes, percent, rss
}

// losses returns the events lost since the start, by class, and the details
// that events had to do without.
func (a *agent) losses() (lost, incomplete map[string]uint64) {
	a.mu.Lock()
	lost = maps.Clone(a.lostOnce)
	c := a.collector
	a.mu.Unlock()
	if c != nil {
		_, now := c.Counters()
		for class, n := range now {
			lost[class] += n
		}
	}
	for class, n := range a.spool.Stats().Lost {
		lost[class] += n
	}
	incomplete = map[string]uint64{}
	for class, n := range lost {
		if strings.HasPrefix(class, "hash.") || strings.HasPrefix(class, "cache.") || strings.HasPrefix(class, "proc.") {
			incomplete[class] = n
			delete(lost, class)
		}
	}
	return lost, incomplete
}

// collecting returns how events are collected.
func (a *agent) collecting() (rung string, hooks []picket.Hook) {
	a.mu.Lock()
	c, hooks := a.collector, a.hooks
	a.mu.Unlock()
	if c == nil {
		return "off", hooks
	}
	return c.Rung(), c.Hooks()
}

// report makes the health message for the server.
func (a *agent) report() *wirepb.Health {
	rung, hooks := a.collecting()
	_, percent, rss := a.usage.now()
	st := a.spool.Stats()
	lost, incomplete := a.losses()
	maps.Copy(lost, incomplete) // the server tells them apart by their names
	h := &wirepb.Health{
		TimeUs: time.Now().UnixMicro(), Rung: rung, Events: a.intake.counts(), Lost: lost, SpoolBytes: uint64(st.Bytes),
		SpoolLimitBytes: uint64(st.Limit), CpuPercent: percent, RssBytes: rss, Notes: a.notes.take(), IpAddresses: a.o.Facts().IpAddresses,
		Clock: a.clock.facts(),
	}
	for _, k := range hooks {
		h.Hooks = append(h.Hooks, &wirepb.Hook{Kind: k.Kind, Rung: k.Rung, Attached: k.Attached, BlindSpot: k.BlindSpot, Error: k.Error})
	}
	return h
}

// status makes the answer for local commands.
func (a *agent) status() Status {
	id, creds := a.vault.get()
	rung, hooks := a.collecting()
	processes, percent, rss := a.usage.now()
	pid := os.Getpid()
	if len(processes) > 0 {
		pid = processes[0].PID
	}
	st := a.spool.Stats()
	link := a.uplink.link()
	lost, incomplete := a.losses()
	a.mu.Lock()
	policy := a.policy
	a.mu.Unlock()
	if hooks == nil {
		hooks = []picket.Hook{}
	}
	return Status{
		Version: picket.Version, PID: pid, DeviceID: id.DeviceID, Tenant: id.Tenant, Group: link.group, Server: a.uplink.server,
		Way: link.way.String(), Connected: link.connected, Since: link.since, LastError: link.lastError, LastAck: link.lastAck, Throttled: link.throttled,
		Certificate: creds.cert.Leaf.NotAfter, BootID: a.facts.BootId, Rung: rung, Hooks: hooks, Events: a.intake.counts(), Lost: lost,
		Incomplete: incomplete,
		Filtered:   a.intake.filtered.Load(), SpoolBytes: st.Bytes, SpoolLimit: st.Limit, SpoolError: st.LastError, Policy: policy,
		CPUPercent: percent, RSSBytes: rss, UptimeSeconds: int64(time.Since(a.since).Seconds()),
		Processes: processes, Usage: a.costs(), Exclusions: a.intake.exclusions(),
	}
}

// costs tells what collecting costs, where the collector knows.
func (a *agent) costs() Usage {
	a.mu.Lock()
	c := a.collector
	a.mu.Unlock()
	if t, ok := c.(Accountant); ok {
		return t.Usage()
	}
	return Usage{}
}

// watcher turns figures into notes when they cross a line.
type watcher struct {
	a        *agent
	lost     map[string]uint64
	losing   time.Time // last time that events were lost; zero: not now
	full     bool
	near     bool
	damaged  uint64
	lookedAt time.Time // at the certificate
}

// Lines that the fill of the spool must cross to be told, and to be told again.
const (
	nearFull    = 0.8
	nearFullEnd = 0.6
	calmAfter   = time.Minute
	stuckAfter  = time.Minute
)

// watch looks from time to time until ctx ends.
func (a *agent) watch(ctx context.Context) {
	lost, _ := a.losses()
	w := &watcher{a: a, lost: lost, damaged: a.spool.Stats().Lost["spool.damaged"]}
	tick := time.NewTicker(a.o.Timing.Watch)
	defer tick.Stop()
	for {
		w.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *watcher) look(ctx context.Context, now time.Time) {
	w.a.watchClocks()
	w.losses(now)
	w.spool()
	if now.Sub(w.lookedAt) >= w.a.o.Timing.Renew {
		w.lookedAt = now
		w.a.renewWhenDue(ctx)
	}
	last := time.Unix(0, w.a.lastFlush.Load())
	if w.a.intake.empty() || now.Sub(last) < stuckAfter {
		w.a.systemd("WATCHDOG=1")
	}
}

func (w *watcher) losses(now time.Time) {
	lost, _ := w.a.losses()
	var more uint64
	for class, n := range lost {
		if n > w.lost[class] {
			more += n - w.lost[class]
		}
	}
	w.lost = lost
	switch {
	case more > 0 && w.losing.IsZero():
		w.a.notes.add(noteOverload, fmt.Sprintf("events are being lost, %d so far", more), "lost", lost)
		w.losing = now
	case more > 0:
		w.losing = now
	case !w.losing.IsZero() && now.Sub(w.losing) >= calmAfter:
		w.a.notes.add(noteOverloadOver, "no events have been lost for a minute", "lost", lost)
		w.losing = time.Time{}
	}
}

func (w *watcher) spool() {
	st := w.a.spool.Stats()
	if st.Full != w.full {
		w.full = st.Full
		if st.Full {
			w.a.notes.add(noteSpoolFull, "the spool cannot take events: "+st.LastError)
		} else {
			w.a.notes.add(noteSpoolOK, "the spool takes events again")
		}
	}
	fill := float64(st.Bytes) / float64(st.Limit)
	if fill >= nearFull && !w.near {
		w.near = true
		w.a.notes.add(noteSpoolNear, fmt.Sprintf("the spool holds %d of %d bytes", st.Bytes, st.Limit))
	} else if fill < nearFullEnd {
		w.near = false
	}
	if d := st.Lost["spool.damaged"]; d > w.damaged {
		w.damaged = d
		w.a.notes.add(noteSpoolDamaged, fmt.Sprintf("damaged batches in the spool, %d events lost since the start", d))
	}
}
