// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// rightsBefore is what was known of a process before a record of it.
func (c *Collector) rightsBefore(h *record.Header) record.Rights {
	p := c.cache.get(h.PID, h.Start)
	if p == nil {
		return record.Rights{}
	}
	p = p.at(h.Time)
	return record.Rights{Known: true, UID: p.uid, EUID: p.euid, GID: p.gid, EGID: p.egid, Caps: p.everCaps, Root: p.everRoot,
		MntNS: p.mntNS, PidNS: p.pidNS, NetNS: p.netNS, UsrNS: p.usrNS}
}

// learnRights remembers what a process may do now, and tells of rights that no
// call and no image explains: that is how a hole in the kernel looks.
func (c *Collector) learnRights(r *record.Action, p *process, before record.Rights) {
	if r.Len == 0 {
		return // not from the kernel programs: capabilities are not told
	}
	moved := r.UsrNS != 0 && p.usrNS != 0 && r.UsrNS != p.usrNS
	gained := r.Caps &^ p.everCaps
	p.caps, p.everCaps = r.Caps, p.everCaps|r.Caps
	p.everRoot = p.everRoot || r.EUID == 0 || before.Known && before.EUID == 0 // threads may differ
	if r.MntNS != 0 {
		p.mntNS, p.usrNS = r.MntNS, r.UsrNS
	}
	if moved {
		p.everCaps = r.Caps // those of another namespace do not compare
	}
	if !before.Known || !p.reported || moved || record.Explains(r.Kind) || !c.collects("privilege") {
		return
	}
	if became := r.EUID == 0 && before.EUID != 0 && !before.Root; became || gained != 0 {
		row := &event.DeviceEvents{Timestamp: c.clock.time(r.Time), ActionType: "UnexplainedPrivilegeGain"}
		c.plans.fill(row, c.describe(p))
		row.AdditionalFields = toJSON(map[string]any{"Gained": record.Capabilities(gained), "PreviousUserId": before.UID,
			"PreviousEffectiveUserId": before.EUID, "EffectiveUserId": r.EUID})
		c.out.push(row, nil, actorImage(p), false)
	}
}

// collects reports whether a kind of event is collected.
func (c *Collector) collects(kind string) bool {
	for _, h := range c.Hooks() {
		if h.Kind == kind {
			return h.Attached
		}
	}
	return false
}

// execRights says by what right an image runs as another than who started it.
func (c *Collector) execRights(p *process, r *record.Exec, before record.Rights, extra map[string]any) {
	mode := r.Image.Mode
	setUID := record.IsSetUID(mode) && r.EUID == r.Image.UID
	if setUID {
		extra["SetUid"] = true
	}
	if record.IsSetGID(mode) {
		extra["SetGid"] = true
	}
	if r.Len == 0 { // not from the kernel programs, whose records come in order and are whole
		p.everCaps, p.everRoot = ^uint64(0), true
		return
	}
	p.everCaps, p.everRoot = r.Task.Caps, r.EUID == 0
	if r.EUID != 0 && r.Task.Caps != 0 && !isRemote(r.Image.Sup) && r.Image.Nlink > 0 {
		if caps := procfs.FileCapabilities(p.path, r.Image); caps != nil {
			extra["FileCapabilities"] = caps
		}
	}
	if before.Known && !before.Root && before.EUID != 0 && r.EUID == 0 && !setUID && c.collects("privilege") {
		extra["UnexplainedRoot"] = true
	}
}
