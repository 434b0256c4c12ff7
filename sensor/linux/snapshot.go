// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	foundWait  = 10 * time.Second
	clockTicks = 100 // USER_HZ, the same everywhere since /proc promises it
)

// snapshot tells what runs already. Hooks are attached before it is taken, so
// that nothing falls between it and the live events.
func (c *Collector) snapshot() {
	c.snapshotAt = c.clock.now()
	records, err := c.kernel.Tasks()
	if err != nil {
		c.log.Warn("running processes cannot be listed", "error", err)
		return
	}
	// Parents are older than their children.
	slices.SortFunc(records, func(a, b *record.Task) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return int(a.PID) - int(b.PID)
	})
	found := make([]*process, 0, len(records))
	for _, r := range records {
		found = append(found, c.find(r))
	}
	now := c.clock.time(c.snapshotAt)
	for _, p := range found {
		row := c.processRow("ProcessFound", now, p)
		row.IsSnapshot = true
		p.reported, p.found = true, true
		var parentImage *image
		if p.parent != nil {
			parentImage = p.parent.img
		}
		c.patient = append(c.patient, queued{row: row, own: p.img, actor: parentImage, deadline: time.Now().Add(foundWait)})
	}
	c.releasePatient(false)
	c.snapshotSockets(found)
}

// releasePatient passes on rows of the snapshot whose image is hashed. There
// are many at once and nothing follows from them: what happens now goes first.
func (c *Collector) releasePatient(all bool) {
	now, left := time.Now(), c.patient[:0]
	for _, q := range c.patient {
		late := !q.own.settled()
		if late && !all && now.Before(q.deadline) {
			left = append(left, q)
			continue
		}
		if late {
			c.lost.add("hash.late", 1)
		}
		c.out.push(q.row, q.own, q.actor, false)
	}
	clear(c.patient[len(left):])
	c.patient = left
}

// find enters one running process.
func (c *Collector) find(r *record.Task) *process {
	var parent *process
	if r.PPID != 0 && r.PPID != r.PID {
		parent = c.cache.get(r.PPID, r.ParentStart)
	}
	p := c.cache.add(r.PID, r.Start, parent)
	if parent == nil {
		p.parentPID = r.PPID
	}
	p.refresh(&r.Header)
	p.applyTask(&r.Task)
	p.name = ""
	c.readProc(p, fmt.Sprintf("/proc/%d", r.PID))
	if p.name == "" {
		p.name = r.Comm
	}
	if p.remoteIP == "" && parent != nil {
		p.remoteIP = parent.remoteIP
	}
	p.size = r.Image.Size
	if r.Image.Ino != 0 {
		p.fileless = r.Image.Nlink == 0
	}
	p.img = c.hash.get(r.Image, p.path, r.PID, running)
	return p
}

// startTicks reads field 22 of /proc/PID/stat. The name in parentheses may
// hold anything, parentheses too.
func startTicks(stat []byte) (uint64, bool) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, false
	}
	f := strings.Fields(string(stat[i+1:]))
	if len(f) < 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(f[19], 10, 64)
	return n, err == nil
}

// sameStart compares a start in ticks with the exact one.
func sameStart(ticks, ns uint64) bool { return ns/(1e9/clockTicks) == ticks }

// cgroupPath picks the line of /proc/PID/cgroup that tells most: version 2
// unless it is the root, then the controllers that runtimes use.
func cgroupPath(b []byte) string {
	best := ""
	for line := range lines(b) {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 || !strings.HasPrefix(f[2], "/") {
			continue
		}
		if f[2] == "/" {
			continue
		}
		if f[0] == "0" {
			return record.Clean(f[2])
		}
		names := strings.Split(f[1], ",")
		if slices.Contains(names, "pids") || best == "" && slices.Contains(names, "memory") {
			best = record.Clean(f[2])
		}
	}
	if best == "" {
		return "/"
	}
	return best
}
