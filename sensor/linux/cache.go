// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/container"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	keepExited   = 60e9 // ns that a process is remembered after its end
	maxProcesses = 65536
	tickNs       = 1e7 // of /proc
)

// procKey names a process within a boot. The id alone is reused.
type procKey struct {
	pid   uint32
	start uint64
}

// process is what is known of one process. Only the reader's goroutine
// touches it.
type process struct {
	key     procKey
	guid    string
	created event.Time

	// Parent: the pointer lasts as long as the parent is remembered, the rest
	// for ever, so that a line of parents cannot grow without bound.
	parent        *process
	parentPID     uint32
	parentName    string
	parentGUID    string
	parentCreated event.Time

	// A process that runs one image after the other keeps its identity. Each
	// image is an entry of its own: children keep the one that made them, and
	// records that come late are told of the one that acted.
	past   *process
	execAt uint64 // boot clock

	name, path, cmdline, cwd string
	img                      *image
	size                     uint64
	uid, euid, gid, egid     uint32
	caps                     uint64
	everCaps                 uint64 // all that this image had
	everRoot                 bool   // this image was root
	seenAt                   uint64 // boot clock of the last record that told its identity
	audit, sid               uint32
	tty                      string
	mntNS, pidNS             uint32
	netNS, usrNS             uint32
	cgroup                   string
	container                string
	place                    container.Place
	box                      *container.Info // nil on the host
	env                      string          // JSON
	hiddenInLine             []string        // rules of redaction that hid something
	hiddenInEnv              []string
	remoteIP                 string
	fileless                 bool

	calledBy uint32 // real user id when the image was started, for sudo and su
	called   bool   // calledBy is known
	told     bool   // a logon row was made of it
	doubted  bool   // looked up because its start may have been lost
	reported bool   // a row said that it started or was found
	found    bool   // by the snapshot
	exited   bool
	exitedAt uint64
}

// cache holds the processes that run and those that ended a moment ago.
type cache struct {
	device, boot string
	clock        *clock
	lost         *tally
	byKey        map[procKey]*process
	byPID        map[uint32]*process // the latest with that id
	ended        []*process          // in order of exitedAt
}

func newCache(device, boot string, c *clock, lost *tally) *cache {
	return &cache{device: device, boot: boot, clock: c, lost: lost,
		byKey: map[procKey]*process{}, byPID: map[uint32]*process{}}
}

// get returns a process or nil.
func (c *cache) get(pid uint32, start uint64) *process {
	if p := c.byKey[procKey{pid, start}]; p != nil {
		return p
	}
	// Sources that read /proc know the start to the tick only.
	if p := c.byPID[pid]; p != nil && start != 0 && (start%tickNs == 0 || p.key.start%tickNs == 0) && start/tickNs == p.key.start/tickNs {
		return p
	}
	return nil
}

// latest returns the youngest process with an id, or nil.
func (c *cache) latest(pid uint32) *process { return c.byPID[pid] }

// add makes an entry for a process that has none.
func (c *cache) add(pid uint32, start uint64, parent *process) *process {
	p := &process{
		key:     procKey{pid, start},
		guid:    picket.ProcessGUID(c.device, c.boot, pid, start),
		created: c.clock.time(start),
	}
	p.setParent(parent)
	if len(c.byKey) >= maxProcesses {
		c.evict()
	}
	if len(c.byKey) >= maxProcesses {
		// The row about it is still right, later ones will not know it.
		c.lost.add("cache.full", 1)
		return p
	}
	c.byKey[p.key] = p
	if old := c.byPID[pid]; old == nil || old.key.start <= start {
		c.byPID[pid] = p
	}
	return p
}

// fork makes the entry of a child, which is its parent until it runs an image.
func (c *cache) fork(parent *process, pid uint32, start uint64) *process {
	if known := c.get(pid, start); known != nil {
		return known
	}
	p := c.add(pid, start, parent)
	if parent != nil {
		p.inherit(parent)
	}
	return p
}

