// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"strings"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/kernel"
	"github.com/picket-edr/picket/sensor/linux/persist"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

// onAction tells what else a process did.
func (c *Collector) onAction(r *record.Action) {
	if r.Kind == record.Firewall {
		c.onTable(r)
		return
	}
	before := c.rightsBefore(&r.Header)
	if before.Known {
		before.Complete(r)
	}
	told, ok := record.Explain(r)
	if !ok {
		c.lost.add("decode", 1)
		return
	}
	p := c.actor(&r.Header)
	if p != nil {
		c.learnRights(r, p, before)
	}
	if told.Table == record.InFiles {
		if !c.lately.Again(r, told) {
			c.attributeRow(r, told, p)
		}
		return
	}
	if told.Table == record.InImages {
		c.imageRow(r, told, p)
		return
	}
	target := c.target(r, told, p)
	if c.harmless(r, told, p, before, target) {
		return
	}
	c.actionRow(r, told, p, target)
}

// harmless reports whether an action changes nothing that matters, which the
// kernel programs could not know.
func (c *Collector) harmless(r *record.Action, t *record.Told, p *process, before record.Rights, target *process) bool {
	switch t.Action {
	case record.UserChanged:
		return before.Known && before.UID == r.UID && before.EUID == r.EUID
	case record.GroupChanged:
		return before.Known && before.GID == r.GID && before.EGID == r.EGID
	case record.CapabilitiesGained:
		gained := r.Caps &^ before.Caps
		t.Extra["Gained"] = record.Capabilities(gained)
		return !before.Known || gained == 0
	case record.Renamed:
		return p != nil && p.name == r.Name || !kernel.Impersonates(r.Name)
	case record.PriorityChanged, record.LimitChanged:
		return target == nil || !c.guards(target)
	case "NamespaceEntered":
		if before.Known && r.Args[0] == 0 {
			t.Extra["Namespaces"] = before.Entered(r)
		}
	case "FileTimestampModificationEvent":
		return c.lately.Again(r, t)
	}
	return false
}

// attributeRow tells what was done to a file beside its content.
func (c *Collector) attributeRow(r *record.Action, t *record.Told, p *process) {
	row := &event.DeviceFileEvents{Timestamp: c.clock.time(r.Time), ActionType: t.Action}
	c.plans.fill(row, c.describe(p))
	row.FolderPath, row.FileName = t.Path, baseName(t.Path)
	row.RequestProtocol = "Local"
	if i := r.Image; i.Ino != 0 {
		row.FileSize, row.FileMode, row.FileInode, row.FileDevice = int64(i.Size), int64(i.Mode), int64(i.Ino), int64(i.Dev)
		row.FileOwnerUserId = event.LongOf(int64(i.UID))
	}
	row.AdditionalFields = toJSON(t.Extra)
	var own *image
	if r.Kind == record.Chmod && r.Image.Mode&0o111 != 0 && r.Image.Mode&unix.S_IFMT == unix.S_IFREG && r.Image.Nlink > 0 {
		own = c.hash.get(r.Image, c.reach(p, t.Path), 0, runnable) // it can be run from now on
	}
	c.out.push(row, own, actorImage(p), own != nil && c.hash.backlog() <= hashBacklog)
	if r.Kind == record.Chmod || r.Kind == record.Chown {
		c.watch(persist.Change{Op: persist.Attributes, Path: t.Path}, row.Timestamp, p)
	}
}

// imageRow tells that a process mapped a file as code.
func (c *Collector) imageRow(r *record.Action, t *record.Told, p *process) {
	row := &event.DeviceImageLoadEvents{Timestamp: c.clock.time(r.Time), ActionType: t.Action}
	c.plans.fill(row, c.describe(p))
	row.FolderPath, row.FileName, row.FileSize = t.Path, baseName(t.Path), int64(r.Image.Size)
	var own *image
	if r.Image.Nlink > 0 {
		own = c.hash.get(r.Image, c.reach(p, t.Path), 0, runnable)
	}
	c.out.push(row, own, actorImage(p), c.hash.backlog() <= hashBacklog)
}

// actionRow tells all the rest.
func (c *Collector) actionRow(r *record.Action, t *record.Told, p, target *process) {
	row := &event.DeviceEvents{Timestamp: c.clock.time(r.Time), ActionType: t.Action}
	c.plans.fill(row, c.describe(p))
	row.FolderPath, row.FileName = t.Path, baseName(t.Path)
	if t.Previous != "" {
		t.Extra["PreviousPath"] = t.Previous
	}
	if t.Action == record.SignalSent && target != nil && c.excludes(target.key.pid) {
		row.ActionType = "TamperingAttempt"
	}
	c.describeTarget(row, t, p, target)
	var own *image
	if r.Kind == record.ModuleLoad && r.Result >= 0 && r.Image.Nlink > 0 {
		own = c.hash.get(r.Image, c.reach(p, t.Path), 0, runnable)
		row.FileSize = int64(r.Image.Size)
	}
	row.AdditionalFields = toJSON(t.Extra)
	c.out.push(row, own, actorImage(p), own != nil)
}

// valueOf reads a setting after it was written; it may have changed again.
func (c *Collector) valueOf(path string) string {
	b := c.careful.read(path, 256)
	return strings.TrimSpace(record.Clean(record.CString(b)))
}
