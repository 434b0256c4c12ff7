// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	sameLogon  = 10 * time.Second // sources that tell of the same do so within this time
	holdBack   = 2 * time.Second  // that a fact waits for others to add to it
	holdWeak   = 5 * time.Second
	keepFailed = 10 * time.Minute
	maxOpen    = 16384 // facts that are held or remembered
	maxScanned = 512   // of them that one note is compared with
	maxKnown   = 4096  // sessions that are remembered for their end
)

// merger makes one fact of what several sources tell within a short time: of
// each kind as many as the source that told most of it told. A fact is held
// for a moment so that the richest account of it is passed on. Any goroutine
// may tell; notes are never waited for.
type merger struct {
	lost func(class string, n uint64)

	mu     sync.Mutex
	open   []*candidate // oldest first
	byUser map[string][]*candidate
	byPID  map[string][]*candidate
	failed map[uint32]time.Time // processes that told of a failure in full
	known  map[string]Fact      // logons by process and by terminal
}

type candidate struct {
	note
	last, due time.Time
	origins   []string
	user, pid string // keys that it is found by
	told      bool
	dropped   bool
}

func newMerger(lost func(string, uint64)) *merger {
	return &merger{lost: lost, byUser: map[string][]*candidate{}, byPID: map[string][]*candidate{},
		failed: map[uint32]time.Time{}, known: map[string]Fact{}}
}

// tell takes what a source says.
func (m *merger) tell(source string, n note, now time.Time) {
	if n.At.IsZero() || n.At.After(now.Add(time.Second)) || now.Sub(n.At) > time.Minute {
		n.At = now
	}
	if n.origin == "" {
		n.origin = source
	}
	n.addSource(source)
	m.mu.Lock()
	defer m.mu.Unlock()
	if n.cancel {
		m.cancelWeak(&n)
		return
	}
	if n.Action == Failed && n.PID != 0 && !n.apart && m.knownFailure(&n, now) {
		return
	}
	if c := m.find(&n, now); c != nil {
		c.absorb(n)
		c.last = now
		m.index(c)
		c.count(&n)
		if due := now.Add(holdBack); !n.weak && !c.told && due.Before(c.due) && n.hold == 0 {
			c.due = due
		}
		return
	}
	m.add(n, now)
}

// seen notes that a row tells of a change already: what sources say of it, or
// said a moment ago, adds nothing.
func (m *merger) seen(n note, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := false
	for _, c := range m.byUser[n.userKey()] {
		if c.Reason == "" && c.agrees(&n) && now.Sub(c.last) <= sameLogon {
			c.told, found = true, true
		}
	}
	if found || len(m.open) >= maxOpen {
		return
	}
	c := &candidate{note: n, last: now, due: now, told: true}
	m.open = append(m.open, c)
	m.index(c)
}

// knownFailure remembers processes that told of a failure. A message of theirs
// that tells less, such as that the connection closed, adds nothing then, as
// late as it may come.
func (m *merger) knownFailure(n *note, now time.Time) bool {
	if n.weak {
		at, ok := m.failed[n.PID]
		return ok && now.Sub(at) < keepFailed && now.Sub(at) > sameLogon
	}
	if len(m.failed) >= maxKnown {
		for pid, at := range m.failed {
			if now.Sub(at) > sameLogon {
				delete(m.failed, pid)
			}
		}
		if len(m.failed) >= maxKnown {
			clear(m.failed)
		}
	}
	m.failed[n.PID] = now
	return false
}

// find returns what a note belongs to: preferably of the same process, the
// oldest first, and only one that its origin has not told of.
func (m *merger) find(n *note, now time.Time) *candidate {
	for _, list := range [][]*candidate{m.byPID[n.pidKey()], m.byUser[n.userKey()]} {
		list = list[max(0, len(list)-maxScanned):]
		for _, c := range list {
			if c.dropped || now.Sub(c.last) > max(sameLogon, c.due.Sub(c.last)) || !c.agrees(n) {
				continue
			}
			if n.weak || c.weak || !slices.Contains(c.origins, n.origin) {
				return c
			}
		}
	}
	return nil
}

func (n *note) userKey() string {
	name := n.User
	if n.Account {
		name = n.Target + "\x00" + n.Group
		if name == "\x00" && n.PID == 0 {
			name = "\x00" + n.Detail // of the host
		}
	}
	if name == "" || name == "\x00" {
		return ""
	}
	return family(n.Action) + "\x00" + strings.ToLower(name)
}

