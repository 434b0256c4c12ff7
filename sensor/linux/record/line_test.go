// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"encoding/binary"
	"errors"
	"testing"
)

// lineBytes makes a record as bpf/script.bpf.c does.
func lineBytes(flags uint16, source uint32, text string) []byte {
	b := make([]byte, HeaderSize+8, HeaderSize+8+len(text)+1)
	binary.LittleEndian.PutUint16(b, TypeLine)
	binary.LittleEndian.PutUint16(b[2:], flags)
	binary.LittleEndian.PutUint32(b[4:], uint32(HeaderSize+8+len(text)+1))
	binary.LittleEndian.PutUint32(b[HeaderSize:], source)
	binary.LittleEndian.PutUint32(b[HeaderSize+4:], uint32(len(text)+1))
	return append(append(b, text...), 0)
}

func TestDecodeLine(t *testing.T) {
	t.Parallel()
	rec, err := Decode(lineBytes(FlagArgsCut, LineZLE, "ls -la"))
	r, ok := rec.(*Line)
	if err != nil || !ok || r.Text != "ls -la" || r.Source != LineZLE || !r.Cut || r.Unreadable {
		t.Errorf("%+v %v", rec, err)
	}
	b := lineBytes(0, LineReadline, "ls")
	binary.LittleEndian.PutUint32(b[HeaderSize+4:], 1<<30)
	if _, err := Decode(b); !errors.Is(err, ErrShort) {
		t.Errorf("a length beyond the record: %v", err)
	}
}

func FuzzLine(f *testing.F) {
	f.Add(lineBytes(0, LineReadline, "ls"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if rec, err := Decode(b); err == nil {
			if r, ok := rec.(*Line); ok && len(r.Text) > len(b) {
				t.Fatalf("%d bytes out of %d", len(r.Text), len(b))
			}
		}
	})
}
