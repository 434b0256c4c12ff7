// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Sizes on disk.
const (
	segmentMagic  = "PKSPOOL1"
	segmentHeader = 160
	recordMagic   = 0x31524b50 // PKR1
	recordHeader  = 48
	maxBoot       = 128
	maxPayload    = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header starts a segment. All records of a segment are of one boot and one
// class.
type header struct {
	class Class
	boot  string
	salt  uint64 // random: makes record checksums of this file unforgeable by data in payloads
	rows  uint64 // rows of the class that the boot had appended before this segment
}

func (h *header) encode() []byte {
	b := make([]byte, segmentHeader)
	copy(b, segmentMagic)
	b[8], b[9] = byte(h.class), byte(len(h.boot))
	binary.LittleEndian.PutUint64(b[12:], h.salt)
	binary.LittleEndian.PutUint64(b[20:], h.rows)
	copy(b[28:28+maxBoot], h.boot)
	binary.LittleEndian.PutUint32(b[segmentHeader-4:], crc32.Checksum(b[:segmentHeader-4], castagnoli))
	return b
}

func decodeHeader(b []byte) (header, error) {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic {
		return header{}, fmt.Errorf("segment header: not a segment: %w", picket.Invalid)
	}
	b = b[:segmentHeader]
	if crc32.Checksum(b[:segmentHeader-4], castagnoli) != binary.LittleEndian.Uint32(b[segmentHeader-4:]) {
		return header{}, fmt.Errorf("segment header: checksum does not match: %w", picket.Invalid)
	}
	h := header{class: Class(b[8]), salt: binary.LittleEndian.Uint64(b[12:]), rows: binary.LittleEndian.Uint64(b[20:])}
	if h.class >= classes || int(b[9]) > maxBoot {
		return header{}, fmt.Errorf("segment header: class %d, boot id of %d bytes: %w", b[8], b[9], picket.Invalid)
	}
	h.boot = string(b[28 : 28+int(b[9])])
	return h, nil
}

// record precedes each payload.
type record struct {
	length uint32
	seq    uint64
	report int64  // greatest report id in the batch
	before uint64 // rows of the class that the boot had appended before this record
	rows   uint32
	sum    uint32 // checksum of the payload
	flags  uint32
}

// flagAccount marks a batch that accounts for losses.
const flagAccount = 1

func (r *record) end() uint64 { return r.before + uint64(r.rows) }
func (r *record) size() int64 { return recordHeader + int64(r.length) }

func (r *record) encode(salt uint64) []byte {
	b := make([]byte, recordHeader, recordHeader+int(r.length))
	binary.LittleEndian.PutUint32(b, recordMagic)
	binary.LittleEndian.PutUint32(b[4:], r.length)
	binary.LittleEndian.PutUint64(b[8:], r.seq)
	binary.LittleEndian.PutUint64(b[16:], uint64(r.report))
	binary.LittleEndian.PutUint64(b[24:], r.before)
	binary.LittleEndian.PutUint32(b[32:], r.rows)
	binary.LittleEndian.PutUint32(b[36:], r.sum)
	binary.LittleEndian.PutUint32(b[40:], r.flags)
	binary.LittleEndian.PutUint32(b[recordHeader-4:], headerSum(salt, b))
	return b
}

func headerSum(salt uint64, b []byte) uint32 {
	var s [8]byte
	binary.LittleEndian.PutUint64(s[:], salt)
	return crc32.Update(crc32.Checksum(s[:], castagnoli), castagnoli, b[:recordHeader-4])
}

// decodeRecord reads a record header, and reports whether there is one.
func decodeRecord(b []byte, salt uint64) (record, bool) {
	if len(b) < recordHeader || binary.LittleEndian.Uint32(b) != recordMagic ||
		binary.LittleEndian.Uint32(b[recordHeader-4:]) != headerSum(salt, b) {
		return record{}, false
	}
	r := record{
		length: binary.LittleEndian.Uint32(b[4:]),
		seq:    binary.LittleEndian.Uint64(b[8:]),
		report: int64(binary.LittleEndian.Uint64(b[16:])),
		before: binary.LittleEndian.Uint64(b[24:]),
		rows:   binary.LittleEndian.Uint32(b[32:]),
		sum:    binary.LittleEndian.Uint32(b[36:]),
		flags:  binary.LittleEndian.Uint32(b[40:]),
	}
	return r, r.length <= maxPayload && r.seq > 0
}

var classLetters = [classes]string{"l", "n", "h"}

func segmentName(id uint64, c Class) string { return fmt.Sprintf("%016x-%s.seg", id, classLetters[c]) }

// parseSegmentName returns the number and class in the name of a segment file.
func parseSegmentName(name string) (id uint64, c Class, ok bool) {
	hex, rest, found := strings.Cut(name, "-")
	if !found || len(hex) != 16 {
		return 0, 0, false
	}
	id, err := strconv.ParseUint(hex, 16, 64)
	if err != nil || id == 0 {
		return 0, 0, false
	}
	for i, l := range classLetters {
		if rest == l+".seg" {
			return id, Class(i), true
		}
	}
	return 0, 0, false
}

// greatestReport returns the greatest report id in blocks.
func greatestReport(blocks []*event.Block) int64 {
	var most int64
	for _, b := range blocks {
		if c := b.Column("ReportId"); c != nil {
			for _, v := range c.Ints {
				most = max(most, v)
			}
		}
	}
	return most
}