func (n *note) pidKey() string {
	if n.PID == 0 || n.apart {
		return ""
	}
	return family(n.Action) + "\x00" + strconv.FormatUint(uint64(n.PID), 10)
}

// family puts sessions that were found with those that are just told of.
func family(action string) string {
	if action == Found {
		return Success
	}
	return action
}

func (m *merger) add(n note, now time.Time) {
	if n.userKey() == "" && n.pidKey() == "" {
		return // of nobody
	}
	if len(m.open) >= maxOpen {
		m.lost("logon.full", 1)
		return
	}
	hold := n.hold
	switch {
	case hold > 0:
	case n.weak || n.Action == Logoff: // a logoff must not overtake its logon
		hold = holdWeak
	default:
		hold = holdBack
	}
	c := &candidate{note: n, last: now, due: now.Add(hold)}
	c.count(&n)
	m.open = append(m.open, c)
	m.index(c)
}

// count remembers that an origin told of a fact in full, which it does once.
func (c *candidate) count(n *note) {
	if !n.weak && !slices.Contains(c.origins, n.origin) {
		c.origins = append(c.origins, n.origin)
	}
}

// index makes a candidate findable by what is known of it first.
func (m *merger) index(c *candidate) {
	if k := c.userKey(); k != "" && c.user == "" {
		c.user = k
		m.byUser[k] = append(m.byUser[k], c)
	}
	if k := c.pidKey(); k != "" && c.pid == "" {
		c.pid = k
		m.byPID[k] = append(m.byPID[k], c)
	}
}

// cancelWeak drops the failure that one module of PAM told of when another
// one let the user in.
func (m *merger) cancelWeak(n *note) {
	n.Action = Failed
	for _, c := range m.byPID[n.pidKey()] {
		if c.weak && !c.told && c.agrees(n) {
			c.dropped = true
		}
	}
}

// flush returns the facts that have waited long enough, in the order in which
// they were first told of, and forgets what no source will add to.
func (m *merger) flush(now time.Time, all bool) []Fact {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Fact
	kept := m.open[:0]
	for _, c := range m.open {
		if !c.told && !c.dropped && (all || !now.Before(c.due)) {
			c.told = true
			m.remember(&c.note)
			out = append(out, c.Fact)
		}
		if (c.told || c.dropped) && now.Sub(c.last) > sameLogon {
			forget(m.byUser, c.user, c)
			forget(m.byPID, c.pid, c)
			continue
		}
		kept = append(kept, c)
	}
	clear(m.open[len(kept):])
	m.open = kept
	return out
}

func forget(index map[string][]*candidate, key string, c *candidate) {
	list := slices.DeleteFunc(index[key], func(o *candidate) bool { return o == c })
	if len(list) == 0 {
		delete(index, key)
	} else {
		index[key] = list
	}
}

// remember keeps what is known of a logon, so that its end can tell it too.
func (m *merger) remember(n *note) {
	keys := n.sessionKeys()
	switch n.Action {
	case Success, Found:
		for _, k := range keys {
			if len(m.known) >= maxKnown {
				for old := range m.known { // any: those that end are told without detail
					delete(m.known, old)
					break
				}
			}
			m.known[k] = n.Fact
		}
	case Logoff:
		for _, k := range keys {
			f, ok := m.known[k]
			if !ok {
				continue
			}
			delete(m.known, k)
			begun := note{Fact: f}
			begun.Action, begun.Sources, begun.At, begun.Repeats = Logoff, nil, n.At, 0
			if begun.agrees(n) {
				n.absorb(begun)
			}
		}
		for _, k := range n.sessionKeys() {
			delete(m.known, k)
		}
	}
}

func (n *note) sessionKeys() []string {
	var out []string
	if n.PID != 0 && !n.apart {
		out = append(out, "pid "+strconv.FormatUint(uint64(n.PID), 10))
	}
	if n.Session != 0 && !takesOn(n.Program) && n.Type != "Service" {
		out = append(out, "session "+strconv.FormatUint(uint64(n.Session), 10))
	}
	if n.TTY != "" && !takesOn(n.Program) {
		out = append(out, "tty "+n.TTY)
	}
	return out
}
