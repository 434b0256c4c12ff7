// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// partOf is what the kernel would say of a file.
func partOf(t *testing.T, name string) record.ImagePart {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return record.ImagePart{Ino: st.Ino, Size: uint64(st.Size), CtimeSec: st.Ctim.Sec, CtimeNsec: uint32(st.Ctim.Nsec),
		Dev: deviceOf(st.Dev), Mode: st.Mode, Nlink: uint32(st.Nlink)}
}

// runHasher hashes in the background and returns a way to wait for an image.
func runHasher(t *testing.T, limit int64) (*hasher, *tally, func(*image)) {
	t.Helper()
	lost, settled := newTally(), make(chan struct{}, hashQueue)
	h := newHasher(limit, lost, func() { settled <- struct{}{} })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.run(ctx, false)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return h, lost, func(i *image) {
		for !i.settled() {
			<-settled
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestHashesOnce(t *testing.T) {
	t.Parallel()
	h, _, wait := runHasher(t, 0)
	text := "#!/bin/sh\n" + strings.Repeat("x", 300<<10)
	name := write(t, "script", text)
	i := h.get(partOf(t, name), name, 0, written)
	wait(i)
	a, b, c := sha1.Sum([]byte(text)), sha256.Sum256([]byte(text)), md5.Sum([]byte(text))
	s1, s256, m5 := i.digests()
	if s1 != hex.EncodeToString(a[:]) || s256 != hex.EncodeToString(b[:]) || m5 != hex.EncodeToString(c[:]) {
		t.Errorf("digests %s %s %s", s1, s256, m5)
	}
	if again := h.get(partOf(t, name), name, 0, written); again != i {
		t.Error("the same content was taken for another")
	}
	if err := os.WriteFile(name, []byte(text+"y"), 0o755); err != nil {
		t.Fatal(err)
	}
	changed := h.get(partOf(t, name), name, 0, written)
	wait(changed)
	if _, s, _ := changed.digests(); changed == i || s == "" || s == s256 {
		t.Errorf("changed content has digest %q", s)
	}
}

func TestHashRunningImage(t *testing.T) {
	t.Parallel()
	h, _, wait := runHasher(t, 0)
	i := h.get(partOf(t, "/proc/self/exe"), "/nowhere", uint32(os.Getpid()), started)
	wait(i)
	raw, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(raw)
	if _, got, _ := i.digests(); got != hex.EncodeToString(want[:]) {
		t.Errorf("digest %q", got)
	}
}

func TestHashRefuses(t *testing.T) {
	t.Parallel()
	h, lost, wait := runHasher(t, 1000)
	big := write(t, "big", "#!"+strings.Repeat("x", 1000))
	if i := h.get(partOf(t, big), big, 0, written); !i.settled() {
		t.Error("a file over the limit was queued")
	}
	text := write(t, "text", "just text")
	i := h.get(partOf(t, text), text, 0, written)
	wait(i)
	if _, s, _ := i.digests(); s != "" {
		t.Error("text was hashed")
	}
	// Another file under the name: its hash must not be taken for the first's.
	part := partOf(t, text)
	part.Ino++
	other := h.get(part, text, 0, runnable)
	wait(other)
	if _, s, _ := other.digests(); s != "" {
		t.Error("another file was hashed")
	}
	if again := h.get(part, text, 0, runnable); again == other {
		t.Error("a failure was remembered")
	} else {
		wait(again)
	}
	if i := h.get(record.ImagePart{Ino: 1, Size: 1, Mode: unix.S_IFDIR}, "/", 0, running); i != nil {
		t.Error("a folder was queued")
	}
	if i := h.get(record.ImagePart{Ino: 1, Size: 1, Mode: unix.S_IFREG, Sup: 0x65735546}, "/mnt/fuse/x", 0, runnable); i != nil || lost.copy()["hash.remote"] != 1 {
		t.Error("a file that a program serves was queued")
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(text, link); err != nil {
		t.Fatal(err)
	}
	part = partOf(t, text)
	part.CtimeNsec++
	linked := h.get(part, link, 0, runnable)
	wait(linked)
	if _, s, _ := linked.digests(); s != "" {
		t.Error("a link was followed")
	}
	if n := lost.copy(); n["hash.too_large"] != 1 || n["hash.unreadable"] != 3 {
		t.Errorf("counted %v", n)
	}
}

// A file that was first looked at for being a program is hashed when asked for.
func TestHashOfText(t *testing.T) {
	h, lost, wait := runHasher(t, 0)
	name := write(t, "text", "plain text")
	sniffed := h.get(partOf(t, name), name, 0, written)
	wait(sniffed)
	if sum, _, _ := sniffed.digests(); sum != "" || sniffed.kind().Kind != "" {
		t.Errorf("text is hashed as a program: %s", sum)
	}
	i := h.get(partOf(t, name), name, 0, runnable)
	wait(i)
	if sum, _, _ := i.digests(); sum == "" {
		t.Errorf("no hash: %v", lost.copy())
	}
	if again := h.get(partOf(t, name), name, 0, written); again != i {
		t.Error("forgotten")
	}
}

// A program that is made executable right after it was written is the same
// program; one that was written again is not.
func TestHashAfterChmod(t *testing.T) {
	h, _, wait := runHasher(t, 0)
	name := write(t, "prog", "#!/bin/sh\n")
	part := partOf(t, name)
	if err := os.Chmod(name, 0o700); err != nil {
		t.Fatal(err)
	}
	i := h.get(part, name, 0, written)
	wait(i)
	if sum, _, _ := i.digests(); sum == "" || i.kind().Interpreter != "/bin/sh" {
		t.Errorf("no hash, kind %+v", i.kind())
	}
	other := write(t, "prog", "#!/bin/sh\n")
	part = partOf(t, other)
	later := time.Unix(part.CtimeSec+10, 0)
	if err := errors.Join(os.Chmod(other, 0o700), os.Chtimes(other, later, later)); err != nil {
		t.Fatal(err)
	}
	i = h.get(part, other, 0, written)
	wait(i)
	if sum, _, _ := i.digests(); sum != "" {
		t.Error("another content is taken for it")
	}
}

func TestHashQueueAndMemoryAreBounded(t *testing.T) {
	t.Parallel()
	lost := newTally()
	h := newHasher(0, lost, func() {}) // nobody takes from the queue
	for n := range hashQueue + 5 {
		h.get(record.ImagePart{Ino: uint64(n + 1), Size: 1, Mode: unix.S_IFREG}, "/x", 0, running)
	}
	if n := lost.copy()["hash.queue_full"]; n != 5 {
		t.Errorf("counted %d", n)
	}
	for n := range hashCache + 100 {
		for len(h.queue) > 0 {
			<-h.queue
		}
		h.get(record.ImagePart{Ino: uint64(n + 1), Size: 2, Mode: unix.S_IFREG}, "/x", 0, running)
	}
	if len(h.known) != hashCache || h.order.Len() != hashCache {
		t.Errorf("%d images are remembered", len(h.known))
	}
}

func TestLooksRunnable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{"\x7fELF": true, "#!/b": true, "#!": true, "MZ\x90\x00": true, "#": false, "": false, "text": false} {
		if got := looksRunnable([]byte(in)); got != want {
			t.Errorf("looksRunnable(%q) = %v", in, got)
		}
	}
}

// A file in another mount namespace is opened by the root of a process there
// that still runs.
func TestReach(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	own := f.scripts.ownMounts
	box := &process{key: procKey{pid: 7}, mntNS: own + 1}
	child := &process{key: procKey{pid: 8}, mntNS: own + 1, parent: box, exited: true}
	orphan := &process{key: procKey{pid: 9}, mntNS: own + 2, parent: box, exited: true}
	for name, c := range map[string]struct {
		p    *process
		want string
	}{
		"nobody":    {nil, "/a/b"},
		"unknown":   {&process{}, "/a/b"},
		"same":      {&process{mntNS: own}, "/a/b"},
		"other":     {box, "/proc/7/root/a/b"},
		"living":    {&process{key: procKey{pid: 10}, mntNS: own + 1, parent: box}, "/proc/7/root/a/b"},
		"its child": {child, "/proc/7/root/a/b"},
		"all gone":  {orphan, "/a/b"},
	} {
		if got := f.reach(c.p, "/a/b"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for name, want := range map[string]string{
		"/proc/7/root/a/b": "/a/b", "/a/b": "", "/proc/self/root/a": "", "/proc/7/rootless": "", "/home/proc/7/root/a": "",
	} {
		if got := fromRoot(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}
