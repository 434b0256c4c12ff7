// SPDX-License-Identifier: Apache-2.0

//go:build linux

package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a folder with the journal of one machine and a reader of it.
type host struct {
	*Reader
	t    *testing.T
	root string
	dir  string
	lost map[string]uint64
}

const machineName = "3d1219c7c4c5404aaa1f6d2a48adfda4"

func newHost(t *testing.T) *host {
	h := &host{t: t, root: t.TempDir(), lost: map[string]uint64{}}
	h.dir = filepath.Join(h.root, machineName)
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) open() {
	h.t.Helper()
	r, err := Open(Options{Dirs: []string{h.root, "/nonexistent"}, Machine: machineName, Boot: "9e50f1f1-336d-494a-9801-92fb18423423\n", Since: 100 * time.Microsecond,
		Fields: []string{"MESSAGE", "SYSLOG_IDENTIFIER"}, Lost: func(class string, n uint64) { h.lost[class] += n },
		Want: func(f map[string]string) bool { return f["SYSLOG_IDENTIFIER"] != "noise" }})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Reader = r
	h.t.Cleanup(r.Close)
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) rename(from, to string) {
	h.t.Helper()
	if err := os.Rename(h.path(from), h.path(to)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) expect(want ...string) {
	h.t.Helper()
	var got []string
	h.Look(func(e Entry) { got = append(got, e.Fields["MESSAGE"]) })
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("messages (-want +got): %s", diff)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	for _, flags := range []uint32{0, keyedHash, keyedHash | compact | packedZstd, packedLZ4} {
		h := newHost(t)
		w := newWriter(t, flags)
		w.add(50, "MESSAGE=old", "SYSLOG_IDENTIFIER=x")
		w.save(h.path("system.journal"))
		h.open()
		h.expect()
		w.add(200, "MESSAGE=one", "SYSLOG_IDENTIFIER=x", "_UID=0")
		w.save(h.path("system.journal"))
		h.expect("one")
		h.expect()
		for i := range 40 { // over several arrays
			w.add(300+uint64(i), fmt.Sprintf("MESSAGE=%d", i), "SYSLOG_IDENTIFIER=x")
		}
		w.add(400, "MESSAGE=n", "SYSLOG_IDENTIFIER=noise")
		w.save(h.path("system.journal"))
		var want []string
		for i := range 40 {
			want = append(want, fmt.Sprint(i))
		}
		h.expect(want...)
		// A second file, of a user, that appears later.
		u := newWriter(t, flags)
		u.b[24] = 'u'
		u.add(10, "MESSAGE=before", "SYSLOG_IDENTIFIER=x")
		u.add(500, "MESSAGE=user", "SYSLOG_IDENTIFIER=x")
		u.save(h.path("user-1000.journal"))
		h.expect("user")
		if len(h.lost) > 0 || h.Files() != 2 {
			t.Errorf("layout %#x: lost %v, %d files", flags, h.lost, h.Files())
		}
	}
}

// Rotation renames the file and begins another; what was written to the old
// one last is still told.
func TestRotation(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := newWriter(t, keyedHash)
	w.add(50, "MESSAGE=old", "SYSLOG_IDENTIFIER=x")
	w.save(h.path("system.journal"))
	archive := newWriter(t, keyedHash)
	archive.b[24], archive.b[16] = 'a', archived
	archive.add(60, "MESSAGE=ancient", "SYSLOG_IDENTIFIER=x")
	archive.save(h.path("system@0.journal"))
	h.open()
	w.add(200, "MESSAGE=last", "SYSLOG_IDENTIFIER=x")
	w.b[16] = archived
	w.save(h.path("system.journal"))
	h.rename("system.journal", "system@1.journal")
	fresh := newWriter(t, keyedHash|compact)
	fresh.b[24] = 'n'
	fresh.add(300, "MESSAGE=first", "SYSLOG_IDENTIFIER=x")
	fresh.save(h.path("system.journal"))
	h.expect("last", "first")
	h.expect()
	if h.Files() != 1 {
		t.Errorf("%d files are followed", h.Files())
	}
	// One that came and was archived between two looks, and a copy of one that is done.
	short := newWriter(t, keyedHash)
	short.b[24], short.b[16] = 's', archived
	short.add(400, "MESSAGE=short", "SYSLOG_IDENTIFIER=x")
	short.save(h.path("system@2.journal"))
	w.save(h.path("system@3.journal"))
	h.expect("short")
	h.expect()
	if err := os.Remove(h.path("system.journal")); err != nil {
		t.Fatal(err)
	}
	h.expect()
	h.expect()
	if h.Files() != 0 || len(h.lost) > 0 {
		t.Errorf("%d files, lost %v", h.Files(), h.lost)
	}
}

// The journal moves from memory to disk early in a boot: the same entries
// appear in another file.
func TestCopiedEntriesAreToldOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.open()
	w := newWriter(t, keyedHash)
	w.add(200, "MESSAGE=one", "SYSLOG_IDENTIFIER=x")
	w.save(h.path("system.journal"))
	h.expect("one")
	copied := newWriter(t, keyedHash|compact)
	copied.b[24] = 'c'
	copied.add(200, "MESSAGE=one", "SYSLOG_IDENTIFIER=x")
	copied.add(201, "MESSAGE=two", "SYSLOG_IDENTIFIER=x")
	copied.save(h.path("other.journal"))
	h.expect("two")
}

