// SPDX-License-Identifier: Apache-2.0

//go:build linux

package journal

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// recorded returns a journal that systemd 252 wrote: 46 entries, the message of
// one of which is packed by zstd.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".journal.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var wanted = map[string]bool{"MESSAGE": true, "SYSLOG_IDENTIFIER": true, "_PID": true, "_EXE": true}

// all reads a file from its beginning, and how much of it was damaged.
func all(t testing.TB, r io.ReaderAt, limit int) (entries []Entry, damaged int) {
	t.Helper()
	u, err := newUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	f, err := newFile(r, wanted, u)
	if err != nil {
		return nil, 1
	}
	for range limit {
		e, err := f.next()
		switch {
		case errors.Is(err, io.EOF):
			return entries, damaged
		case err != nil:
			damaged++
			f.skip()
		default:
			entries = append(entries, e)
		}
	}
	return entries, damaged
}

func TestRealJournals(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"regular", "compact"} {
		entries, damaged := all(t, bytes.NewReader(recorded(t, name)), 1000)
		if len(entries) != 46 || damaged != 0 {
			t.Fatalf("%s: %d entries, %d damaged", name, len(entries), damaged)
		}
		if f := entries[0].Fields; f["SYSLOG_IDENTIFIER"] != "sshd" || f["_PID"] != "812" || !strings.HasPrefix(f["MESSAGE"], "Accepted publickey for alice from ") {
			t.Errorf("%s: first %v", name, f)
		}
		if f := entries[43].Fields; f["_EXE"] != "/usr/bin/sudo" || !strings.HasPrefix(f["MESSAGE"], "   alice : 3 incorrect") || !strings.HasSuffix(f["MESSAGE"], " word49") {
			t.Errorf("%s: packed %v", name, f)
		}
		if e := entries[1]; e.realtime != 1795522548001000 || e.monotonic != 1001000 || e.boot != testBoot {
			t.Errorf("%s: times %+v", name, e)
		}
	}
}

// systemd's own writer is followed while it writes.
func TestLiveWriter(t *testing.T) {
	const program = "/lib/systemd/systemd-journal-remote"
	if _, err := os.Stat(program); err != nil {
		t.Skip("systemd-journal-remote is not installed")
	}
	t.Parallel()
	h := newHost(t)
	h.open()
	h.o.Machine, h.machine = "", [16]byte{} // the writer names the machine of the host
	c := exec.Command(program, "-o", h.path("system.journal"), "-")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var got []string
	deadline := time.Now().Add(30 * time.Second)
	for i := range 60 {
		text := fmt.Sprintf("message %d %s", i, strings.Repeat("z", i*20))
		fmt.Fprintf(in, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=9e50f1f1336d494a980192fb18423423\nSYSLOG_IDENTIFIER=x\nMESSAGE=%s\n\n",
			1795522548000000+i, 1000+i, text)
		for len(got) <= i && time.Now().Before(deadline) {
			h.Look(func(e Entry) { got = append(got, e.Fields["MESSAGE"]) })
			time.Sleep(time.Millisecond) // the writer has no way to say that it wrote
		}
		if len(got) != i+1 || got[i] != text {
			t.Fatalf("after %d messages got %d, the last %q", i+1, len(got), got[max(0, len(got)-1)])
		}
	}
	if err := errors.Join(in.Close(), c.Wait()); err != nil {
		t.Fatal(err)
	}
	h.expect()
	if len(h.lost) > 0 {
		t.Errorf("lost %v", h.lost)
	}
}

func FuzzFile(f *testing.F) {
	for _, flags := range []uint32{0, compact, packedLZ4 | packedZstd} {
		w := newWriter(f, flags)
		w.pack = objectZstd
		for i := range 9 {
			w.add(uint64(i), "MESSAGE=hello "+strings.Repeat("x", 70*i), "SYSLOG_IDENTIFIER=sshd")
			w.pack ^= objectZstd | objectLZ4
		}
		f.Add(w.b, uint16(0), uint64(0))
		f.Add(w.b, uint16(176), uint64(300))
		f.Add(w.b[:len(w.b)/2], uint16(152), uint64(1<<40))
	}
	f.Fuzz(func(t *testing.T, b []byte, at uint16, v uint64) {
		b = bytes.Clone(b)
		for i := 0; i < 8 && int(at)+i < len(b); i++ {
			b[int(at)+i] ^= byte(v >> (8 * i))
		}
		entries, _ := all(t, bytes.NewReader(b), 200)
		for _, e := range entries {
			for name, value := range e.Fields {
				if !wanted[name] || len(value) > maxValue {
					t.Fatalf("field %q of %d bytes", name, len(value))
				}
			}
		}
	})
}

func FuzzLZ4(f *testing.F) {
	for _, text := range []string{"", "short", strings.Repeat("y", 2000) + "end", strings.Repeat("abc", 300) + strings.Repeat("z", 900)} {
		f.Add(packed(f, objectLZ4, []byte(text))[8:], 3000)
	}
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		size = max(0, min(size, maxValue))
		out, err := unpackLZ4(b, size)
		if err == nil && len(out) > size {
			t.Fatalf("%d bytes for %d", len(out), size)
		}
	})
}

func TestLZ4(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"short", strings.Repeat("y", 2000), "x" + strings.Repeat("z", 900)} {
		out, err := unpackLZ4(packed(t, objectLZ4, []byte(text))[8:], len(text))
		if err != nil || string(out) != text {
			t.Errorf("%d bytes became %d: %v", len(text), len(out), err)
		}
	}
	// From the description of the format: "aaaaaaaaaaaaaaaaaaaa" as one letter, a copy of 14 and five letters.
	out, err := unpackLZ4([]byte{0x1a, 'a', 1, 0, 0x50, 'a', 'a', 'a', 'a', 'a'}, 20)
	if err != nil || string(out) != strings.Repeat("a", 20) {
		t.Errorf("got %q: %v", out, err)
	}
}
