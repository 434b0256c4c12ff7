// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"fmt"
	"os"
	"strings"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/container"
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const maxEnvironment = 256 << 10

// onFork remembers a new process. It becomes a row when it runs an image.
func (c *Collector) onFork(r *record.Fork) {
	parent := c.actor(&r.Header)
	if parent != nil {
		parent.refresh(&r.Header)
	}
	c.cache.fork(parent, r.ChildPID, r.ChildStart)
}

// actor finds the process that a record names. One that is not known, because
// the record of its start was lost, is looked up while it runs.
func (c *Collector) actor(h *record.Header) *process {
	if h.PID == 0 {
		return nil
	}
	if p := c.cache.get(h.PID, h.Start); p != nil {
		p = p.at(h.Time)
		if h.Flags&record.FlagNoTask == 0 {
			p.refresh(h)
			c.doubt(p, h)
		}
		return p
	}
	if h.Start == 0 {
		return c.cache.latest(h.PID) // told of by a source that learned only the id
	}
	p := c.cache.add(h.PID, h.Start, c.cache.get(h.PPID, h.ParentStart))
	if h.Flags&record.FlagNoTask == 0 {
		if p.parent == nil {
			p.parentPID = h.PPID
		}
		p.refresh(h)
	}
	if h.Time > c.snapshotAt {
		c.lost.add("cache.unknown", 1)
	}
	c.lookUp(p)
	return p
}

// doubt looks at a process that goes by another name than the image that it
// has from its parent: the record of its own start may have been lost.
func (c *Collector) doubt(p *process, h *record.Header) {
	if p.reported || p.doubted || h.Comm == "" || strings.HasPrefix(p.name, h.Comm) {
		return
	}
	p.doubted = true
	c.lookUp(p)
}

// lookUp completes a process from /proc, if it still is the same one.
func (c *Collector) lookUp(p *process) {
	if runs(p.key) {
		c.readProc(p, fmt.Sprintf("/proc/%d", p.key.pid))
	}
}

// runs reports whether a process still runs under its id. The id may have
// gone to another since.
func runs(key procKey) bool {
	start, ok := procfs.StartTicks(readSome(fmt.Sprintf("/proc/%d/stat", key.pid), 4096))
	return ok && procfs.SameStart(start, key.start)
}

// ask reads a file of a running process; empty when it ended meanwhile.
func (c *Collector) ask(key procKey, file string, limit int64) []byte {
	b := c.careful.read(fmt.Sprintf("/proc/%d/%s", key.pid, file), limit)
	if len(b) == 0 || !runs(key) {
		return nil
	}
	return b
}

// readProc takes from /proc what a start record would have told.
func (c *Collector) readProc(p *process, dir string) {
	if exe, err := os.Readlink(dir + "/exe"); err == nil {
		p.path, p.fileless = strings.CutSuffix(record.Clean(exe), " (deleted)")
		p.name = baseName(p.path)
	}
	if cwd, err := os.Readlink(dir + "/cwd"); err == nil {
		p.cwd = strings.TrimSuffix(record.Clean(cwd), " (deleted)")
	}
	c.setArguments(p, c.careful.read(dir+"/cmdline", 32<<10))
	p.remoteIP = c.setEnvironment(p, c.careful.read(dir+"/environ", maxEnvironment))
	p.cgroup = procfs.CgroupPath(readSome(dir+"/cgroup", 64<<10))
	c.home(p)
	if p.name == "" {
		p.name = record.Clean(strings.TrimSpace(string(readSome(dir+"/comm", 64))))
	}
}

// home works out the container from the control group.
func (c *Collector) home(p *process) {
	p.place = container.FromCgroup(p.cgroup)
	p.container, p.box = p.place.ID, c.containers.Get(p.place)
}

// onExec tells that a process started to run an image.
func (c *Collector) onExec(r *record.Exec) {
	p := c.cache.get(r.PID, r.Start)
	if p == nil {
		parent := c.cache.get(r.PPID, r.ParentStart)
		if parent == nil && r.PPID != 0 {
			// Its own record was lost or is older than the snapshot.
			parent = c.cache.add(r.PPID, r.ParentStart, nil)
			c.lookUp(parent)
		}
		p = c.cache.add(r.PID, r.Start, parent)
		if parent != nil {
			p.remoteIP = parent.remoteIP
		}
	}
	if p.found && r.Time <= c.snapshotAt {
		return // the snapshot has told of this image
	}
	extra := map[string]any{}
	if p.reported && p.path != "" {
		extra["PreviousImage"] = p.path
	}
	before := c.rightsBefore(&r.Header)
	p = c.cache.exec(p, r.Time)
	c.applyExec(p, r, extra)
	c.execRights(p, r, before, extra)
	c.scripts.sawShell(p, r.Image)
	script := c.runsScript(p, r, extra)
	row := c.processRow("ProcessCreated", c.clock.time(r.Time), p)
	noteHidden(extra, p)
	row.AdditionalFields = toJSON(extra)
	p.reported = true
	var parentImage *image
	if p.parent != nil {
		parentImage = p.parent.img
	}
	c.out.put(queued{row: row, own: p.img, actor: parentImage, script: script.image()}, true)
	c.becameUser(p)
	c.tellScript(p, script, c.clock.time(r.Time))
}

