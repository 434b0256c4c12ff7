// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"

	"github.com/picket-edr/picket"
)

// source collects kinds of event without programs in the kernel, or adds to
// what those tell. It hands over the types of package record, or functions
// that the reader's goroutine runs.
type source struct {
	hook  picket.Hook
	run   func(ctx context.Context, emit func(any) bool) error // until ctx ends; emit reports false when there was no room
	class string                                               // of what emit refused
}

// sourceList is what may be opened, in this order.
func sourceList() []func(c *Collector) *source { return nil }

// addSources opens what stands in for kinds whose rungs in the kernel do not
// work, and what collects beside them.
func (c *Collector) addSources(open []func(c *Collector) *source) {
	for _, f := range open {
		s := f(c)
		if s == nil {
			continue
		}
		c.sources = append(c.sources, s)
		c.setHook(s.hook)
	}
}

// setHook replaces the account of a kind, or adds it.
func (c *Collector) setHook(h picket.Hook) {
	for i := range c.hooks {
		if c.hooks[i].Kind == h.Kind {
			if c.hooks[i].Error != "" && h.Error == "" {
				h.Error = c.hooks[i].Error
			}
			c.hooks[i] = h
			return
		}
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

// runSource lets a source work until ctx ends.
func (c *Collector) runSource(ctx context.Context, s *source) error {
	return s.run(ctx, func(rec any) bool {
		f, ok := rec.(func())
		if !ok {
			f = func() { c.onRecord(rec) }
		}
		if !c.do(f) {
			c.lost.add(s.class, 1)
			return false
		}
		return true
	})
}
