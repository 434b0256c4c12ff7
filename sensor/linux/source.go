// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"fmt"
	"slices"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor/linux/fanotify"
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/sockets"
)

// source collects kinds of event without programs in the kernel, or adds to
// what those tell. It hands over the types of package record, or functions
// that the reader's goroutine runs.
type source struct {
	hook picket.Hook
	run  func(ctx context.Context, emit func(any) bool) error // until ctx ends; emit waits for room
}

// sourceList is what may stand in where no programs can be loaded, or collects
// beside them: for each kind the better one first.
func sourceList() []func(c *Collector) (*source, error) {
	return []func(c *Collector) (*source, error){openConnector, openPoll, openFanotify, openSockets, openLinks, openFirewall, openShells}
}

// addSources opens what stands in for kinds whose rungs in the kernel do not
// work, and what collects beside them.
func (c *Collector) addSources(open []func(c *Collector) (*source, error)) {
	for _, f := range open {
		s, err := f(c)
		switch {
		case err != nil && s != nil:
			s.hook.Error, s.hook.Attached, s.hook.Rung = s.hook.Rung+": "+err.Error(), false, "off"
			c.setHook(s.hook)
		case s != nil:
			s.hook.Attached = true
			c.sources = append(c.sources, s)
			c.setHook(s.hook)
		}
	}
}

// setHook replaces the account of a kind, or adds it. Why better rungs were
// not taken stays.
func (c *Collector) setHook(h picket.Hook) {
	c.hookMu.Lock()
	defer c.hookMu.Unlock()
	for i := range c.hooks {
		old := &c.hooks[i]
		if old.Kind != h.Kind {
			continue
		}
		if old.Error != "" && h.Error != "" {
			h.Error = old.Error + "; " + h.Error
		} else if h.Error == "" {
			h.Error = old.Error
		}
		*old = h
		return
	}
	c.hooks = append(c.hooks, h)
}

// missing reports whether nothing collects a kind so far, and a rung of that
// name may be taken for it.
func (c *Collector) missing(kind, rung string) bool {
	if only := c.o.Rungs[kind]; only != "" && only != rung {
		return false
	}
	for _, h := range c.hooks {
		if h.Kind == kind && h.Attached {
			return false
		}
	}
	return true
}

// runSource lets a source work until ctx ends. A source waits for room: what
// it cannot hold meanwhile it counts itself.
func (c *Collector) runSource(ctx context.Context, s *source) error {
	err := s.run(ctx, func(rec any) bool {
		f, ok := rec.(func())
		if !ok {
			f = func() { c.onRecord(rec) }
		}
		select {
		case c.inbox <- f:
		case <-ctx.Done():
			return false
		}
		if c.rings != nil {
			c.rings.Interrupt()
		}
		return true
	})
	if err != nil && ctx.Err() == nil {
		// One source that fails must not end the others: it is told of and left.
		c.log.ErrorContext(ctx, "a source of events failed", "kind", s.hook.Kind, "rung", s.hook.Rung, "error", err)
		c.do(func() {
			c.setHook(picket.Hook{Kind: s.hook.Kind, Rung: "off", Error: fmt.Sprintf("%s: %v", s.hook.Rung, err)})
		})
	}
	return nil
}

func openConnector(c *Collector) (*source, error) {
	if !c.missing("process", "connector") {
		return nil, nil
	}
	s := &source{hook: picket.Hook{Kind: "process", Rung: "connector",
		BlindSpot: "image, arguments and directory of processes that end at once; what a process was before it ran another image; other process-id and network namespaces when the sensor runs in one"}}
	p, err := procfs.OpenConnector(c.proc, func(n uint64) { c.lost.add("connector.process", n) })
	if err != nil {
		return s, err
	}
	s.run = p.Run
	return s, nil
}

func openPoll(c *Collector) (*source, error) {
	if !c.missing("process", "proc") {
		return nil, nil
	}
	return &source{
		hook: picket.Hook{Kind: "process", Rung: "proc",
			BlindSpot: "processes that live less than a fifth of a second, exit codes, and images that a process runs under the name that it had"},
		run: (&procfs.Poll{Proc: c.proc, Now: c.clock.now}).Run,
	}, nil
}

func openFanotify(c *Collector) (*source, error) {
	if !c.missing("file", "fanotify") {
		return nil, nil
	}
	s := &source{hook: picket.Hook{Kind: "file", Rung: "fanotify",
		BlindSpot: "network and kernel file systems; what a link points to is told as a new file; how much was written; " +
			"the acting process when it has ended already; a file that is written through a mapping after it was closed"}}
	w := &fanotify.Watch{
		Proc: c.proc, Now: c.clock.now, Lost: c.lost.add,
		Exclude: c.excludes,
	}
	if err := w.Open(); err != nil {
		return s, err
	}
	s.run = w.Run
	return s, nil
}

// excludes reports whether the doings of a process are left out.
func (c *Collector) excludes(pid uint32) bool {
	c.excluding.Lock()
	defer c.excluding.Unlock()
	return slices.Contains(c.o.ExcludePIDs, int(pid))
}

func openSockets(c *Collector) (*source, error) {
	if !c.missing("network", "proc") {
		return nil, nil
	}
	return &source{
		hook: picket.Hook{Kind: "network", Rung: "proc",
			BlindSpot: "connections that last less than half a second, failed connections, and who made one that has no owner any more"},
		run: (&sockets.Poll{Proc: c.proc, Now: c.clock.now, Exclude: c.excludes}).Run,
	}, nil
}
