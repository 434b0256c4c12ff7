// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package procfs makes records of processes out of /proc: what a sensor has
// where the kernel runs no programs for it. All of it is read after the fact,
// from a process that may have ended, or have become another: the start time
// tells them apart. Where the kernel sends messages about processes it listens
// to them, and where it does not it looks again and again. It never waits for
// another process's memory longer than the reader that it is given does.
package procfs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

// Bounds of what is read of one process.
const (
	maxArgs = 32 << 10
	maxEnv  = 256 << 10
	tickNs  = 1e9 / 100 // USER_HZ, the same everywhere since /proc promises it
)

// FS is a mounted /proc.
type FS struct {
	Root string                            // "" means /proc
	Read func(name string, n int64) []byte // for the memory of other processes; nil: ReadSome
}

// ReadSome reads at most n bytes of a file; what cannot be read is empty.
func ReadSome(name string, n int64) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, n))
	if err != nil {
		return nil
	}
	return b
}

func (p *FS) root() string {
	if p.Root == "" {
		return "/proc"
	}
	return p.Root
}

func (p *FS) name(pid uint32, file string) string {
	return filepath.Join(p.root(), strconv.FormatUint(uint64(pid), 10), file)
}

func (p *FS) memory(pid uint32, file string, n int64) []byte {
	if p.Read != nil {
		return p.Read(p.name(pid, file), n)
	}
	return ReadSome(p.name(pid, file), n)
}

// Stat is what /proc/PID/stat tells.
type Stat struct {
	Comm           string
	State          byte
	PPID, SID, TTY uint32
	UserTicks      uint64
	SystemTicks    uint64
	StartTicks     uint64 // since boot
	Flags          uint64
}

// ParseStat reads the text of /proc/PID/stat. The name in parentheses may hold
// anything, parentheses too.
func ParseStat(b []byte) (Stat, bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return Stat{}, false
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 {
		return Stat{}, false
	}
	s := Stat{Comm: record.Clean(string(b[open+1 : end])), State: f[0][0]}
	ok := true
	number := func(i, bits int) uint64 {
		n, err := strconv.ParseUint(strings.TrimPrefix(f[i], "-"), 10, bits)
		ok = ok && err == nil
		return n
	}
	s.PPID, s.SID, s.TTY = uint32(number(1, 32)), uint32(number(3, 32)), uint32(number(4, 32))
	s.Flags, s.UserTicks, s.SystemTicks, s.StartTicks = number(6, 64), number(11, 64), number(12, 64), number(19, 64)
	return s, ok
}

// StartTicks reads the start out of the text of /proc/PID/stat.
func StartTicks(stat []byte) (uint64, bool) {
	s, ok := ParseStat(stat)
	return s.StartTicks, ok
}

// SameStart compares a start in ticks with one in nanoseconds.
func SameStart(ticks, ns uint64) bool { return ns/tickNs == ticks }

// Stat reads how a process is doing.
func (p *FS) Stat(pid uint32) (Stat, bool) { return ParseStat(ReadSome(p.name(pid, "stat"), 4096)) }

// Start is when a process started, in nanoseconds of the boot clock, rounded
// down to the tick that /proc tells.
func (p *FS) Start(pid uint32) (uint64, bool) {
	s, ok := p.Stat(pid)
	return s.StartTicks * tickNs, ok
}

// Header describes a process as the kernel programs would.
func (p *FS) Header(pid uint32, at uint64) (record.Header, Stat, bool) {
	s, ok := p.Stat(pid)
	if !ok {
		return record.Header{}, s, false
	}
	h := record.Header{
		Time: at, Start: s.StartTicks * tickNs, PID: pid, TID: pid, PPID: s.PPID, SID: s.SID, Comm: s.Comm,
		LoginUID: record.Unset, Audit: record.Unset,
	}
	if s.PPID != 0 {
		h.ParentStart, _ = p.Start(s.PPID)
	}
	p.identity(pid, &h)
	h.NetNS = p.namespace(pid, "net")
	if n, err := strconv.ParseUint(strings.TrimSpace(string(ReadSome(p.name(pid, "loginuid"), 32))), 10, 32); err == nil {
		h.LoginUID = uint32(n)
	}
	if n, err := strconv.ParseUint(strings.TrimSpace(string(ReadSome(p.name(pid, "sessionid"), 32))), 10, 32); err == nil {
		h.Audit = uint32(n)
	}
	return h, s, true
}

// identity reads user and group ids.
func (p *FS) identity(pid uint32, h *record.Header) {
	for line := range strings.Lines(string(ReadSome(p.name(pid, "status"), 16<<10))) {
		name, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if len(f) < 2 {
			continue
		}
		switch name {
		case "Uid":
			h.UID, h.EUID = id(f[0]), id(f[1])
		case "Gid":
			h.GID, h.EGID = id(f[0]), id(f[1])
		}
	}
}

