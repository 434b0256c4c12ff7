// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"container/list"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket/sensor/linux/command"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	hashQueue     = 1024
	hashCache     = 8192
	hashMaxBytes  = 256 << 20 // default of Options.HashMaxBytes
	hashFileBytes = 16 << 20  // files, other than images of processes
	maxReach      = 32        // parents that are asked for a file
)

// imageKey tells contents apart without reading them: any write moves ctime.
type imageKey struct {
	dev       uint32
	ino, size uint64
	sec       int64
	nsec      uint32
}

func keyOf(i record.ImagePart) imageKey {
	return imageKey{i.Dev, i.Ino, i.Size, i.CtimeSec, i.CtimeNsec}
}

const (
	hashPending = iota
	hashDone
	hashFailed
)

// image is the content of one file and, once read, its digests.
type image struct {
	key     imageKey
	path    string
	pid     uint32 // process that runs it, 0 for a plain file
	mode    uint32
	uid     uint32
	sniff   bool // hash only what looks like a program or script
	state   atomic.Int32
	sha1    string // these three are set before state becomes hashDone
	sha256  string
	md5     string
	is      command.FileType // set before state is no longer hashPending
	element *list.Element
}

// settled reports whether nothing more will be known.
func (i *image) settled() bool { return i == nil || i.state.Load() != hashPending }

// kind tells what the file is, once it was looked at.
func (i *image) kind() command.FileType {
	if i == nil || i.state.Load() == hashPending {
		return command.FileType{}
	}
	return i.is
}

// digests returns the hashes, or empty strings.
func (i *image) digests() (sha1, sha256, md5 string) {
	if i == nil || i.state.Load() != hashDone {
		return "", "", ""
	}
	return i.sha1, i.sha256, i.md5
}

// hasher reads each content once, outside the event path. Its queue and its
// memory are bounded; what it does not hash is counted.
type hasher struct {
	limit  int64
	urgent chan *image // of processes that just started: rows wait for these
	queue  chan *image // all others
	lost   *tally
	notify func() // called after each image that is settled

	mu    sync.Mutex
	known map[imageKey]*image
	order *list.List // of *image, most recently used first
}

func newHasher(limit int64, lost *tally, notify func()) *hasher {
	if limit <= 0 {
		limit = hashMaxBytes
	}
	return &hasher{limit: limit, urgent: make(chan *image, hashQueue), queue: make(chan *image, hashQueue), lost: lost, notify: notify,
		known: map[imageKey]*image{}, order: list.New()}
}

// Ways of asking for a hash.
type haste int

const (
	started  haste = iota // a process started: at once
	running               // a process was found
	written               // a file was written: only if it looks like a program
	runnable              // a file was written that may be run
)

// get returns the image with a key and sees to it that it is hashed. It never
// waits; nil means that there is nothing to hash.
func (h *hasher) get(part record.ImagePart, path string, pid uint32, why haste) *image {
	if part.Ino == 0 || part.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	if isRemote(part.Sup) {
		h.lost.add("hash.remote", 1)
		return nil
	}
	key := keyOf(part)
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.known[key]; known != nil {
		if !known.sniff || why == written || known.state.Load() == hashDone {
			h.order.MoveToFront(known.element)
			return known
		}
		// It was looked at for being a program only; now its hash is wanted.
		delete(h.known, key)
		h.order.Remove(known.element)
	}
	i := &image{key: key, path: path, pid: pid, sniff: why == written, mode: part.Mode, uid: part.UID}
	limit := h.limit
	if pid == 0 {
		limit = min(limit, hashFileBytes)
	}
	if int64(part.Size) > limit || int64(part.Size) < 0 {
		h.lost.add("hash.too_large", 1)
		i.state.Store(hashFailed)
		return i
	}
	queue := h.queue
	if why == started {
		queue = h.urgent
	}
	select {
	case queue <- i:
	default:
		h.lost.add("hash.queue_full", 1)
		i.state.Store(hashFailed)
		return i
	}
	h.known[key] = i
	i.element = h.order.PushFront(i)
	if h.order.Len() > hashCache {
		last := h.order.Remove(h.order.Back()).(*image)
		delete(h.known, last.key)
	}
	return i
}

// backlog returns how many images wait.
func (h *hasher) backlog() int { return len(h.queue) }

// run hashes until ctx ends. One that is spare takes only urgent images, so
// that a large file never stands before them.
func (h *hasher) run(ctx context.Context, spare bool) {
	buf := make([]byte, 256<<10)
	others := h.queue
	if spare {
		others = nil
	}
	for {
		select {
		case i := <-h.urgent:
			h.settle(i, h.read(i, buf))
			continue
		default:
		}
		select {
		case <-ctx.Done():
			return
		case i := <-h.urgent:
			h.settle(i, h.read(i, buf))
		case i := <-others:
			h.settle(i, h.read(i, buf))
		}
	}
}

var errNotProgram = errors.New("neither a program nor a script")

func (h *hasher) settle(i *image, err error) {
	if err != nil {
		if !errors.Is(err, errNotProgram) {
			h.lost.add("hash.unreadable", 1)
			h.forget(i) // may be readable by another name
		}
		i.state.Store(hashFailed)
	} else {
		i.state.Store(hashDone)
	}
	h.notify()
}

