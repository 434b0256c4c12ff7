// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// filled is a file system with five batches of two rows each in one segment.
func filled(t testing.TB) (*memFS, string) {
	t.Helper()
	fs := newMemFS()
	s := open(t, options(fs, boot1))
	for n := range 5 {
		must(t, add(t, s, Normal, 2*n, 2*n+1))
	}
	must(t, s.Close())
	return fs, fs.segmentFiles()[0]
}

func TestFlippedByteCostsOneBatch(t *testing.T) {
	t.Parallel()
	fs, name := filled(t)
	whole := slices.Clone(fs.files[name].data)
	state := slices.Clone(fs.files["/spool/state"].data)
	for at := segmentHeader; at < len(whole); at++ {
		data := slices.Clone(whole)
		data[at] ^= 0x40
		fs.files[name].data = data
		fs.files["/spool/state"].data = slices.Clone(state)
		s := open(t, options(fs, boot1))
		rows := rowsOf(t, drain(s))
		lost := s.Stats().Lost
		if len(rows) != 8 || lost["spool.damaged"] != 2 || len(lost) != 1 {
			t.Fatalf("byte %d flipped: %v left, lost %v", at, rows, lost)
		}
	}
}

func TestDamageIsCountedOnce(t *testing.T) {
	t.Parallel()
	fs, name := filled(t)
	fs.files[name].data[segmentHeader+8] ^= 1 // first record header
	for run := range 3 {
		s := open(t, options(fs, boot1))
		drain(s)
		drain(s)
		want := map[string]uint64{}
		if run == 0 {
			want["spool.damaged"] = 2
		}
		equal(t, want, s.Stats().Lost)
		must(t, s.Close())
	}
}

func TestDamageWhileRunning(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	s := open(t, options(fs, boot1))
	for n := range 4 {
		must(t, add(t, s, Low, n))
	}
	f := fs.files[fs.segmentFiles()[0]]
	second := s.segs[Low][0]
	p := second.start()
	second.next(&p, second.size)
	_, off, _ := second.next(&p, second.size)
	f.data[off+9] ^= 0xff
	equal(t, []string{"row-0", "row-2", "row-3"}, rowsOf(t, drain(s)))
	f.data[len(f.data)-1] ^= 0xff
	equal(t, []string{"row-0", "row-2"}, rowsOf(t, drain(s)))
	f.data[second.tailOff] ^= 0xff
	drain(s)
	must(t, add(t, s, Low, 4))
	equal(t, []string{"row-0", "row-2", "row-4"}, rowsOf(t, drain(s)))
	equal(t, map[string]uint64{"spool.damaged": 2}, s.Stats().Lost)
}

func TestTornTail(t *testing.T) {
	t.Parallel()
	fs, name := filled(t)
	whole := slices.Clone(fs.files[name].data)
	g := open(t, options(fs, boot1)).segs[Normal][0]
	for cut := int(g.tailOff); cut < len(whole); cut++ {
		for _, fill := range []int{0, 600} {
			fs.files[name].data = append(slices.Clone(whole[:cut]), make([]byte, fill)...)
			fs.files["/spool/state"].data = nil
			s := open(t, options(fs, boot1))
			if rows := rowsOf(t, drain(s)); len(rows) != 8 {
				t.Fatalf("cut at %d and filled with %d zeros: %v left", cut, fill, rows)
			}
			torn := cut < int(g.tailOff)+recordHeader || fill == 0
			if cutOff := len(fs.files[name].data) == int(g.tailOff); torn != cutOff {
				t.Fatalf("cut at %d and filled with %d zeros: torn end removed: %v", cut, fill, cutOff)
			}
			must(t, add(t, s, Normal, 77))
			if rows := rowsOf(t, drain(s)); rows[len(rows)-1] != "row-77" {
				t.Fatalf("cut at %d: %v", cut, rows)
			}
			fs.Remove(fs.segmentFiles()[1])
		}
	}
}

func TestLostTailIsCounted(t *testing.T) {
	t.Parallel()
	fs, name := filled(t)
	fs.files[name].data = fs.files[name].data[:segmentHeader]
	s := open(t, options(fs, boot2))
	equal(t, map[string]uint64{"spool.damaged": 10}, s.Stats().Lost)
	s = open(t, options(fs, boot2))
	equal(t, map[string]uint64{}, s.Stats().Lost)
}

func TestSegmentWithoutHeader(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	for n := range 3 {
		s := open(t, options(fs, boot1))
		must(t, add(t, s, Low, n, n+10))
		must(t, s.Close())
	}
	names := fs.segmentFiles()
	fs.files[names[1]].data[3] ^= 1
	s := open(t, options(fs, boot1))
	equal(t, map[string]uint64{"spool.damaged": 2}, s.Stats().Lost)
	equal(t, []string{"row-0", "row-10", "row-2", "row-12"}, rowsOf(t, drain(s)))
	equal(t, 2, len(fs.segmentFiles()))
	s.TellLosses()
	equal(t, map[string]uint64{"spool.damaged": 2}, told(t, drain(s)))
}

