// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"fmt"
	"slices"
	"time"

	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	foundWait = 10 * time.Second
)

// snapshot tells what runs already. Hooks are attached before it is taken, so
// that nothing falls between it and the live events.
func (c *Collector) snapshot() {
	c.snapshotAt = c.clock.now()
	records, err := c.kernel.Tasks()
	if err != nil {
		c.log.Info("running processes are listed from /proc", "why", err)
		records = c.proc.Tasks(c.snapshotAt)
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
		extra := map[string]any{}
		noteHidden(extra, p)
		row.AdditionalFields = toJSON(extra)
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
	c.scripts.sawShell(p, r.Image)
	return p
}