func (h *hasher) forget(i *image) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[i.key] == i {
		delete(h.known, i.key)
		h.order.Remove(i.element)
	}
}

// read opens the content by the process that runs it, which works for deleted
// files, memory files and containers, or else by its name, and makes sure that
// it is the one meant.
func (h *hasher) read(i *image, buf []byte) error {
	var names []string
	if i.pid != 0 {
		names = append(names, fmt.Sprintf("/proc/%d/exe", i.pid))
	}
	if i.path != "" {
		names = append(names, i.path)
	}
	if here := fromRoot(i.path); here != "" {
		names = append(names, here) // often the same file, and its process may be gone
	}
	err := error(os.ErrNotExist)
	for n, name := range names {
		if err = h.readName(i, name, n == 0 && i.pid != 0, buf); err == nil || errors.Is(err, errNotProgram) {
			return err
		}
	}
	return err
}

// reach is the name by which the sensor may open a file that a process has at a
// path: in another mount namespace it is found by the root of the oldest process
// there that still runs, which is the last to go.
func (c *Collector) reach(p *process, path string) string {
	if p == nil || p.mntNS == 0 || p.mntNS == c.scripts.ownMounts {
		return path
	}
	var oldest *process
	for q, steps := p, 0; q != nil && q.mntNS == p.mntNS && steps < maxReach; q, steps = q.parent, steps+1 {
		if !q.exited {
			oldest = q
		}
	}
	if oldest == nil {
		return path
	}
	return fmt.Sprintf("/proc/%d/root%s", oldest.key.pid, path)
}

// fromRoot is what follows the root of a process in a name made by reach, ""
// for other names.
func fromRoot(name string) string {
	rest, ok := strings.CutPrefix(name, "/proc/")
	pid, path, found := strings.Cut(rest, "/root/")
	if !ok || !found || strings.Trim(pid, "0123456789") != "" {
		return ""
	}
	return "/" + path
}

func (h *hasher) readName(i *image, name string, byProcess bool, buf []byte) error {
	follow := unix.O_NOFOLLOW // a name from the kernel ends in no link
	if byProcess {
		follow = 0
	}
	// Looked at before it is opened: the name may be that of a device by now.
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC|follow, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || uint64(st.Size) != i.key.size {
		return errors.New("another file")
	}
	// Layered file systems show other device and inode numbers to programs
	// than the kernel has inside; the link of the process is then proof enough.
	same := st.Ino == i.key.ino && deviceOf(st.Dev) == i.key.dev && st.Ctim.Sec == i.key.sec && uint32(st.Ctim.Nsec) == i.key.nsec
	if !same && (!byProcess || st.Ctim.Sec != i.key.sec) && !i.onlyMarked(&st) {
		return errors.New("another file")
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return err
	}
	defer f.Close()
	return h.digest(i, f, buf)
}

// onlyMarked reports whether a plain file got another mode or owner since and
// was not written: programs are often made executable right after.
func (i *image) onlyMarked(st *unix.Stat_t) bool {
	if i.pid != 0 || st.Ino != i.key.ino || deviceOf(st.Dev) != i.key.dev || st.Mode == i.mode && st.Uid == i.uid {
		return false
	}
	return st.Mtim.Sec < i.key.sec || st.Mtim.Sec == i.key.sec && uint32(st.Mtim.Nsec) <= i.key.nsec
}

func (h *hasher) digest(i *image, f *os.File, buf []byte) error {
	first, err := io.ReadFull(f, buf[:min(command.SniffBytes, len(buf))])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	i.is = command.TypeOf(buf[:first])
	if i.sniff && !looksRunnable(buf[:first]) {
		return errNotProgram
	}
	a, b, c := sha1.New(), sha256.New(), md5.New()
	all := io.MultiWriter(a, b, c)
	all.Write(buf[:first]) // writing to a hash cannot fail
	rest := io.LimitReader(f, h.limit+1)
	n, err := io.CopyBuffer(all, struct{ io.Reader }{rest}, buf)
	if err != nil {
		return err
	}
	if uint64(n)+uint64(first) != i.key.size {
		return errors.New("changed while it was read")
	}
	i.sha1, i.sha256, i.md5 = hex.EncodeToString(a.Sum(nil)), hex.EncodeToString(b.Sum(nil)), hex.EncodeToString(c.Sum(nil))
	return nil
}

// looksRunnable tells programs and scripts by their first bytes.
func looksRunnable(b []byte) bool {
	return bytes.HasPrefix(b, []byte("\x7fELF")) || bytes.HasPrefix(b, []byte("#!")) || bytes.HasPrefix(b, []byte("MZ"))
}

// deviceOf converts a device number as programs see it to the kernel's own.
func deviceOf(dev uint64) uint32 { return unix.Major(dev)<<20 | unix.Minor(dev) }

// isRemote tells file systems that are served by another host or by a program:
// asking them for a file may take for ever, and whoever serves them decides
// what we see.
func isRemote(magic uint32) bool {
	switch magic {
	case 0x65735546, // FUSE
		0x6969, 0xff534d42, 0xfe534d42, 0x517b, // NFS, CIFS, SMB2, SMB
		0x01021997, 0x5346414f, 0x6b414653, 0x00c36400, 0x0bd00bd0, 0x73757245: // 9P, AFS, kAFS, Ceph, Lustre, Coda
		return true
	}
	return false
}
