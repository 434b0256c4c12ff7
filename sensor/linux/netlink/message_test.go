// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlink

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// wire writes a message.
func wire(kind, flags uint16, port uint32, body []byte) []byte {
	b := make([]byte, headerSize, headerSize+len(body)+3)
	binary.NativeEndian.PutUint32(b, uint32(headerSize+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	binary.NativeEndian.PutUint32(b[8:], 5)
	binary.NativeEndian.PutUint32(b[12:], port)
	return pad(append(b, body...))
}

func pad(b []byte) []byte { return append(b, make([]byte, align(len(b))-len(b))...) }

// attr writes an attribute.
func attr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	return pad(append(binary.NativeEndian.AppendUint16(b, kind), value...))
}

func name(s string) []byte { return append([]byte(s), 0) }

func TestEach(t *testing.T) {
	t.Parallel()
	b := append(wire(7, 1, 9, []byte("abc")), wire(8, 0, 0, nil)...)
	var got []Message
	if !Each(b, func(m Message) { got = append(got, m) }) {
		t.Error("a whole datagram was refused")
	}
	want := []Message{{Type: 7, Flags: 1, Seq: 5, Port: 9, Body: []byte("abc")}, {Type: 8, Seq: 5, Body: []byte{}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for n := range b {
		if whole := Each(b[:n], func(Message) {}); whole && n != 0 && n != 19 && n != 20 {
			t.Errorf("%d bytes are whole", n)
		}
	}
	if Each(wire(1, 0, 0, nil)[:15], func(Message) {}) || Each(make([]byte, 16), func(Message) {}) {
		t.Error("no message at all was accepted")
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	b := append(attr(1, name("one")), attr(2|1<<15, []byte{1})...)
	var got []string
	attributes(b, func(kind uint16, v []byte) { got = append(got, string(rune('0'+kind))+text(v)) })
	if diff := cmp.Diff([]string{"1one", "2\x01"}, got); diff != "" {
		t.Error(diff)
	}
	for n := range b {
		attributes(b[:n], func(uint16, []byte) {})
	}
	if text([]byte("a\xff")) != "a\uFFFD" || len(text(make([]byte, 300))) != 0 || native([]byte{1}) != 0 || big([]byte{1}) != 0 {
		t.Error("values")
	}
}

// Whatever the kernel seems to say, nothing breaks and nothing grows.
func FuzzMessages(f *testing.F) {
	f.Add(wire(unix.RTM_NEWLINK, 0, 0, linkBody(3, "tun0", "tun", unix.IFF_UP, 1)))
	f.Add(wire(unix.RTM_NEWADDR, 0, 0, make([]byte, 24)))
	f.Add(wire(unix.RTM_NEWROUTE, 0, 0, make([]byte, 24)))
	f.Add(wire(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWRULE, 0, 0, append([]byte{1, 0, 0, 0}, attr(1, name("t"))...)))
	f.Add(wire(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN, 0, 0, append([]byte{0, 0, 0, 0}, attr(3, name("nft"))...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := newLinks(nil, func(uint64) {})
		w := &Firewall{lost: func(uint64) {}}
		n := 0
		Each(b, func(m Message) {
			l.message(m, func(Change) { n++ })
			w.message(m, func(Transaction) { n++ })
		})
		if n > len(b)/headerSize*2 {
			t.Fatalf("%d changes in %d bytes", n, len(b))
		}
	})
}
