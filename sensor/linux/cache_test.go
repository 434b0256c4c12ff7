// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"testing"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
	"pgregory.net/rapid"
)

func newTestCache() *cache { return newCache(testDevice, "boot", &clock{}, newTally()) }

func TestReusedIDsStayApart(t *testing.T) {
	t.Parallel()
	c := newTestCache()
	shell := c.add(10, 100, nil)
	shell.name = "sh"
	child := c.fork(shell, 20, 200)
	c.exit(shell, 300)
	// The id of the parent goes to another program while the child runs.
	other := c.add(10, 400, nil)
	other.name = "cron"
	if c.latest(10) != other || c.get(10, 100) != shell {
		t.Error("the two processes are mixed up")
	}
	if child.parent != shell || child.parentGUID != shell.guid || shell.guid == other.guid {
		t.Error("the child has another parent now")
	}
	c.expire(300 + keepExited + 1)
	if c.get(10, 100) != nil || c.latest(10) != other {
		t.Error("the wrong one was forgotten")
	}
	if child.parentName != "sh" || child.parentPID != 10 || child.parentCreated != 0 {
		t.Errorf("the child forgot its parent: %+v", child)
	}
}

func TestForkInherits(t *testing.T) {
	t.Parallel()
	c := newTestCache()
	p := c.add(1, 1, nil)
	p.name, p.path, p.cwd, p.remoteIP, p.container = "sh", "/bin/sh", "/tmp", "192.0.2.1", "abc"
	k := c.fork(p, 2, 2)
	if k.name != "sh" || k.path != "/bin/sh" || k.cwd != "/tmp" || k.remoteIP != "192.0.2.1" || k.container != "abc" || k.reported {
		t.Errorf("child %+v", k)
	}
	if c.fork(p, 2, 2) != k {
		t.Error("a second record of the fork made a second entry")
	}
}

// A record that comes after the next image began is told of the one before,
// and children keep the image that made them.
func TestImagesOfAProcess(t *testing.T) {
	t.Parallel()
	c := newTestCache()
	p := c.add(10, 100, nil)
	p.name = "sh"
	child := c.fork(p, 11, 150)
	second := c.exec(p, 200)
	second.name = "curl"
	third := c.exec(second, 300)
	third.name = "true"
	for time, want := range map[uint64]string{199: "sh", 200: "curl", 299: "curl", 300: "true", 1000: "true"} {
		if got := c.get(10, 100).at(time).name; got != want {
			t.Errorf("at %d it was %s, want %s", time, got, want)
		}
	}
	if child.parent.name != "sh" || third.guid != p.guid || c.latest(10) != third {
		t.Error("the identity of the process or the child's parent is lost")
	}
	for i := range uint64(1000) {
		c.exec(c.latest(10), 400+i)
	}
	n := 0
	for q := c.latest(10); q != nil; q = q.past {
		n++
	}
	if n > 3 {
		t.Errorf("%d images are kept", n)
	}
}

// A line of parents must not grow with the number of generations.
func TestLinesOfParentsEnd(t *testing.T) {
	t.Parallel()
	c := newTestCache()
	p := c.add(1, 1, nil)
	for i := range uint64(10_000) {
		k := c.fork(p, uint32(i+2), i*1e9+2)
		c.exit(p, i*1e9+2)
		c.expire(i * 1e9)
		p = k
	}
	n := 0
	for q := p; q != nil; q = q.parent {
		n++
	}
	if n > 200 || len(c.byKey) > 200 || len(c.byPID) > 200 {
		t.Errorf("a line of %d, %d entries", n, len(c.byKey))
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newTestCache()
	for i := range maxProcesses + 100 {
		p := c.add(uint32(i), uint64(i), nil)
		if i < 50 {
			c.exit(p, uint64(i))
		}
	}
	if len(c.byKey) > maxProcesses {
		t.Errorf("%d entries", len(c.byKey))
	}
	if n := c.lost.copy()["cache.full"]; n == 0 || n > 100 {
		t.Errorf("counted %d", n)
	}
	if c.get(0, 0) != nil {
		t.Error("ended processes were kept while running ones were turned away")
	}
}

// Whatever comes in whatever order, the two indexes agree and nothing that
// runs is forgotten.
func TestCacheIndexesAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := newTestCache()
		now := uint64(1)
		live := map[procKey]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"fork": func(t *rapid.T) {
				now += 1e9
				pid := uint32(rapid.IntRange(1, 5).Draw(t, "pid"))
				c.fork(c.latest(uint32(rapid.IntRange(1, 5).Draw(t, "parent"))), pid, now)
				live[procKey{pid, now}] = true
			},
			"exit": func(t *rapid.T) {
				now += 1e9
				if p := c.latest(uint32(rapid.IntRange(1, 5).Draw(t, "pid"))); p != nil && !p.exited {
					c.exit(p, now)
					delete(live, p.key)
				}
			},
			"expire": func(t *rapid.T) {
				now += uint64(rapid.IntRange(0, 100).Draw(t, "seconds")) * 1e9
				c.expire(now)
			},
			"": func(t *rapid.T) {
				for key := range live {
					if c.byKey[key] == nil {
						t.Fatalf("%v is forgotten", key)
					}
				}
				for pid, p := range c.byPID {
					if c.byKey[p.key] != p || p.key.pid != pid {
						t.Fatalf("%d leads to %v", pid, p.key)
					}
				}
			},
		})
	})
}

// A record about a process whose start was lost still makes a row, and says
// so by a counter.
func TestUnknownProcess(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	_, records := captured(t)
	for _, b := range records {
		if rec, err := record.Decode(b); err == nil {
			if r, ok := rec.(*record.Exit); ok && r.Code&0x7f != 0 {
				f.handle(b)
				f.handle(b) // the second last thread
			}
		}
	}
	rows := f.take()
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	r := rows[0].(*event.DeviceProcessEvents)
	if r.ActionType != "ProcessExited" || r.ProcessExitSignal != 15 || r.FileName != "sh" || r.ProcessUniqueId == "" {
		t.Errorf("row %v", columns(r))
	}
}
