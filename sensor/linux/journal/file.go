// SPDX-License-Identifier: Apache-2.0

//go:build linux

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Kinds of object.
const (
	kindData  = 1
	kindEntry = 3
	kindArray = 6
)

// Flags of a file that change its layout, and what they are called here.
const (
	packedXZ   = 1 << 0
	packedLZ4  = 1 << 1
	keyedHash  = 1 << 2
	packedZstd = 1 << 3
	compact    = 1 << 4
	understood = packedXZ | packedLZ4 | keyedHash | packedZstd | compact
)

// Flags of a data object.
const (
	objectXZ   = 1 << 0
	objectLZ4  = 1 << 1
	objectZstd = 1 << 2
)

const (
	headerBytes  = 208 // what every version has
	objectBytes  = 16
	arrayBytes   = objectBytes + 8
	entryBytes   = 64
	dataBytes    = 64
	archived     = 2
	maxSteps     = 4096     // arrays looked at for one entry; each is twice as long as the last
	maxItems     = 1024     // data objects of one entry
	maxValue     = 16 << 10 // bytes of a value that are kept
	maxPacked    = 256 << 10
	maxRemember  = 4096 // data objects that many entries share
	maxName      = 64
	maxFileBytes = 1 << 40
)

var (
	errDamaged  = errors.New("damaged journal")
	errUnpacked = errors.New("packed by what is not linked")
	errNotYet   = errors.New("not written yet")
)

// header is what is used of the head of a file.
type header struct {
	flags     uint32
	state     byte
	file      [16]byte
	machine   [16]byte
	tailBoot  [16]byte
	arrays    uint64 // offset of the first entry array
	entries   uint64 // in the whole file
	firstByte uint64 // offset of the first object
}

func parseHeader(b []byte) (header, error) {
	if len(b) < headerBytes || string(b[:8]) != "LPKSHHRH" {
		return header{}, fmt.Errorf("no journal: %w", errDamaged)
	}
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	h := header{flags: binary.LittleEndian.Uint32(b[12:]), state: b[16], file: [16]byte(b[24:]), machine: [16]byte(b[40:]), tailBoot: [16]byte(b[56:]),
		firstByte: u64(88), entries: u64(152), arrays: u64(176)}
	if h.flags&^understood != 0 {
		return header{}, fmt.Errorf("layout %#x: %w", h.flags, errUnpacked)
	}
	if h.firstByte < headerBytes || h.firstByte > 1<<16 {
		return header{}, fmt.Errorf("header of %d bytes: %w", h.firstByte, errDamaged)
	}
	return h, nil
}

// file follows the entries of one file.
type file struct {
	r io.ReaderAt
	header

	total uint64 // entries passed
	array uint64 // offset of the array at hand, 0 before the first
	base  uint64 // entries in the arrays before it
	items uint64 // that it holds
	last  uint64 // offset of the entry passed last

	shared  map[uint64]field // data that many entries share, by offset
	fields  map[string]bool  // names that are wanted
	unpack  *unpacker
	scratch []byte
}

// field is one piece of data; without a name it is not wanted.
type field struct{ name, value string }

func newFile(r io.ReaderAt, fields map[string]bool, u *unpacker) (*file, error) {
	f := &file{r: r, fields: fields, unpack: u, shared: map[uint64]field{}, scratch: make([]byte, maxItems*16)}
	return f, f.refresh()
}

// refresh reads the header again: the writer counts entries there.
func (f *file) refresh() error {
	b, err := f.read(0, headerBytes)
	if err != nil {
		return err
	}
	h, err := parseHeader(b)
	if err != nil {
		return err
	}
	f.header = h
	return nil
}

// read returns n bytes, valid until the next read.
func (f *file) read(at, n uint64) ([]byte, error) {
	if n > uint64(len(f.scratch)) || at > maxFileBytes {
		return nil, fmt.Errorf("%d bytes at %d: %w", n, at, errDamaged)
	}
	b := f.scratch[:n]
	if _, err := f.r.ReadAt(b, int64(at)); err != nil {
		return nil, fmt.Errorf("read at %d: %w", at, errDamaged)
	}
	return b, nil
}

// object reads the head of an object and checks what it is. Only the first
// size bytes are read.
func (f *file) object(at uint64, kind byte, size uint64) (b []byte, whole uint64, err error) {
	if at < f.firstByte || at%8 != 0 {
		return nil, 0, fmt.Errorf("object at %d: %w", at, errDamaged)
	}
	if b, err = f.read(at, size); err != nil {
		return nil, 0, err
	}
	whole = binary.LittleEndian.Uint64(b[8:])
	if b[0] != kind || whole < size || whole > maxFileBytes {
		return nil, 0, fmt.Errorf("object at %d of kind %d and %d bytes: %w", at, b[0], whole, errDamaged)
	}
	return b, whole, nil
}

func (f *file) pointerBytes() uint64 {
	if f.flags&compact != 0 {
		return 4
	}
	return 8
}

