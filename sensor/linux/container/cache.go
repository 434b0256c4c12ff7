// SPDX-License-Identifier: Apache-2.0

package container

import (
	"container/list"
	"time"
)

const (
	maxKnown   = 4096
	retryFirst = 100 * time.Millisecond // a runtime starts a container and writes it down a moment later
	retryLast  = time.Minute
)

// Info is what is known of a container. Empty fields are unknown.
type Info struct {
	ID, Name, Runtime             string
	Image                         string
	ImageDigest                   string // of the manifest where the runtime tells it, else of the image's configuration
	PodName, PodNamespace, PodUID string
	Labels                        string // of the pod, or outside of pods of the container: a JSON object
	Told                          bool   // a runtime's state was found; until then it is worth asking again
	labels                        map[string]string
	sandbox                       string // id of the pod's own container, which carries the pod's labels
}

// Options say where a Cache looks.
type Options struct {
	Root  string                           // "": /
	Now   func() time.Time                 // nil: time.Now
	Guard func(func() *Info) (*Info, bool) // runs a look at the disk and gives up when it takes too long; nil: waits
}

// Cache remembers containers. It belongs to one goroutine.
type Cache struct {
	o     Options
	known map[Place]*entry
	order *list.List // of *entry, most recently used first
}

type entry struct {
	place   Place
	info    *Info
	next    time.Time     // when to look again
	wait    time.Duration // until then; 0: never, it was found
	element *list.Element
}

// NewCache returns an empty cache.
func NewCache(o Options) *Cache {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Guard == nil {
		o.Guard = func(look func() *Info) (*Info, bool) { return look(), true }
	}
	return &Cache{o: o, known: map[Place]*entry{}, order: list.New()}
}

// Get returns what is known of the container at a place, nil for the host. The
// result is not changed any more; one that is not Told is worth asking for again.
func (c *Cache) Get(p Place) *Info {
	if p.ID == "" {
		return nil
	}
	e := c.known[p]
	if e == nil {
		e = &entry{place: p, info: bare(p)}
		c.known[p] = e
		e.element = c.order.PushFront(e)
		if c.order.Len() > maxKnown {
			last := c.order.Remove(c.order.Back()).(*entry)
			delete(c.known, last.place)
		}
		c.look(e)
		return e.info
	}
	c.order.MoveToFront(e.element)
	if e.wait > 0 && !c.o.Now().Before(e.next) {
		c.look(e)
	}
	return e.info
}

// look reads the runtime's state, and plans another try when there is none.
func (c *Cache) look(e *entry) {
	root, place := c.o.Root, e.place
	info, inTime := c.o.Guard(func() *Info { return find(root, place) })
	if inTime && info != nil {
		e.info, e.wait = info, 0
		return
	}
	e.wait = min(max(2*e.wait, retryFirst), retryLast)
	e.next = c.o.Now().Add(e.wait)
}

// bare is what the control group alone tells.
func bare(p Place) *Info {
	i := &Info{ID: clip(p.ID), Runtime: p.Runtime, PodUID: p.PodUID}
	if p.Runtime == LXC || p.Runtime == Nspawn {
		i.Name = i.ID // these have no other name
	}
	return i
}
