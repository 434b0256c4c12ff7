// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

// openFile is one entry of the kernel's map of files open for writing.
type openFile struct {
	Opened, Start uint64
	PID, FD       uint32
	Size          int64
	MtimeSec      int64
	MtimeNsec     uint32
	Flags         uint32
	Ino           uint64
}

// unknownFD stands where the kernel told of an open before it gave a number.
const unknownFD = ^uint32(0)

// findFD looks for the descriptor by which a process holds a file.
func findFD(pid uint32, ino uint64) uint32 {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	d, err := os.Open(dir)
	if err != nil {
		return unknownFD
	}
	defer d.Close()
	names, err := d.Readdirnames(maxDescriptors)
	if err != nil {
		return unknownFD
	}
	for _, name := range names {
		var st unix.Statx_t
		if unix.Statx(unix.AT_FDCWD, dir+"/"+name, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st) == nil && st.Ino == ino {
			if n, err := strconv.ParseUint(name, 10, 32); err == nil {
				return uint32(n)
			}
		}
	}
	return unknownFD
}

const maxDescriptors = 4096 // of one process that are looked at

// heldKey names one opening of a file.
type heldKey struct{ key, opened uint64 }

// releaseHeld tells of files whose last close did not come: it went unseen,
// or another process keeps the file open.
func (c *Collector) releaseHeld(now uint64, all bool) {
	for id, r := range c.held {
		if !all && since(now, r.Time) < heldFor {
			continue
		}
		delete(c.held, id)
		entry, watched := c.take(id)
		if watched {
			r.FileFlags |= record.FileStillOpen
		}
		var st unix.Stat_t
		if !isRemote(r.Image.Sup) && unix.Lstat(r.Path, &st) == nil && st.Ino == r.Image.Ino && deviceOf(st.Dev) == r.Image.Dev {
			r.Image.Size, r.Image.CtimeSec, r.Image.CtimeNsec = uint64(st.Size), st.Ctim.Sec, uint32(st.Ctim.Nsec)
			entry.Size, entry.MtimeSec, entry.MtimeNsec = st.Size, st.Mtim.Sec, uint32(st.Mtim.Nsec)
		}
		c.fileRow(r, c.opener(r))
		if watched && !all {
			c.putBack(id.key, entry, now)
		}
	}
}

// take removes the entry of one opening from the kernel's map. Removal is
// atomic: either this or the kernel tells of a file.
func (c *Collector) take(id heldKey) (openFile, bool) {
	var entry, taken openFile
	m := c.kernel.OpenFiles()
	if m == nil || m.Lookup(id.key, &entry) != nil || entry.Opened != id.opened {
		return openFile{}, false
	}
	if m.LookupAndDelete(id.key, &taken) != nil || taken.Opened != id.opened {
		return openFile{}, false
	}
	return taken, true
}

// putBack goes on watching a file that was told of, for what is written from
// now on. An entry that is there already belongs to a newer file.
func (c *Collector) putBack(key uint64, o openFile, now uint64) {
	o.Opened = now
	o.Flags = o.Flags&^(record.FileCreated|record.FileTruncated|record.FileHeld) | record.FileReported
	_ = c.kernel.OpenFiles().Update(key, &o, ebpf.UpdateNoExist)
}

// sweepOpenFiles tells of files that were written and are still open after a
// while, as logs are, and forgets those whose close went unseen.
func (c *Collector) sweepOpenFiles(all bool) {
	m, now := c.kernel.OpenFiles(), c.clock.now()
	if m == nil {
		return
	}
	var key uint64
	var entry openFile
	due := map[uint64]openFile{}
	for it := m.Iterate(); len(due) < maxSweep && it.Next(&key, &entry); {
		age := since(now, entry.Opened)
		reported := entry.Flags&record.FileReported != 0
		if entry.Flags&record.FileHeld == 0 && (all || age > lookAfter || age > overdue && !reported) {
			due[key] = entry
		}
	}
	for key, entry := range due {
		if entry.FD == unknownFD {
			if entry.FD = findFD(entry.PID, entry.Ino); entry.FD == unknownFD {
				continue // its end will be seen
			}
		}
		if taken, ok := c.take(heldKey{key, entry.Opened}); ok {
			taken.FD = entry.FD
			c.sweepOne(key, taken, now, all)
		}
	}
}

func (c *Collector) sweepOne(key uint64, o openFile, now uint64, all bool) {
	reported := o.Flags&record.FileReported != 0
	touched := o.Flags&(record.FileCreated|record.FileTruncated) != 0 && !reported
	name := fmt.Sprintf("/proc/%d/fd/%d", o.PID, o.FD)
	var st unix.Statx_t
	path, err := os.Readlink(name)
	if err == nil {
		// What the kernel knows by itself: a remote server is not asked.
		err = unix.Statx(unix.AT_FDCWD, name, unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &st)
	}
	if err != nil || st.Ino != o.Ino {
		if touched {
			c.lost.add("file.orphan", 1) // closed where nobody saw it
		}
		return
	}
	size := int64(st.Size)
	changed := size != o.Size || st.Mtime.Sec != o.MtimeSec || st.Mtime.Nsec != o.MtimeNsec&0x7fffffff
	if !changed && !touched {
		if !all {
			o.Opened = now
			_ = c.kernel.OpenFiles().Update(key, &o, ebpf.UpdateNoExist) // still nothing to tell
		}
		return
	}
	path, deleted := strings.CutSuffix(record.Clean(path), " (deleted)")
	r := &record.File{Path: path, OpenedAt: o.Opened, SizeAtOpen: o.Size, FileFlags: o.Flags | record.FileStillOpen}
	r.Time = now
	r.Image = record.ImagePart{Ino: o.Ino, Size: st.Size, Mode: uint32(st.Mode), UID: st.Uid, Dev: st.Dev_major<<20 | st.Dev_minor, Nlink: st.Nlink,
		CtimeSec: st.Ctime.Sec, CtimeNsec: st.Ctime.Nsec}
	if deleted {
		r.Image.Nlink = 0
	}
	c.fileRow(r, c.cache.get(o.PID, o.Start))
	if !all {
		o.Size, o.MtimeSec, o.MtimeNsec = size, st.Mtime.Sec, st.Mtime.Nsec
		c.putBack(key, o, now)
	}
}
