// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"strconv"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/kernel"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// target finds the process that something was done to; nil when it is not
// known. An id that a process passed counts in its own namespace.
func (c *Collector) target(r *record.Action, t *record.Told, p *process) *process {
	if r.TargetPID != 0 && r.TargetStart != 0 {
		if known := c.cache.get(r.TargetPID, r.TargetStart); known != nil {
			return known.at(r.Time)
		}
		found := c.cache.add(r.TargetPID, r.TargetStart, nil)
		found.uid, found.euid = r.TargetUID, r.TargetUID
		c.lookUp(found)
		return found
	}
	if t.Target == 0 || !c.countsHere(p) {
		return nil
	}
	if known := c.cache.latest(t.Target); known != nil && (!known.exited || known.exitedAt > r.Time) {
		return known.at(r.Time)
	}
	return nil
}

// countsHere reports whether the ids that a process knows are those of the
// sensor.
func (c *Collector) countsHere(p *process) bool {
	return p == nil || p.pidNS == 0 || c.pidNS == 0 || p.pidNS == c.pidNS
}

// describeTarget fills the columns about the process that something was done to.
func (c *Collector) describeTarget(row *event.DeviceEvents, t *record.Told, p, target *process) {
	if target == nil {
		switch {
		case t.Target == 0:
		case c.countsHere(p):
			row.ProcessId = int64(t.Target)
		default:
			t.Extra["ProcessIdInNamespace"] = t.Target
		}
		return
	}
	row.ProcessId, row.ProcessCommandLine, row.ProcessCreationTime = int64(target.key.pid), target.cmdline, target.created
	if row.FolderPath == "" {
		row.FolderPath, row.FileName = target.path, target.name
	}
	row.AccountName, row.AccountDomain = c.account(target.uid, target)
	row.AccountSid = strconv.FormatUint(uint64(target.uid), 10)
	t.Extra["TargetProcessUniqueId"] = target.guid
	if c.excludes(target.key.pid) {
		t.Extra["TargetIsSensor"] = true
	} else if kernel.IsSecurityTool(target.name) {
		t.Extra["TargetIsSecurityTool"] = true
	}
	if p != nil && target.uid != p.uid {
		t.Extra["TargetOfOtherUser"] = true
	}
}

// guards reports whether a process is the sensor or a security tool.
func (c *Collector) guards(target *process) bool {
	return c.excludes(target.key.pid) || kernel.IsSecurityTool(target.name)
}
