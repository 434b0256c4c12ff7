// SPDX-License-Identifier: Apache-2.0

//go:build linux

package journal

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"
)

var testBoot, testMachine = id128("9e50f1f1336d494a980192fb18423423"), id128("3d1219c7c4c5404aaa1f6d2a48adfda4")

// writer writes a journal as journald does, without hash tables, which readers
// of all entries do not need.
type writer struct {
	t      testing.TB
	flags  uint32
	b      []byte
	data   map[string]uint64
	arrays uint64 // offset of the array that has room
	room   uint64
	next   uint64 // entry within it
	count  uint64
	pack   byte // how long data is packed
	boot   [16]byte
}

func newWriter(t testing.TB, flags uint32) *writer {
	w := &writer{t: t, flags: flags, b: make([]byte, 272), data: map[string]uint64{}, boot: testBoot}
	copy(w.b, "LPKSHHRH")
	binary.LittleEndian.PutUint32(w.b[12:], flags)
	w.b[16] = 1
	copy(w.b[24:], t.Name())
	copy(w.b[40:], testMachine[:])
	copy(w.b[56:], testBoot[:])
	w.put(88, 272)
	return w
}

func (w *writer) put(at int, v uint64) { binary.LittleEndian.PutUint64(w.b[at:], v) }

// object appends one and returns its offset.
func (w *writer) object(kind, flags byte, size int) uint64 {
	at := len(w.b)
	w.b = append(w.b, make([]byte, (size+7)/8*8)...)
	w.b[at], w.b[at+1] = kind, flags
	w.put(at+8, uint64(size))
	return uint64(at)
}

func (w *writer) field(text string) uint64 {
	if at, ok := w.data[text]; ok {
		w.put(int(at)+56, 2)
		return at
	}
	payload, flags := []byte(text), byte(0)
	if len(text) >= 512 && w.pack != 0 {
		flags = w.pack
		payload = packed(w.t, w.pack, payload)
	}
	head := dataBytes
	if w.flags&compact != 0 {
		head += 8
	}
	at := w.object(kindData, flags, head+len(payload))
	w.put(int(at)+56, 1)
	copy(w.b[int(at)+head:], payload)
	w.data[text] = at
	return at
}

// packed packs text; by LZ4 as literals and one copy of the last byte.
func packed(t testing.TB, how byte, text []byte) []byte {
	switch how {
	case objectZstd:
		e, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		return e.EncodeAll(text, nil)
	case objectLZ4:
		out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
		n, same := len(text), 0
		for n > 1 && text[n-1] == text[n-2] {
			n, same = n-1, same+1
		}
		if same < 9+15 { // too short for what follows, the last five bytes of which are literals
			return append(lz4Literals(out, len(text), 0), text...)
		}
		out = append(lz4Literals(out, n, 15), text[:n]...)
		out = append(out, 1, 0)
		for rest := same - 5 - 4 - 15; ; rest -= 255 {
			out = append(out, byte(min(rest, 255)))
			if rest < 255 {
				break
			}
		}
		return append(lz4Literals(out, 5, 0), text[len(text)-5:]...)
	}
	return text
}

func lz4Literals(out []byte, n int, length byte) []byte {
	if n < 15 {
		return append(out, byte(n)<<4|length)
	}
	out = append(out, 0xf0|length)
	for n -= 15; n >= 255; n -= 255 {
		out = append(out, 255)
	}
	return append(out, byte(n))
}

// add appends an entry at a monotonic time.
func (w *writer) add(monotonic uint64, fields ...string) {
	var offsets []uint64
	for _, f := range fields {
		offsets = append(offsets, w.field(f))
	}
	step := 16
	if w.flags&compact != 0 {
		step = 4
	}
	at := w.object(kindEntry, 0, entryBytes+step*len(offsets))
	w.put(int(at)+16, w.count+1)
	w.put(int(at)+24, 1_790_000_000_000_000+monotonic)
	w.put(int(at)+32, monotonic)
	copy(w.b[at+40:], w.boot[:])
	w.put(int(at)+56, uint64(len(fields[0]))*31+monotonic)
	for i, o := range offsets {
		w.pointer(int(at)+entryBytes+i*step, o)
	}
	w.link(at)
	w.count++
	w.put(152, w.count)
}

func (w *writer) pointer(at int, v uint64) {
	if w.flags&compact != 0 {
		binary.LittleEndian.PutUint32(w.b[at:], uint32(v))
	} else {
		w.put(at, v)
	}
}

func (w *writer) size() int {
	if w.flags&compact != 0 {
		return 4
	}
	return 8
}

// link puts an entry into the chain of arrays.
func (w *writer) link(entry uint64) {
	if w.next == w.room {
		old := w.arrays
		w.room = max(4, 2*w.room)
		w.arrays, w.next = w.object(kindArray, 0, arrayBytes+int(w.room)*w.size()), 0
		if old == 0 {
			w.put(176, w.arrays)
		} else {
			w.put(int(old)+16, w.arrays)
		}
	}
	w.pointer(int(w.arrays)+arrayBytes+int(w.next)*w.size(), entry)
	w.next++
}

// save writes the file in place, as a writer that maps it does.
func (w *writer) save(name string) {
	w.t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(w.b, 0); err != nil {
		w.t.Fatal(err)
	}
}