func TestOtherMachinesAndBootsAreNotTold(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.open()
	w := newWriter(t, 0)
	w.b[40] ^= 1
	w.add(200, "MESSAGE=container", "SYSLOG_IDENTIFIER=x")
	w.save(h.path("a.journal"))
	w = newWriter(t, 0)
	w.b[24], w.boot = 'b', [16]byte{1}
	w.add(200, "MESSAGE=boot", "SYSLOG_IDENTIFIER=x")
	w.save(h.path("b.journal"))
	w = newWriter(t, 0)
	w.b[24], w.b[56], w.b[16] = 'c', 1, archived
	w.add(200, "MESSAGE=archive of another boot", "SYSLOG_IDENTIFIER=x")
	w.save(h.path("c.journal"))
	if err := os.Symlink(h.path("b.journal"), h.path("d.journal")); err != nil {
		t.Fatal(err)
	}
	h.expect()
	h.expect()
	if h.Files() != 1 || len(h.lost) > 0 {
		t.Errorf("%d files, lost %v", h.Files(), h.lost)
	}
}

func TestPackedData(t *testing.T) {
	t.Parallel()
	long := "sudo " + strings.Repeat("x", 3000)
	for pack, want := range map[byte]string{objectZstd: long, objectLZ4: long, objectXZ: ""} {
		h := newHost(t)
		h.open()
		w := newWriter(t, packedXZ|packedLZ4|packedZstd)
		w.pack = pack
		w.add(200, "MESSAGE="+long, "SYSLOG_IDENTIFIER=x")
		w.save(h.path("system.journal"))
		h.expect(want)
		if n := h.lost["journal.packed"]; (want == "") != (n == 1) {
			t.Errorf("packed by %d: counted %d", pack, n)
		}
	}
	h := newHost(t)
	h.open()
	w := newWriter(t, 0)
	w.add(200, "MESSAGE="+strings.Repeat("y", 1<<20), "SYSLOG_IDENTIFIER=x")
	w.save(h.path("system.journal"))
	h.expect(strings.Repeat("y", maxValue-len("MESSAGE=")))
}

// Damage costs what it hits, is counted, and does not stop the reading.
func TestDamage(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := newWriter(t, 0)
	w.add(50, "MESSAGE=old", "SYSLOG_IDENTIFIER=x")
	w.save(h.path("system.journal"))
	h.open()
	w.add(200, "MESSAGE=one", "SYSLOG_IDENTIFIER=x")
	bad := w.object(kindEntry, 0, entryBytes) // an entry that is none
	w.b[bad] = 9
	w.link(bad)
	w.count++
	w.add(201, "MESSAGE=two", "SYSLOG_IDENTIFIER=x")
	w.link(0) // and one that is never written
	w.count++
	w.add(202, "MESSAGE=three", "SYSLOG_IDENTIFIER=x")
	w.save(h.path("system.journal"))
	h.expect("one", "two")
	for range patience - 1 {
		h.expect()
	}
	h.expect("three")
	if h.lost["journal.damaged"] != 2 {
		t.Errorf("counted %v", h.lost)
	}
	if err := os.Truncate(h.path("system.journal"), 100); err != nil {
		t.Fatal(err)
	}
	for range patience + 1 {
		h.expect()
	}
	if h.lost["journal.damaged"] != 3 {
		t.Errorf("counted %v", h.lost)
	}
	if err := os.Remove(h.path("system.journal")); err != nil {
		t.Fatal(err)
	}
	h.expect()
	if h.Files() != 0 {
		t.Error("a file that is gone is still followed")
	}
}

// What is no journal is tried a few times, as it may be at its making, and
// then counted once.
func TestNoJournal(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.open()
	if err := os.WriteFile(h.path("system.journal"), []byte("LPKSHHRH"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.expect()
	}
	w := newWriter(t, 0)
	w.add(200, "MESSAGE=made", "SYSLOG_IDENTIFIER=x")
	w.save(h.path("system.journal"))
	h.expect("made")
	if err := os.WriteFile(h.path("x.journal"), make([]byte, 300), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 * patience {
		h.expect()
	}
	if h.lost["journal.damaged"] != 1 || h.Files() != 1 {
		t.Errorf("counted %v, %d files", h.lost, h.Files())
	}
}

func TestReaderIsBounded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.open()
	for i := range maxFiles + 2 {
		w := newWriter(t, 0)
		w.b[24], w.b[25] = byte(i), byte(i>>8)
		w.save(h.path(fmt.Sprintf("%d.journal", i)))
	}
	h.expect()
	if h.Files() != maxFiles || h.lost["journal.files"] != 2 {
		t.Errorf("%d files, lost %v", h.Files(), h.lost)
	}
	for i := range 2*maxSeen + 5 {
		h.entry(Entry{boot: testBoot, monotonic: uint64(i) + 1000, Fields: map[string]string{}}, func(Entry) {})
	}
	if len(h.seen) > maxSeen {
		t.Errorf("%d entries are remembered", len(h.seen))
	}
}
