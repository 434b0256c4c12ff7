// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// raw puts a record together: the header, then the given parts.
func raw(kind uint16, parts ...any) []byte {
	b := make([]byte, HeaderSize)
	binary.LittleEndian.PutUint16(b, kind)
	for _, p := range parts {
		b, _ = binary.Append(b, binary.LittleEndian, p) // of fixed sizes: cannot fail
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	return b
}

var (
	v4        = netip.MustParseAddrPort("192.0.2.1:443")
	loopback4 = [16]byte{127, 0, 0, 1}
	remote4   = [16]byte{192, 0, 2, 1}
	compare   = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
)

func TestDecodeStream(t *testing.T) {
	t.Parallel()
	b := raw(TypeStream, uint32(NetClosed), uint32(104), []uint16{2, 6, 4000, 443}, loopback4, remote4,
		[]uint64{7, 8, 100, 200, 3, 4}, []uint32{5, SideClient, 1, 0})
	if len(b) != 208 {
		t.Fatalf("%d bytes", len(b))
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := &Stream{Net: Net{Header: Header{Type: TypeStream, Len: 208}, Op: NetClosed, Error: 104, Protocol: 6,
		Local: netip.MustParseAddrPort("127.0.0.1:4000"), Remote: v4},
		ID: StreamID{7, 8}, Sent: 100, Received: 200, PacketsSent: 3, PacketsReceived: 4, Retransmits: 5, Side: SideClient, State: 1}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
	if _, err := Decode(cut(b, 200)); !errors.Is(err, ErrShort) {
		t.Errorf("a cut record: %v", err)
	}
}

func TestDecodePayload(t *testing.T) {
	t.Parallel()
	b := raw(TypePayload, []uint64{7, 8}, uint32(99), []uint16{PayloadSSH, 1, 2, SideServer, 22, 4000}, loopback4, remote4,
		[]uint32{4, 40}, []byte("SSH-"), make([]byte, 20))
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := &Payload{Header: Header{Type: TypePayload, Len: uint32(len(b))}, ID: StreamID{7, 8}, Seq: 99, Kind: PayloadSSH, Inbound: true, Side: SideServer,
		Local: netip.MustParseAddrPort("127.0.0.1:22"), Remote: netip.MustParseAddrPort("192.0.2.1:4000"), Bytes: []byte("SSH-"), Total: 40}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
	binary.LittleEndian.PutUint32(b[160:], 25)
	if _, err := Decode(b); !errors.Is(err, ErrShort) {
		t.Errorf("more bytes than there are: %v", err)
	}
}

// cut is a record that ends early and says so.
func cut(b []byte, n int) []byte {
	b = append([]byte(nil), b[:n]...)
	binary.LittleEndian.PutUint32(b[4:], uint32(n))
	return b
}

func FuzzDecode(f *testing.F) {
	f.Add(raw(TypeStream, make([]byte, 112)))
	f.Add(raw(TypePayload, make([]byte, 100)))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := Decode(b)
		if p, ok := rec.(*Payload); ok && err == nil && len(p.Bytes) > len(b) {
			t.Fatalf("%d bytes of payload in %d", len(p.Bytes), len(b))
		}
	})
}
