// SPDX-License-Identifier: Apache-2.0

package event

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/picket-edr/picket"
)

// Hash links a batch to the one before it: the SHA-256 of its encoding.
type Hash [32]byte

// HashOf returns the hash of an encoded batch.
func HashOf(payload []byte) Hash { return sha256.Sum256(payload) }

// Batch is what a sensor sends at once: rows of several tables, numbered
// within the boot of the device from 1, each carrying the hash of the batch
// before it (zero for the first of a boot).
type Batch struct {
	BootID  string
	Seq     uint64
	Prev    Hash
	Created Time // sensor's clock
	Blocks  []*Block
	Rest    int // batches that follow with rows of the same moment: of all together, report ids give the order
}

// maxRest is one batch for each other value class of rows.
const maxRest = 2

// Rows returns the number of rows in all blocks.
func (b *Batch) Rows() int {
	n := 0
	for _, blk := range b.Blocks {
		n += blk.Rows
	}
	return n
}

// Limits bound what Decode accepts.
type Limits struct {
	Compressed int // bytes as received
	Raw        int // bytes after decompression
	Rows       int // rows in all blocks
	Cells      int // rows times columns, in all blocks: bounds the memory taken
	Text       int // bytes of one string
}

// DefaultLimits suit a gateway: a sensor's batch is far below them.
var DefaultLimits = Limits{Compressed: 8 << 20, Raw: 64 << 20, Rows: 65536, Cells: 6 << 20, Text: 1 << 20}

// Blocks and columns that one batch may hold; far above what any sensor sends.
const (
	maxBlocks  = 64
	maxColumns = 512
	maxName    = 128
)

// magic starts every encoded batch; its last byte is the version.
const magic = "PKB\x01"

var (
	encoder = newEncoder()
	decoder = newDecoder()
)

func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err) // the options are constants: a mistake of the programmer
	}
	return e
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(uint64(DefaultLimits.Raw)), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderConcurrency(2))
	if err != nil {
		panic(err) // the options are constants: a mistake of the programmer
	}
	return d
}

// Encode returns the compressed, self-describing form of the batch: columns
// carry their name and type, so a reader of another version keeps what it
// knows. The result of encoding the same batch twice is the same.
func (b *Batch) Encode() ([]byte, error) {
	if len(b.BootID) > maxName {
		return nil, fmt.Errorf("encode batch: boot id of %d bytes: %w", len(b.BootID), picket.TooLarge)
	}
	w := writer{buf: make([]byte, 0, 64<<10)}
	w.string(b.BootID)
	w.uvarint(b.Seq)
	w.buf = append(w.buf, b.Prev[:]...)
	w.varint(int64(b.Created))
	w.uvarint(uint64(len(b.Blocks)))
	for _, blk := range b.Blocks {
		if err := w.block(blk); err != nil {
			return nil, fmt.Errorf("encode batch %d: %w", b.Seq, err)
		}
	}
	if b.Rest != 0 {
		if b.Rest < 0 || b.Rest > maxRest {
			return nil, fmt.Errorf("encode batch %d: %d batches follow: %w", b.Seq, b.Rest, picket.Invalid)
		}
		w.uvarint(uint64(b.Rest)) // left out where none follow, as by older sensors
	}
	head := binary.AppendUvarint([]byte(magic), uint64(len(w.buf)))
	return encoder.EncodeAll(w.buf, head), nil
}

// RawSize returns how many bytes Decode of an encoded batch will hold after
// decompression, 0 when it is no batch. Decode refuses a batch that holds
// more than it tells, so that the work can be paid for in advance.
func RawSize(payload []byte) uint64 {
	if len(payload) < len(magic) || string(payload[:len(magic)]) != magic {
		return 0
	}
	size, _ := binary.Uvarint(payload[len(magic):])
	return size
}

// Decode reads an encoded batch. Every error wraps picket.Invalid or
// picket.TooLarge. Tables and columns that this build does not know are kept.
func Decode(payload []byte, l Limits) (*Batch, error) {
	if len(payload) > l.Compressed {
		return nil, fmt.Errorf("decode batch: %d bytes, at most %d: %w", len(payload), l.Compressed, picket.TooLarge)
	}
	if len(payload) < len(magic) || string(payload[:len(magic)]) != magic {
		return nil, fmt.Errorf("decode batch: not a batch of a known version: %w", picket.Invalid)
	}
	size, n := binary.Uvarint(payload[len(magic):])
	if n <= 0 {
		return nil, fmt.Errorf("decode batch: ends early: %w", picket.Invalid)
	}
	if size > uint64(l.Raw) {
		return nil, fmt.Errorf("decode batch: %d bytes after decompression, at most %d: %w", size, l.Raw, picket.TooLarge)
	}
	// The decoder stops at the capacity: a batch takes no more than it told.
	raw, err := decoder.DecodeAll(payload[len(magic)+n:], make([]byte, 0, size))
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return nil, fmt.Errorf("decode batch: zstd: %v: %w", err, picket.TooLarge)
	}
	if err != nil {
		return nil, fmt.Errorf("decode batch: zstd: %v: %w", err, picket.Invalid)
	}
	if uint64(len(raw)) != size {
		return nil, fmt.Errorf("decode batch: %d bytes after decompression, not the %d that it tells: %w", len(raw), size, picket.Invalid)
	}
	p := parser{data: string(raw), limits: l}
	b := p.batch()
	if p.err != nil {
		return nil, fmt.Errorf("decode batch at byte %d: %w", p.pos, p.err)
	}
	return b, nil
}
