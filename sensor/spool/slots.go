// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// slots is a small file that is overwritten in place, one of three slots at a
// time: never the newest, so that a torn write leaves the value before it, and
// never the newest that was synced, so that one outlives a power cut.
// Overwriting needs no free space: it works on a full disk.
type slots struct {
	f File

	mu     sync.Mutex
	gen    uint64
	last   int // slot written last
	synced int // slot that is known to be durable
}

const (
	slotSize    = 2048
	slotStride  = 4096 // one slot never shares a page with the other
	slotPayload = slotSize - 16
	slotCount   = 3
)

// openSlots opens or makes the file and returns the newest whole value, nil
// when there is none. What it returns besides an error can be used.
func openSlots(fs FS, name string) (*slots, []byte, error) {
	f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", name, err)
	}
	s := &slots{f: f}
	if err := s.allocate(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("allocate %s: %w", name, err), f.Close())
	}
	var newest []byte
	for i := range slotCount {
		b := make([]byte, slotSize)
		if n, err := f.ReadAt(b, int64(i)*slotStride); err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, errors.Join(fmt.Errorf("read %s: %w", name, err), f.Close())
		} else if n < slotSize {
			continue
		}
		gen, payload, ok := decodeSlot(b)
		if ok && gen > s.gen {
			s.gen, newest, s.last, s.synced = gen, payload, i, i
		}
	}
	if newest == nil {
		return s, nil, nil
	}
	return s, newest, f.Sync() // a killed run may not have done so
}

// allocate makes the file as long as it will ever be, while there is room.
func (s *slots) allocate() error {
	const length = (slotCount-1)*slotStride + slotSize
	size, err := s.f.Size()
	if err != nil || size >= length {
		return err
	}
	_, err = s.f.WriteAt(make([]byte, length-size), size)
	return err
}

func decodeSlot(b []byte) (gen uint64, payload []byte, ok bool) {
	n := int(binary.LittleEndian.Uint32(b[8:]))
	if n > slotPayload || crc32.Checksum(b[:slotSize-4], castagnoli) != binary.LittleEndian.Uint32(b[slotSize-4:]) {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint64(b), b[12 : 12+n], true
}

// write replaces the value.
func (s *slots) write(payload []byte) error {
	if len(payload) > slotPayload {
		return fmt.Errorf("slot of %d bytes, at most %d", len(payload), slotPayload)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := make([]byte, slotSize)
	binary.LittleEndian.PutUint64(b, s.gen+1)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(payload)))
	copy(b[12:], payload)
	binary.LittleEndian.PutUint32(b[slotSize-4:], crc32.Checksum(b[:slotSize-4], castagnoli))
	to := 0
	for to == s.last || to == s.synced {
		to++
	}
	if _, err := s.f.WriteAt(b, int64(to)*slotStride); err != nil {
		return err
	}
	s.gen++
	s.last = to
	return nil
}

// sync makes the value durable.
func (s *slots) sync() error {
	s.mu.Lock()
	last, gen := s.last, s.gen
	s.mu.Unlock()
	if err := s.f.Sync(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen-gen <= 1 { // last is not overwritten yet
		s.synced = last
	}
	return nil
}
