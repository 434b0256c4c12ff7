// SPDX-License-Identifier: Apache-2.0

//go:build linux

package journal

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const maxUnpacked = 1 << 20

// unpacker undoes what the journal does to long data.
type unpacker struct{ zstd *zstd.Decoder }

func newUnpacker() (*unpacker, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &unpacker{d}, nil
}

func (u *unpacker) close() { u.zstd.Close() }

func (u *unpacker) unpack(flags byte, b []byte) ([]byte, error) {
	switch flags & (objectXZ | objectLZ4 | objectZstd) {
	case objectZstd:
		out, err := u.zstd.DecodeAll(b, nil)
		if err != nil {
			return nil, fmt.Errorf("zstd: %w: %w", err, errUnpacked)
		}
		return out, nil
	case objectLZ4:
		if len(b) < 8 {
			return nil, fmt.Errorf("lz4 of %d bytes: %w", len(b), errDamaged)
		}
		size := binary.LittleEndian.Uint64(b)
		return unpackLZ4(b[8:], int(min(size, maxValue)))
	}
	return nil, errUnpacked
}

// unpackLZ4 undoes one block of LZ4, up to size bytes: literals, then a copy of
// what was put out before, and so on.
func unpackLZ4(b []byte, size int) ([]byte, error) {
	out := make([]byte, 0, size)
	for len(b) > 0 && len(out) < size {
		token := b[0]
		literals, rest, ok := lz4Length(int(token>>4), b[1:])
		if !ok || literals > len(rest) {
			return nil, fmt.Errorf("lz4 literals: %w", errDamaged)
		}
		out = append(out, rest[:min(literals, size-len(out))]...)
		b = rest[literals:]
		if len(b) == 0 || len(out) >= size {
			break // the last sequence has no copy
		}
		if len(b) < 2 {
			return nil, fmt.Errorf("lz4 offset: %w", errDamaged)
		}
		back := int(binary.LittleEndian.Uint16(b))
		length, rest, ok := lz4Length(int(token&15), b[2:])
		if !ok || back == 0 || back > len(out) {
			return nil, fmt.Errorf("lz4 copy: %w", errDamaged)
		}
		b = rest
		for range min(length+4, size-len(out)) { // the copy may overlap itself
			out = append(out, out[len(out)-back])
		}
	}
	return out, nil
}

// lz4Length reads a length whose first part is in the token.
func lz4Length(n int, b []byte) (length int, rest []byte, ok bool) {
	if n != 15 {
		return n, b, true
	}
	for len(b) > 0 && n < maxUnpacked {
		more := b[0]
		n, b = n+int(more), b[1:]
		if more != 255 {
			return n, b, true
		}
	}
	return 0, nil, false
}