func TestForgedRecordInsidePayload(t *testing.T) {
	t.Parallel()
	fs := newMemFS()
	s := open(t, options(fs, boot1))
	must(t, add(t, s, High, 1))
	// A record that an attacker could get into a payload, with the checksum of another file's salt.
	forged := record{length: 0, seq: 1 << 40, rows: 1, before: 1}
	g := s.segs[High][0]
	_, err := g.f.WriteAt(bytes.Repeat(forged.encode(g.salt+1), 3), g.size)
	must(t, err)
	s = open(t, options(fs, boot1))
	equal(t, Position{boot1, 1, 2}, s.Rewind())
}

func TestDamagedSlots(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		fs, _ := filled(t)
		for _, name := range []string{"/spool/state", "/spool/report"} {
			data := fs.files[name].data
			if r.IntN(4) == 0 {
				fs.files[name].data = data[:r.IntN(len(data))]
				continue
			}
			for range 1 + r.IntN(3) {
				data[r.IntN(len(data))] ^= byte(1 + r.IntN(255))
			}
		}
		s := open(t, options(fs, boot1))
		equal(t, 10, len(rowsOf(t, drain(s))))
		if p := s.Rewind(); p.Next != 6 {
			t.Errorf("seed %d: next number %d", seed, p.Next)
		}
		if n := s.NextReportID(); n <= 10 {
			t.Errorf("seed %d: report id %d again", seed, n)
		}
	}
}

// FuzzSegment opens arbitrary bytes as a segment, next to a good one.
func FuzzSegment(f *testing.F) {
	fs, name := filled(f)
	good := fs.files[name].data
	f.Add(good)
	f.Add(good[:len(good)-5])
	f.Add(good[:segmentHeader+3])
	f.Add([]byte("PKSPOOL1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := newMemFS()
		s := open(t, options(fs, boot2))
		must(t, add(t, s, Low, 1))
		name := "/spool/" + segmentName(9, Normal)
		fs.files[name] = &memFile{fs: fs, name: name, data: slices.Clone(data)}
		s = open(t, options(fs, boot2))
		must(t, add(t, s, High, 2))
		var own []string
		for _, b := range drain(s) {
			if b.Boot == boot2 {
				own = append(own, fmt.Sprint(b.Class))
			}
			s.Ack(b.Boot, b.Seq)
		}
		if got := strings.Join(own, " "); !strings.Contains(got, "low") || !strings.Contains(got, "high") {
			t.Errorf("own batches: %s", got)
		}
		must(t, s.Close())
	})
}

// FuzzSlots opens a spool whose small files hold arbitrary bytes.
func FuzzSlots(f *testing.F) {
	fs, _ := filled(f)
	f.Add(slices.Clone(fs.files["/spool/state"].data), slices.Clone(fs.files["/spool/report"].data))
	f.Add([]byte("{}"), []byte{})
	f.Fuzz(func(t *testing.T, state, report []byte) {
		fs, _ := filled(t)
		// The checksum is made right, so that what is inside gets read.
		for name, data := range map[string][]byte{"/spool/state": state, "/spool/report": report} {
			file, err := fs.OpenFile(name, os.O_RDWR)
			must(t, err)
			sl := &slots{f: file, gen: 1 << 40}
			if len(data) > slotPayload {
				data = data[:slotPayload]
			}
			must(t, sl.write(data))
		}
		s := open(t, options(fs, boot1))
		must(t, add(t, s, High, 77))
		all := drain(s)
		if len(all) == 0 || all[len(all)-1].Class != High {
			t.Errorf("%d batches, the new one is not the last", len(all))
		}
		s.TellLosses()
		must(t, s.Close())
	})
}

func TestOSFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, OS{}.MkdirAll(dir+"/a/b"))
	must(t, OS{}.SyncDir(dir+"/a"))
	if _, err := (OS{}).OpenFile(dir+"/a/none", os.O_RDWR); err == nil {
		t.Error("opened a file that is not there")
	}
	f, err := OS{}.OpenFile(dir+"/a/x", os.O_RDWR|os.O_CREATE)
	must(t, err)
	_, err = f.WriteAt([]byte("hello"), 3)
	must(t, err)
	if n, err := f.Size(); err != nil || n != 8 {
		t.Errorf("size %d, %v", n, err)
	}
	names, err := OS{}.ReadDir(dir + "/a")
	must(t, err)
	equal(t, []string{"b", "x"}, names)
	if info, err := os.Stat(dir + "/a/x"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	must(t, f.Close())
}