// exec begins the entry of another image of a process.
func (c *cache) exec(p *process, at uint64) *process {
	n := *p
	n.past, n.execAt = p, at
	if p.past != nil {
		p.past.past = nil // two are enough for what is late
	}
	if c.byKey[p.key] == p {
		c.byKey[p.key] = &n
	}
	if c.byPID[p.key.pid] == p {
		c.byPID[p.key.pid] = &n
	}
	return &n
}

// at returns the image that a process ran at a moment.
func (p *process) at(time uint64) *process {
	for p.past != nil && time < p.execAt {
		p = p.past
	}
	return p
}

// exit marks the end of a process. The entry stays for events that are still
// on their way and for the children's sake.
func (c *cache) exit(p *process, at uint64) {
	p.exited, p.exitedAt = true, at
	c.ended = append(c.ended, p)
}

// expire forgets processes that ended long ago.
func (c *cache) expire(now uint64) {
	n := 0
	for n < len(c.ended) && c.ended[n].exitedAt+keepExited < now {
		c.drop(c.ended[n])
		n++
	}
	c.ended = append(c.ended[:0], c.ended[n:]...)
}

// evict makes room by forgetting the processes that ended first.
func (c *cache) evict() {
	n := min(len(c.ended), maxProcesses/16)
	for _, p := range c.ended[:n] {
		c.drop(p)
	}
	c.ended = append(c.ended[:0], c.ended[n:]...)
}

func (c *cache) drop(p *process) {
	if c.byKey[p.key] == p {
		delete(c.byKey, p.key)
	}
	if c.byPID[p.key.pid] == p {
		delete(c.byPID, p.key.pid)
	}
	for ; p != nil; p = p.past {
		p.parent = nil // what it knows of its parent stays, the line ends here
	}
}

func (p *process) setParent(parent *process) {
	p.parent = parent
	if parent != nil {
		p.parentPID, p.parentName, p.parentGUID, p.parentCreated = parent.key.pid, parent.name, parent.guid, parent.created
	}
}

// inherit takes over what a child shares with the process that made it.
func (p *process) inherit(from *process) {
	p.name, p.path, p.cmdline, p.hiddenInLine, p.cwd = from.name, from.path, from.cmdline, from.hiddenInLine, from.cwd
	p.img, p.size, p.fileless = from.img, from.size, from.fileless
	p.uid, p.euid, p.gid, p.egid, p.caps = from.uid, from.euid, from.gid, from.egid, from.caps
	p.everCaps, p.everRoot = from.everCaps, from.everRoot
	p.audit, p.sid, p.tty = from.audit, from.sid, from.tty
	p.mntNS, p.pidNS, p.netNS, p.usrNS = from.mntNS, from.pidNS, from.netNS, from.usrNS
	p.cgroup, p.container, p.place, p.box = from.cgroup, from.container, from.place, from.box
	p.remoteIP, p.calledBy, p.called = from.remoteIP, from.calledBy, from.called
}

// refresh takes from a record what may have changed since the last one.
func (p *process) refresh(h *record.Header) {
	if h.Flags&record.FlagNoTask != 0 {
		return // it names the process and says no more of it
	}
	if h.Time != 0 && h.Time < p.seenAt {
		return // it waited while a younger one went ahead
	}
	p.seenAt = max(p.seenAt, h.Time)
	p.uid, p.euid, p.gid, p.egid = h.UID, h.EUID, h.GID, h.EGID
	p.audit, p.sid, p.netNS = h.Audit, h.SID, h.NetNS
	if p.name == "" {
		p.name = h.Comm
	}
}

func (p *process) applyTask(t *record.TaskPart) {
	p.caps = t.Caps
	p.everCaps |= t.Caps
	p.mntNS, p.pidNS, p.netNS, p.usrNS = t.MntNS, t.PidNS, t.NetNS, t.UsrNS
	p.tty = ttyName(t.TTY)
}
