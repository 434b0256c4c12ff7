// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"golang.org/x/sys/unix"
)

var families = map[uint64]string{unix.AF_UNIX: "Unix", unix.AF_INET: "IPv4", unix.AF_INET6: "IPv6", unix.AF_NETLINK: "Netlink",
	unix.AF_PACKET: "Packet", unix.AF_XDP: "Xdp"}

var socketTypes = map[uint64]string{unix.SOCK_STREAM: "Stream", unix.SOCK_DGRAM: "Datagram", unix.SOCK_RAW: "Raw",
	unix.SOCK_SEQPACKET: "SequencedPacket"}

var protocols = map[uint64]string{unix.IPPROTO_ICMP: "Icmp", unix.IPPROTO_TCP: "Tcp", unix.IPPROTO_UDP: "Udp", unix.IPPROTO_ICMPV6: "IcmpV6",
	unix.IPPROTO_RAW: "Raw", unix.IPPROTO_SCTP: "Sctp", unix.IPPROTO_GRE: "Gre"}

// socket explains what was done with a socket.
func (t *Told) socket(r *Action) bool {
	switch r.Kind {
	case RawSocket:
		t.Action = "RawSocketCreated"
		t.Extra["Family"], t.Extra["SocketType"] = named(families, r.Args[0]), named(socketTypes, r.Args[1])
		t.Extra["SocketProtocol"] = named(protocols, r.Args[2])
	case PacketSocket:
		t.Action = "PacketSocketCreated"
		t.Extra["Family"], t.Extra["SocketType"] = named(families, r.Args[0]), named(socketTypes, r.Args[1])
		t.Extra["EtherType"] = hexadecimal(swapped(r.Args[2]))
	case SocketFilter:
		t.Action = "SocketFilterAttached"
		t.Extra["Family"], t.Extra["SocketType"] = named(families, r.Args[1]), named(socketTypes, r.Args[2])
		t.Extra["Bpf"] = r.Args[0] == unix.SO_ATTACH_BPF
	case UnixConnect:
		t.Action, t.Path = "DaemonSocketConnected", Place(r.Base, r.Name)
		if r.Args[0] != 0 {
			t.Extra["SocketType"] = named(socketTypes, r.Args[0])
		}
	default:
		return false
	}
	return true
}

// swapped is a 16-bit number that was passed in the order of the network.
func swapped(n uint64) uint64 { return (n&0xff)<<8 | n>>8&0xff }
