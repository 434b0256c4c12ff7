// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package netlink follows what the kernel says about the network itself:
// interfaces, addresses, default routes, and the rules of nf_tables. It
// subscribes and asks for lists, but never changes anything. It sees the
// network namespace that it was opened in.
package netlink

import (
	"bytes"
	"encoding/binary"
	"strings"
)

const (
	headerSize = 16
	maxName    = 128 // bytes of a name that is kept
)

// Message is one message of netlink. Its body lasts as long as the datagram.
type Message struct {
	Type, Flags uint16
	Seq, Port   uint32 // Port: of the socket that asked for it, most often the id of its process
	Body        []byte
}

// Each calls f with the messages of a datagram. It reports whether the
// datagram was whole.
func Each(b []byte, f func(Message)) bool {
	for len(b) > 0 {
		if len(b) < headerSize {
			return false
		}
		n := int(binary.NativeEndian.Uint32(b))
		if n < headerSize || n > len(b) {
			return false
		}
		f(Message{
			Type: binary.NativeEndian.Uint16(b[4:]), Flags: binary.NativeEndian.Uint16(b[6:]),
			Seq: binary.NativeEndian.Uint32(b[8:]), Port: binary.NativeEndian.Uint32(b[12:]), Body: b[headerSize:n],
		})
		b = b[min(align(n), len(b)):]
	}
	return true
}

func align(n int) int { return (n + 3) &^ 3 }

// attributes calls f with each attribute of a message. What is cut ends it.
func attributes(b []byte, f func(kind uint16, value []byte)) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:n]) // without the flags for nested and network order
		b = b[min(align(n), len(b)):]
	}
}

// text is a name in an attribute.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	if len(b) > maxName {
		b = b[:maxName]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// native is a number of the host's byte order; 0 when it is not there.
func native(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// big is a number of network byte order; 0 when it is not there.
func big(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}
