// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package fanotify collects files where no programs may be loaded into the
// kernel: by notification marks on whole file systems. It never answers
// permission events, so it cannot hold up any process. It needs Linux 5.9.
package fanotify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

const (
	initFlags = unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_UNLIMITED_QUEUE |
		unix.FAN_REPORT_DIR_FID | unix.FAN_REPORT_NAME
	wanted    = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_CLOSE_WRITE
	halves    = unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO // before 5.17
	lookEvery = 5 * time.Second                         // at the mounts
	unwritten = 2 * time.Second                         // after which a new file that nobody wrote is told of
	maxNew    = 8192
)

// Watch is a group of marks.
type Watch struct {
	Proc    *procfs.FS
	Now     func() uint64         // boot clock, ns
	Exclude func(pid uint32) bool // processes whose doings are left out; nil: none
	Lost    func(class string, n uint64)

	group   int
	file    *os.File
	renames bool
	mounts  map[fsid]*os.File // one open folder for each file system
	refused map[string]bool   // mounts that cannot be marked, told once
	fresh   map[string]*record.File
	half    *record.PathOp // the first half of a rename
}

type fsid [8]byte

// Open makes the group and marks what is mounted now. It fails when not even
// the root file system can be marked.
func (w *Watch) Open() error {
	fd, err := unix.FanotifyInit(initFlags, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_LARGEFILE)
	if err != nil {
		return fmt.Errorf("open fanotify: %w", err)
	}
	w.group, w.file = fd, os.NewFile(uintptr(fd), "fanotify")
	w.mounts, w.refused, w.fresh, w.renames = map[fsid]*os.File{}, map[string]bool{}, map[string]*record.File{}, true
	if err := w.mark("/"); err != nil {
		return errors.Join(fmt.Errorf("mark the root file system: %w", err), w.Close())
	}
	w.markAll()
	return nil
}

// mark watches the file system that is mounted at a path.
func (w *Watch) mark(at string) error {
	dir, err := os.OpenFile(at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	id, err := idOf(dir)
	if err != nil || w.mounts[id] != nil {
		return errors.Join(err, dir.Close())
	}
	err = unix.FanotifyMark(w.group, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, wanted|unix.FAN_RENAME, unix.AT_FDCWD, at)
	if errors.Is(err, unix.EINVAL) {
		w.renames = false
		err = unix.FanotifyMark(w.group, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, wanted|halves, unix.AT_FDCWD, at)
	}
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	w.mounts[id] = dir
	return nil
}

func idOf(f *os.File) (fsid, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return fsid{}, err
	}
	var id fsid
	binary.NativeEndian.PutUint32(id[:], uint32(st.Fsid.Val[0]))
	binary.NativeEndian.PutUint32(id[4:], uint32(st.Fsid.Val[1]))
	return id, nil
}

// markAll watches file systems that were mounted since.
func (w *Watch) markAll() {
	for _, m := range Mounts(procfs.ReadSome("/proc/self/mountinfo", 4<<20)) {
		if w.refused[m.Path] {
			continue
		}
		if err := w.mark(m.Path); err != nil {
			w.refused[m.Path] = true
			w.Lost("fanotify.unmarked", 1)
		}
	}
}

// MountPoint is a line of /proc/self/mountinfo about a file system with files.
type MountPoint struct{ Path, Kind string }

// unwatched are file systems that hold settings of the kernel, or nothing
// that lasts, or that would ask a server for every look at them.
var unwatched = map[string]bool{
	"proc": true, "sysfs": true, "cgroup": true, "cgroup2": true, "devpts": true, "bpf": true, "tracefs": true, "debugfs": true,
	"securityfs": true, "mqueue": true, "hugetlbfs": true, "pstore": true, "configfs": true, "fusectl": true, "binfmt_misc": true,
	"efivarfs": true, "autofs": true, "rpc_pipefs": true, "nsfs": true, "selinuxfs": true, "nfsd": true, "nfs": true, "nfs4": true,
	"cifs": true, "smb3": true, "9p": true, "ceph": true, "fuse.sshfs": true, "devtmpfs": true, "squashfs": true, "iso9660": true,
}

// Mounts reads /proc/self/mountinfo and leaves out what is not watched.
func Mounts(b []byte) []MountPoint {
	var out []MountPoint
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		sep := -1
		for i, s := range f {
			if s == "-" {
				sep = i
				break
			}
		}
		if len(f) < 6 || sep < 6 || sep+1 >= len(f) || unwatched[f[sep+1]] {
			continue
		}
		out = append(out, MountPoint{unescape(f[4]), f[sep+1]})
	}
	return out
}

