// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"strings"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/persist"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	procMagic   = 0x9fa0
	heldFor     = 2e9  // ns that a record waits for the last close of its file
	overdue     = 5e9  // ns after which a file that is still open is told of
	lookAfter   = 60e9 // ns after which an open file that was told of is looked at again
	hashBacklog = 8    // rows of files wait for their hash only while the queue is this short
	maxSweep    = 32768
	maxHeld     = 8192
	renameSwap  = 2 // RENAME_EXCHANGE
)

// onFile tells of a file that was written and closed.
func (c *Collector) onFile(r *record.File) {
	if r.Image.Sup == procMagic && !tellingProcFile(r.Path) {
		return
	}
	id := heldKey{r.Key, r.OpenedAt}
	if r.Held {
		if len(c.held) < maxHeld {
			c.held[id] = r
			return
		}
	} else {
		delete(c.held, id)
	}
	c.fileRow(r, c.opener(r))
}

// opener is the process that opened a file; the one that closed it may be a
// child that inherited it.
func (c *Collector) opener(r *record.File) *process {
	closer := c.actor(&r.Header)
	if p := c.cache.get(r.OpenerPID, r.OpenerStart); p != nil {
		return p.at(r.Time)
	}
	return closer
}

func (c *Collector) fileRow(r *record.File, p *process) {
	c.onKernelFile(r, p)
	action := "FileModified"
	if r.FileFlags&record.FileCreated != 0 && r.FileFlags&record.FileReported == 0 {
		action = "FileCreated"
	}
	row := &event.DeviceFileEvents{Timestamp: c.clock.time(r.Time), ActionType: action}
	c.plans.fill(row, c.describe(p))
	row.FolderPath, row.FileName = r.Path, baseName(r.Path)
	row.FileSize, row.FileMode, row.FileInode, row.FileDevice = int64(r.Image.Size), int64(r.Image.Mode), int64(r.Image.Ino), int64(r.Image.Dev)
	row.FileOwnerUserId = event.LongOf(int64(r.Image.UID))
	row.BytesWritten = bytesWritten(r)
	row.RequestProtocol = "Local"
	extra := map[string]any{}
	if r.Flags&record.FlagPathCut != 0 {
		extra["PathCut"] = true
	}
	if r.FileFlags&record.FileStillOpen != 0 {
		extra["StillOpen"] = true
	}
	if r.Image.Nlink == 0 {
		extra["Deleted"] = true
	}
	if m := packageManager(p); m != "" {
		extra["PackageManager"] = m
	}
	row.AdditionalFields = toJSON(extra)
	var own *image
	wait := false
	if r.Image.Size > 0 && r.Image.Nlink > 0 && r.Image.Sup != procMagic && r.Image.Ino != 0 {
		why := written
		if r.Image.Mode&0o111 != 0 {
			why = runnable
		}
		own = c.hash.get(r.Image, c.reach(p, r.Path), 0, why)
		wait = c.hash.backlog() <= hashBacklog
	}
	c.out.push(row, own, actorImage(p), wait)
	if r.Image.Nlink > 0 {
		change := persist.Change{Op: persist.Modified, Path: r.Path, Size: row.FileSize,
			Truncated: r.FileFlags&record.FileTruncated != 0 || row.FileSize < r.SizeAtOpen}
		if action == "FileCreated" {
			change.Op = persist.Created
		}
		c.watch(change, row.Timestamp, p)
	}
}

func actorImage(p *process) *image {
	if p == nil {
		return nil
	}
	return p.img
}

// bytesWritten tells how much was written where that can be said for certain:
// a file written from its start to its end, or only appended to.
func bytesWritten(r *record.File) int64 {
	size := int64(r.Image.Size)
	switch {
	case r.FileFlags&record.FileReported != 0 || int64(r.Pos) != size:
		return 0
	case r.FileFlags&record.FileAppend != 0 && r.FileFlags&record.FileTruncated == 0:
		return max(size-r.SizeAtOpen, 0)
	case r.FileFlags&record.FileWriteOnly != 0 && r.FileFlags&(record.FileCreated|record.FileTruncated) != 0:
		return size
	}
	return 0
}

// tellingProcFile picks out of /proc what changes the kernel or another
// process; the rest are a program's settings of itself.
func tellingProcFile(path string) bool {
	return strings.Contains(path, "/sys/") || strings.HasSuffix(path, "/mem") || strings.HasSuffix(path, "/sysrq-trigger")
}

// onPathOp tells of a name that was removed, changed or added.
func (c *Collector) onPathOp(r *record.PathOp) {
	p := c.actor(&r.Header)
	from, to := passed(r.Base, r.Name), passed(r.BaseNew, r.NameNew)
	row := &event.DeviceFileEvents{Timestamp: c.clock.time(r.Time)}
	c.plans.fill(row, c.describe(p))
	row.RequestProtocol = "Local"
	extra := map[string]any{}
	if r.IncompleteBaseName {
		extra["PathCut"] = true
	}
	switch r.Op {
	case record.OpUnlink:
		row.ActionType, row.FolderPath = "FileDeleted", from
	case record.OpRename:
		row.ActionType, row.FolderPath, row.PreviousFolderPath = "FileRenamed", to, from
		row.PreviousFileName = baseName(from)
		if r.Arg&renameSwap != 0 {
			extra["Exchanged"] = true
		}
	case record.OpLink:
		row.ActionType, row.FolderPath = "FileCreated", to
		extra["FileType"], extra["Target"] = "HardLink", from
	case record.OpSymlink:
		row.ActionType, row.FolderPath = "FileCreated", to
		extra["FileType"], extra["Target"] = "SymbolicLink", r.Name
	case record.OpTruncate:
		row.ActionType, row.FolderPath = "FileModified", from
		extra["Truncated"] = true
	default:
		c.lost.add("decode", 1)
		return
	}
	row.FileName = baseName(row.FolderPath)
	if m := packageManager(p); m != "" {
		extra["PackageManager"] = m
	}
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, nil, actorImage(p), false)
	c.watchName(r, row, p)
}

// watchName hands over what was done to a name.
func (c *Collector) watchName(r *record.PathOp, row *event.DeviceFileEvents, p *process) {
	change := persist.Change{Op: persist.Created, Path: row.FolderPath}
	switch r.Op {
	case record.OpUnlink:
		change.Op = persist.Deleted
	case record.OpTruncate:
		change.Op, change.Truncated = persist.Modified, true
	case record.OpRename:
		change.Op, change.OldPath = persist.Renamed, row.PreviousFolderPath
		if r.Arg&renameSwap != 0 {
			change.Op, change.OldPath = persist.Modified, ""
			c.watch(persist.Change{Op: persist.Modified, Path: row.PreviousFolderPath}, row.Timestamp, p)
		}
	}
	c.watch(change, row.Timestamp, p)
}