func (f *file) pointer(b []byte) uint64 {
	if f.flags&compact != 0 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// step moves to the array that holds the next entry. Arrays are only ever
// appended, so that a chain that leads back is damage.
func (f *file) step() error {
	for steps := 0; f.array == 0 || f.total >= f.base+f.items; steps++ {
		if steps > maxSteps {
			return fmt.Errorf("too many arrays: %w", errDamaged)
		}
		next := f.arrays
		if f.array != 0 {
			b, _, err := f.object(f.array, kindArray, arrayBytes)
			if err != nil {
				return err
			}
			next = binary.LittleEndian.Uint64(b[16:])
		}
		if next == 0 {
			return errNotYet
		}
		if next <= f.array {
			return fmt.Errorf("arrays lead back: %w", errDamaged)
		}
		_, size, err := f.object(next, kindArray, arrayBytes)
		if err != nil {
			return err
		}
		f.base += f.items
		f.array, f.items = next, (size-arrayBytes)/f.pointerBytes()
	}
	return nil
}

// end passes all entries that are there.
func (f *file) end() error {
	f.total = f.entries
	err := f.step()
	if errors.Is(err, errNotYet) {
		return nil
	}
	return err
}

// next returns the entry after the one passed last. On damage within the
// entry it is passed all the same.
func (f *file) next() (Entry, error) {
	if f.total >= f.entries {
		return Entry{}, io.EOF
	}
	if err := f.step(); err != nil {
		return Entry{}, err
	}
	b, err := f.read(f.array+arrayBytes+(f.total-f.base)*f.pointerBytes(), f.pointerBytes())
	if err != nil {
		return Entry{}, err
	}
	at := f.pointer(b)
	if at == 0 {
		return Entry{}, errNotYet
	}
	f.total++
	if at <= f.last {
		return Entry{}, fmt.Errorf("entries lead back: %w", errDamaged)
	}
	f.last = at
	return f.entry(at)
}

// skip passes an entry that cannot be read.
func (f *file) skip() { f.total++ }

func (f *file) entry(at uint64) (Entry, error) {
	b, size, err := f.object(at, kindEntry, entryBytes)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{realtime: binary.LittleEndian.Uint64(b[24:]), monotonic: binary.LittleEndian.Uint64(b[32:]), boot: [16]byte(b[40:]),
		hash: binary.LittleEndian.Uint64(b[56:]), Fields: map[string]string{}}
	step := uint64(16)
	if f.flags&compact != 0 {
		step = 4
	}
	n := (size - entryBytes) / step
	if n > maxItems {
		return Entry{}, fmt.Errorf("entry of %d fields: %w", n, errDamaged)
	}
	if b, err = f.read(at+entryBytes, n*step); err != nil {
		return Entry{}, err
	}
	offsets := make([]uint64, n)
	for i := range offsets {
		offsets[i] = f.pointer(b[uint64(i)*step:])
	}
	for _, o := range offsets {
		d, err := f.data(o)
		switch {
		case errors.Is(err, errUnpacked):
			e.unread++
		case err != nil:
			return Entry{}, err
		case d.name != "":
			e.Fields[d.name] = d.value
		}
	}
	return e, nil
}

// data reads one field of an entry, or remembers it.
func (f *file) data(at uint64) (field, error) {
	if d, ok := f.shared[at]; ok {
		return d, nil
	}
	d, users, err := f.readData(at)
	if err != nil {
		return field{}, err
	}
	if users > 1 || d.name == "" {
		if len(f.shared) >= maxRemember {
			clear(f.shared)
		}
		f.shared[at] = d
	}
	return d, nil
}

func (f *file) readData(at uint64) (d field, users uint64, err error) {
	b, size, err := f.object(at, kindData, dataBytes)
	if err != nil {
		return field{}, 0, err
	}
	flags, users := b[1], binary.LittleEndian.Uint64(b[56:])
	head := uint64(dataBytes)
	if f.flags&compact != 0 {
		head += 8
	}
	if size < head {
		return field{}, 0, fmt.Errorf("data of %d bytes: %w", size, errDamaged)
	}
	payload := size - head
	if flags&(objectXZ|objectLZ4|objectZstd) != 0 {
		if payload > maxPacked {
			return field{}, 0, errUnpacked
		}
		packed := make([]byte, payload)
		if _, err := f.r.ReadAt(packed, int64(at+head)); err != nil {
			return field{}, 0, fmt.Errorf("read at %d: %w", at, errDamaged)
		}
		text, err := f.unpack.unpack(flags, packed)
		if err != nil {
			return field{}, 0, err
		}
		return f.named(text), users, nil
	}
	if b, err = f.read(at+head, min(payload, maxName)); err != nil {
		return field{}, 0, err
	}
	if d := f.named(b); d.name == "" || payload <= maxName {
		return d, users, nil
	}
	if b, err = f.read(at+head, min(payload, maxValue)); err != nil {
		return field{}, 0, err
	}
	return f.named(b), users, nil
}

// named splits NAME=value, if the name is wanted.
func (f *file) named(b []byte) field {
	name, value, ok := strings.Cut(string(b[:min(len(b), maxValue)]), "=")
	if !ok || !f.fields[name] {
		return field{}
	}
	return field{name, value}
}
