// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func TestJoinPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                     "/",
		"ls\x00bin\x00usr\x00": "/usr/bin/ls",
		"memfd:x\x00":          "/memfd:x",
		"a\xff\x00tmp\x00":     "/tmp/a\uFFFD",
		"\x00\x00":             "//",
	} {
		if got := joinPath([]byte(in)); got != want {
			t.Errorf("joinPath(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	mapped := netip.MustParseAddr("::ffff:192.0.2.1").As16()
	for _, c := range []struct {
		family uint16
		bytes  []byte
		want   string
	}{
		{2, []byte{192, 0, 2, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, "192.0.2.9"},
		{10, mapped[:], "192.0.2.1"},
		{10, netip.MustParseAddr("2001:db8::1").AsSlice(), "2001:db8::1"},
		{1, make([]byte, 16), "invalid IP"},
	} {
		if got := address(c.family, c.bytes).String(); got != c.want {
			t.Errorf("address(%d, %v) = %s, want %s", c.family, c.bytes, got, c.want)
		}
	}
}

func TestDecodeTasks(t *testing.T) {
	t.Parallel()
	one := make([]byte, TaskSize)
	binary.LittleEndian.PutUint16(one, TypeTask)
	binary.LittleEndian.PutUint32(one[4:], TaskSize)
	binary.LittleEndian.PutUint32(one[36:], 77)
	b := append(append([]byte(nil), one...), one...)
	b = append(b, one[:50]...)
	got := Tasks(b)
	if len(got) != 2 || got[0].PID != 77 {
		t.Errorf("got %d records: %+v", len(got), got)
	}
}

func FuzzDecodeTasks(f *testing.F) {
	f.Add(make([]byte, TaskSize*2+5))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(Tasks(b)); n > len(b)/TaskSize {
			t.Fatalf("%d records out of %d bytes", n, len(b))
		}
	})
}