func id(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return record.Unset
	}
	return uint32(n)
}

// NetNS is the network namespace of a process; 0 when it cannot be told.
func (p *FS) NetNS(pid uint32) uint32 { return p.namespace(pid, "net") }

// namespace is the inode of one of the namespaces of a process.
func (p *FS) namespace(pid uint32, kind string) uint32 {
	target, err := os.Readlink(p.name(pid, "ns/"+kind))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(target, ":[")
	n, err := strconv.ParseUint(strings.TrimSuffix(rest, "]"), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func (p *FS) task(pid uint32, s Stat) record.TaskPart {
	t := record.TaskPart{
		MntNS: p.namespace(pid, "mnt"), PidNS: p.namespace(pid, "pid"), NetNS: p.namespace(pid, "net"), UsrNS: p.namespace(pid, "user"),
		TTY: terminal(s.TTY),
	}
	for line := range strings.Lines(string(ReadSome(p.name(pid, "status"), 16<<10))) {
		if rest, ok := strings.CutPrefix(line, "CapEff:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(rest), 16, 64); err == nil {
				t.Caps = n
			}
		}
	}
	return t
}

// terminal names a device number as the kernel does.
func terminal(dev uint32) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts%d", (major-136)<<8+minor)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	}
	return ""
}

func (p *FS) image(pid uint32) (record.ImagePart, string) {
	exe, err := os.Readlink(p.name(pid, "exe"))
	if err != nil {
		return record.ImagePart{}, ""
	}
	var st unix.Stat_t
	if unix.Stat(p.name(pid, "exe"), &st) != nil {
		return record.ImagePart{}, record.Clean(exe)
	}
	return ImageOf(&st), record.Clean(strings.TrimSuffix(exe, " (deleted)"))
}

// ImageOf identifies the content of a file by its status.
func ImageOf(st *unix.Stat_t) record.ImagePart {
	return record.ImagePart{
		Ino: st.Ino, Size: uint64(st.Size), CtimeSec: st.Ctim.Sec, CtimeNsec: uint32(st.Ctim.Nsec), Mode: st.Mode,
		Dev: unix.Major(st.Dev)<<20 | unix.Minor(st.Dev), Nlink: uint32(st.Nlink), UID: st.Uid,
	}
}

// Exec describes a process as the record of its start would. It reports false
// when the process has ended.
func (p *FS) Exec(pid uint32, at uint64) (*record.Exec, bool) {
	h, s, ok := p.Header(pid, at)
	if !ok || s.State == 'Z' {
		return nil, false
	}
	r := &record.Exec{Header: h, Task: p.task(pid, s)}
	r.Image, r.Exe = p.image(pid)
	r.ExeNameless = strings.HasPrefix(r.Exe, "/memfd:")
	if cwd, err := os.Readlink(p.name(pid, "cwd")); err == nil {
		r.Cwd = record.Clean(strings.TrimSuffix(cwd, " (deleted)"))
	}
	r.Args = p.memory(pid, "cmdline", maxArgs)
	r.Env = p.memory(pid, "environ", maxEnv)
	r.ArgsTotal, r.EnvTotal = uint32(len(r.Args)), uint32(len(r.Env))
	r.Cgroup = CgroupPath(ReadSome(p.name(pid, "cgroup"), 64<<10))
	if again, ok := p.Start(pid); !ok || again != h.Start {
		return nil, false // another process by now
	}
	return r, true
}

// PIDs lists the processes.
func (p *FS) PIDs() []uint32 {
	d, err := os.Open(p.root())
	if err != nil {
		return nil
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var out []uint32
	for _, name := range names {
		if n, err := strconv.ParseUint(name, 10, 32); err == nil {
			out = append(out, uint32(n))
		}
	}
	slices.Sort(out)
	return out
}

// Tasks describes every process that runs.
func (p *FS) Tasks(at uint64) []*record.Task {
	var out []*record.Task
	for _, pid := range p.PIDs() {
		h, s, ok := p.Header(pid, at)
		if !ok {
			continue
		}
		t := &record.Task{Header: h, Task: p.task(pid, s)}
		t.Image, _ = p.image(pid)
		out = append(out, t)
	}
	return out
}

// CgroupPath picks the line of /proc/PID/cgroup that tells most: version 2
// unless it is the root, then the controllers that runtimes use.
func CgroupPath(b []byte) string {
	best := ""
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
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

// Resident is the memory of a process that is in use, in bytes; of this one
// for "self".
func Resident(pid string) uint64 {
	f := strings.Fields(string(ReadSome("/proc/"+pid+"/statm", 256)))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
