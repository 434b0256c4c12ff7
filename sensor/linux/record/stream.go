// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"net/netip"
	"slices"
)

// Sides of a connection that this host may be.
const (
	SideClient = iota + 1
	SideServer
)

// What the first bytes of a stream look like.
const (
	PayloadTLS = iota + 1
	PayloadHTTP
	PayloadSSH
	PayloadGreeting // of a server: mail, file transfer
	PayloadDNS
)

// StreamID names a connection within a boot. The kernel reuses addresses.
type StreamID struct{ Sock, Opened uint64 }

// Stream is a connection that was accepted or ended. One that was open before
// the kernel programs were has no beginning and no owner.
type Stream struct {
	Net
	ID                           StreamID
	Sent, Received               uint64 // bytes of payload, each counted once
	PacketsSent, PacketsReceived uint64 // of UDP
	Retransmits                  uint32
	Side, State                  uint32 // State: of TCP, before the end
}

// Payload is a piece of a stream, from its first bytes.
type Payload struct {
	Header
	ID            StreamID
	Seq           uint32 // of the first byte
	Kind          uint16
	Inbound       bool // received by this host
	Side          uint16
	Local, Remote netip.AddrPort
	Bytes         []byte
	Total         uint32 // bytes of the piece that Bytes begins
}

func (c *cursor) net(h Header) Net {
	r := Net{Header: h, Op: c.u32(), Error: c.u32()}
	family := c.u16()
	r.Protocol = c.u16()
	r.Local, r.Remote = c.ends(family)
	return r
}

func decodeStream(c *cursor, h Header) (*Stream, error) {
	r := &Stream{Net: c.net(h), ID: StreamID{c.u64(), c.u64()}}
	r.Sent, r.Received, r.PacketsSent, r.PacketsReceived = c.u64(), c.u64(), c.u64(), c.u64()
	r.Retransmits, r.Side, r.State = c.u32(), c.u32(), c.u32()
	c.u32()
	return r, c.err()
}

func decodePayload(c *cursor, h Header) (*Payload, error) {
	r := &Payload{Header: h, ID: StreamID{c.u64(), c.u64()}, Seq: c.u32(), Kind: c.u16()}
	r.Inbound = c.u16() != 0
	family := c.u16()
	r.Side = c.u16()
	r.Local, r.Remote = c.ends(family)
	n := c.u32()
	r.Total = c.u32()
	r.Bytes = slices.Clone(c.tail(n))
	return r, c.err()
}