// unescape undoes the octal escapes of blanks and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Run hands records to emit until ctx ends.
func (w *Watch) Run(ctx context.Context, emit func(any) bool) error {
	defer w.Close()
	conn, err := w.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("read fanotify: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, 64<<10)
	looked := time.Now()
	for ctx.Err() == nil {
		_ = w.file.SetReadDeadline(time.Now().Add(unwritten / 2))
		if ctx.Err() != nil {
			break
		}
		var n int
		var failure error
		err := conn.Read(func(fd uintptr) bool {
			n, failure = unix.Read(int(fd), b)
			return !errors.Is(failure, unix.EAGAIN)
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			return fmt.Errorf("read fanotify: %w", err)
		case errors.Is(failure, unix.EINTR):
		case failure != nil:
			return fmt.Errorf("read fanotify: %w", failure)
		default:
			w.events(b[:n], emit)
		}
		w.settle(emit, false)
		if now := time.Now(); now.Sub(looked) >= lookEvery {
			looked = now
			w.markAll()
		}
	}
	w.settle(emit, true)
	return nil
}

// events handles what one read brought.
func (w *Watch) events(b []byte, emit func(any) bool) {
	for len(b) > 0 {
		e, size, ok := parse(b)
		if !ok {
			w.Lost("decode", 1)
			return
		}
		b = b[size:]
		if e.fd >= 0 {
			_ = unix.Close(e.fd) // never asked for
		}
		if e.mask&unix.FAN_Q_OVERFLOW != 0 {
			w.Lost("fanotify.overflow", 1)
			continue
		}
		if w.Exclude != nil && w.Exclude(e.pid) {
			continue
		}
		w.event(&e, emit)
	}
}

func (w *Watch) event(e *event, emit func(any) bool) {
	h := w.header(e.pid)
	if e.mask&unix.FAN_RENAME != 0 {
		from, to := w.path(e.old), w.path(e.new)
		emit(&record.PathOp{Header: h, Op: record.OpRename, Name: from, NameNew: to})
		if f := w.fresh[from]; f != nil { // written and renamed: still the one that was created
			delete(w.fresh, from)
			f.Path = to
			w.fresh[to] = f
		}
	}
	path := w.path(e.at)
	if path == "" {
		return
	}
	if e.mask&unix.FAN_MOVED_FROM != 0 {
		w.moved(emit)
		w.half = &record.PathOp{Header: h, Op: record.OpRename, Name: path}
	}
	if e.mask&unix.FAN_MOVED_TO != 0 {
		if w.half != nil && w.half.PID == h.PID {
			w.half.NameNew = path
			emit(w.half)
			w.half = nil
		} else {
			emit(w.describe(h, path, record.FileCreated))
		}
	}
	if e.mask&unix.FAN_CREATE != 0 && len(w.fresh) < maxNew {
		w.fresh[path] = w.describe(h, path, record.FileCreated)
	}
	if e.mask&unix.FAN_CLOSE_WRITE != 0 {
		flags := uint32(0)
		if w.fresh[path] != nil {
			flags = record.FileCreated
			delete(w.fresh, path)
		}
		emit(w.describe(h, path, flags))
	}
	if e.mask&unix.FAN_DELETE != 0 {
		if f := w.fresh[path]; f != nil {
			delete(w.fresh, path)
			emit(f)
		}
		emit(&record.PathOp{Header: h, Op: record.OpUnlink, Name: path})
	}
}

// moved tells of a file that left the watched file systems.
func (w *Watch) moved(emit func(any) bool) {
	if w.half != nil {
		w.half.Op = record.OpUnlink
		emit(w.half)
		w.half = nil
	}
}

// settle tells of new files that nobody wrote: links, devices, sockets, and
// files that stay open.
func (w *Watch) settle(emit func(any) bool, all bool) {
	w.moved(emit)
	now := w.Now()
	for path, f := range w.fresh {
		if all || now-f.Time >= uint64(unwritten) {
			delete(w.fresh, path)
			emit(f)
		}
	}
}

// describe makes the record of a file as it is now.
func (w *Watch) describe(h record.Header, path string, flags uint32) *record.File {
	f := &record.File{Header: h, OpenedAt: h.Time, OpenerPID: h.PID, OpenerStart: h.Start, FileFlags: flags, Path: path, Pos: 1<<64 - 1}
	var st unix.Stat_t
	if unix.Lstat(path, &st) == nil {
		f.Image = procfs.ImageOf(&st)
	} else {
		f.Image.Nlink = 1 // gone by now: nothing is known of it
	}
	return f
}

// header names the acting process; one that has ended already by its id only.
func (w *Watch) header(pid uint32) record.Header {
	h := record.Header{Time: w.Now(), PID: pid, TID: pid, Flags: record.FlagNoTask}
	h.Start, _ = w.Proc.Start(pid)
	return h
}

// path finds the folder of a name.
func (w *Watch) path(n name) string {
	dir := w.mounts[n.fs]
	if dir == nil || n.text == "" || n.text == "." {
		return ""
	}
	fd, err := unix.OpenByHandleAt(int(dir.Fd()), n.handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		w.Lost("fanotify.folder", 1) // removed meanwhile
		return ""
	}
	defer unix.Close(fd)
	target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return ""
	}
	return record.Clean(filepath.Join(strings.TrimSuffix(target, " (deleted)"), n.text))
}

// Close removes all marks.
func (w *Watch) Close() error {
	errs := []error{w.file.Close()}
	for _, f := range w.mounts {
		errs = append(errs, f.Close())
	}
	w.mounts = nil
	return errors.Join(errs...)
}