// applyExec moves what a start record tells into the process.
func (c *Collector) applyExec(p *process, r *record.Exec, extra map[string]any) {
	if r.Flags&record.FlagVanished != 0 {
		extra["Vanished"] = true // only that it started is known
	} else {
		p.refresh(&r.Header)
		p.applyTask(&r.Task)
	}
	p.path, p.name = r.Exe, baseName(r.Exe)
	if p.name == "" {
		p.name = r.Comm
	}
	p.fileless = r.ExeNameless || r.Image.Nlink == 0 && r.Image.Ino != 0
	p.size = r.Image.Size
	p.cwd = r.Cwd
	c.setArguments(p, r.Args)
	if r.Flags&record.FlagArgsCut != 0 {
		extra["CommandLineBytes"] = r.ArgsTotal
	}
	if r.Flags&record.FlagPathCut != 0 {
		extra["PathCut"] = true
	}
	env := r.Env
	if r.Flags&record.FlagEnvCut != 0 {
		// What lies behind may matter: ask the process while it runs.
		extra["EnvironmentBytes"] = r.EnvTotal
		if all := c.ask(p.key, "environ", maxEnvironment); len(all) > len(env) {
			env = all
		}
	}
	if r.Flags&record.FlagUnreadable != 0 && len(r.Args) == 0 {
		c.setArguments(p, c.ask(p.key, "cmdline", 32<<10))
	}
	if remote := c.setEnvironment(p, env); remote != "" {
		p.remoteIP = remote
	}
	if r.LoginUID != record.Unset && r.LoginUID != r.UID {
		if name := c.users.name(r.LoginUID); name != "" {
			extra["LoginAccountName"] = name
		}
	}
	p.calledBy, p.called, p.told = r.UID, true, false
	p.cgroup = r.Cgroup
	c.home(p)
	p.img = c.hash.get(r.Image, c.reach(p, p.path), r.PID, started)
}

// onExit tells that a process ended, if one had been told to have started.
func (c *Collector) onExit(r *record.Exit) {
	p := c.cache.get(r.PID, r.Start)
	if p == nil {
		p = c.cache.add(r.PID, r.Start, c.cache.get(r.PPID, r.ParentStart))
		if p.parent == nil {
			p.parentPID = r.PPID
		}
	}
	p.refresh(&r.Header)
	if p.exited {
		return // two threads of it were the last
	}
	c.cache.exit(p, r.Time)
	if r.NeverExec && !p.reported {
		return
	}
	extra := map[string]any{}
	if !p.reported {
		// Its start was lost: what it has from its parent is not its own.
		p.name, p.path, p.cmdline, p.env, p.img, p.size, p.fileless = r.Comm, "", "", "", nil, 0, false
		p.hiddenInLine, p.hiddenInEnv = nil, nil
		extra["StartLost"] = true
	}
	noteHidden(extra, p)
	row := c.processRow("ProcessExited", c.clock.time(r.Time), p)
	if !r.CodeUnknown {
		row.ProcessExitCode = event.LongOf(int64(r.Code >> 8 & 0xff))
		row.ProcessExitSignal = int64(r.Code & 0x7f)
	}
	row.ProcessLifetimeMs.Value, row.ProcessLifetimeMs.Valid = int64(since(r.Time, r.Start)/1e6), true
	if r.Flags&record.FlagNoTask == 0 {
		row.ProcessCpuTimeMs = event.LongOf(int64(r.RunNs / 1e6))
	}
	if r.UserNs+r.SystemNs > 0 {
		extra["UserTimeMs"], extra["SystemTimeMs"] = r.UserNs/1e6, r.SystemNs/1e6
	}
	if r.Code&0x80 != 0 {
		extra["CoreDumped"] = true
	}
	row.AdditionalFields = toJSON(extra)
	var parentImage *image
	if p.parent != nil {
		parentImage = p.parent.img
	}
	c.out.push(row, p.img, parentImage, false)
}
