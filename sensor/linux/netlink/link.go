// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlink

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Kinds of change of the network.
const (
	InterfaceCreated = iota + 1
	InterfaceRemoved
	InterfaceUp
	InterfaceDown
	PromiscuousOn
	PromiscuousOff
	AddressAdded
	AddressRemoved
	RouteAdded
	RouteRemoved
)

// Change is one change of the network.
type Change struct {
	What      int
	Index     uint32
	Interface string
	Link      string // kind of interface as the kernel calls it: tun, vlan, bridge; "" for hardware
	Master    string // interface that it is a port of
	Address   netip.Prefix
	Gateway   netip.Addr
	Port      uint32 // of the socket that asked for it; 0: nobody
}

// tunnels are the kinds of interface that carry packets within others, or to a
// program.
var tunnels = []string{
	"amt", "bareudp", "erspan", "geneve", "gre", "gretap", "gtp", "ip6erspan", "ip6gre", "ip6gretap", "ip6tnl", "ipip", "l2tp", "macsec",
	"ovpn", "ppp", "sit", "tun", "vti", "vti6", "vxlan", "wireguard", "xfrm",
}

// IsTunnel reports whether an interface carries packets within others, or to
// a program.
func (c *Change) IsTunnel() bool {
	_, ok := slices.BinarySearch(tunnels, c.Link)
	return ok
}

const (
	maxLinks     = 16384
	maxAddresses = 65536
	maxRoutes    = 1024
	attrMaster   = unix.IFLA_MASTER
)

type link struct {
	name, kind      string
	up, promiscuous bool
}

type address struct {
	index  uint32
	prefix netip.Prefix
}

type route struct {
	index   uint32
	gateway netip.Addr
	family  byte
}

// Links follows interfaces, addresses and default routes.
type Links struct {
	s         *Socket
	lost      func(n uint64)
	links     map[uint32]link
	addresses map[address]bool
	routes    map[route]bool
	learning  bool // the first lists are on their way
	asked     uint32
}

// OpenLinks subscribes to changes in the network namespace of the calling
// thread. lost is told when messages did not find room.
func OpenLinks(lost func(n uint64)) (*Links, error) {
	s, err := open(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return nil, err
	}
	// A router may change a million routes: those that are not the default stay
	// in the kernel. Where the filter is refused they are dropped here.
	_ = unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, defaultRoutes())
	return newLinks(s, lost), nil
}

func newLinks(s *Socket, lost func(n uint64)) *Links {
	return &Links{s: s, lost: lost, links: map[uint32]link{}, addresses: map[address]bool{}, routes: map[route]bool{}}
}

// defaultRoutes is a filter that lets messages about routes pass only when
// their destination has no length. Numbers are read as if in network order.
func defaultRoutes() *unix.SockFprog {
	swap := func(n uint16) uint32 { return uint32(n>>8 | n<<8) }
	f := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 2, K: swap(unix.RTM_NEWROUTE)},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: swap(unix.RTM_DELROUTE)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 30},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: headerSize + 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 30},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return &unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
}

// Run hands changes to emit until ctx ends. What is there at first is no
// change.
func (l *Links) Run(ctx context.Context, emit func(Change)) error {
	l.learning = true
	if err := l.s.ask(unix.RTM_GETLINK, 1); err != nil {
		return err
	}
	return l.s.receive(ctx, func(m Message) { l.message(m, emit) }, func() error {
		l.lost(1)
		if l.learning {
			return nil // what was asked for is still coming
		}
		return l.s.ask(unix.RTM_GETLINK, l.asked+1) // what changed meanwhile is told
	})
}

// message takes one message. The end of the first list asks for the second.
func (l *Links) message(m Message, emit func(Change)) {
	told := emit
	if l.learning && m.Flags&unix.NLM_F_MULTI != 0 {
		told = func(Change) {}
	}
	switch m.Type {
	case unix.NLMSG_DONE:
		if m.Seq%2 == 1 && l.s != nil && l.s.ask(unix.RTM_GETADDR, m.Seq+1) == nil {
			l.asked = m.Seq + 1
			return
		}
		l.learning = false
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l.link(m, told)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		l.address(m, told)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		l.route(m, told)
	}
}

// link compares an interface with what was known of it.
func (l *Links) link(m Message, emit func(Change)) {
	if len(m.Body) < unix.SizeofIfInfomsg || m.Body[0] == unix.AF_BRIDGE {
		return
	}
	index, flags := native(m.Body[4:]), native(m.Body[8:])
	c := Change{Index: index, Port: m.Port}
	promiscuity := uint32(0)
	attributes(m.Body[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			c.Interface = text(v)
		case unix.IFLA_PROMISCUITY:
			promiscuity = native(v)
		case attrMaster:
			c.Master = l.links[native(v)].name
		case unix.IFLA_LINKINFO:
			attributes(v, func(kind uint16, v []byte) {
				if kind == unix.IFLA_INFO_KIND {
					c.Link = text(v)
				}
			})
		}
	})
	old, known := l.links[index]
	tell := func(what int) { c.What = what; emit(c) }
	if m.Type == unix.RTM_DELLINK {
		if known {
			c.Link = old.kind
			delete(l.links, index)
			tell(InterfaceRemoved)
		}
		return
	}
	if !known && len(l.links) >= maxLinks {
		l.lost(1)
		return
	}
	now := link{c.Interface, c.Link, flags&unix.IFF_UP != 0, flags&unix.IFF_PROMISC != 0 || promiscuity > 0 && c.Master == ""}
	l.links[index] = now
	switch {
	case !known:
		tell(InterfaceCreated)
	case now.up != old.up && now.up:
		tell(InterfaceUp)
	case now.up != old.up:
		tell(InterfaceDown)
	}
	if now.promiscuous != old.promiscuous {
		tell(map[bool]int{true: PromiscuousOn, false: PromiscuousOff}[now.promiscuous])
	}
}

// address tells of one that is new or gone, not of one that is renewed or of
// the link alone.
func (l *Links) address(m Message, emit func(Change)) {
	if len(m.Body) < unix.SizeofIfAddrmsg {
		return
	}
	bits, index := int(m.Body[1]), native(m.Body[4:])
	var local, remote netip.Addr
	attributes(m.Body[unix.SizeofIfAddrmsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			remote, _ = netip.AddrFromSlice(v)
		}
	})
	if !local.IsValid() {
		local = remote
	}
	if !local.IsValid() || local.IsLinkLocalUnicast() || bits > local.BitLen() {
		return
	}
	a := address{index, netip.PrefixFrom(local, bits)}
	c := Change{What: AddressAdded, Index: index, Interface: l.links[index].name, Link: l.links[index].kind, Address: a.prefix, Port: m.Port}
	if m.Type == unix.RTM_DELADDR {
		c.What = AddressRemoved
		delete(l.addresses, a)
	} else {
		if l.addresses[a] {
			return
		}
		if len(l.addresses) >= maxAddresses {
			l.lost(1)
			return
		}
		l.addresses[a] = true
	}
	emit(c)
}

// route tells of default routes of the main table.
func (l *Links) route(m Message, emit func(Change)) {
	if len(m.Body) < unix.SizeofRtMsg {
		return
	}
	family, length, table, kind := m.Body[0], m.Body[1], uint32(m.Body[4]), m.Body[7]
	if length != 0 || kind != unix.RTN_UNICAST || family != unix.AF_INET && family != unix.AF_INET6 {
		return
	}
	r := route{family: family}
	attributes(m.Body[unix.SizeofRtMsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.RTA_OIF:
			r.index = native(v)
		case unix.RTA_GATEWAY:
			r.gateway, _ = netip.AddrFromSlice(v)
		case unix.RTA_TABLE:
			table = native(v)
		case unix.RTA_MULTIPATH: // the first hop stands for all
			if len(v) >= 8 && r.index == 0 {
				r.index = binary.NativeEndian.Uint32(v[4:])
			}
		}
	})
	if table != unix.RT_TABLE_MAIN {
		return
	}
	c := Change{What: RouteAdded, Index: r.index, Interface: l.links[r.index].name, Link: l.links[r.index].kind, Gateway: r.gateway, Port: m.Port}
	if m.Type == unix.RTM_DELROUTE {
		c.What = RouteRemoved
		delete(l.routes, r)
	} else {
		if l.routes[r] {
			return
		}
		if len(l.routes) >= maxRoutes {
			clear(l.routes) // a host has one or two: these are not remembered well
		}
		l.routes[r] = true
	}
	emit(c)
}
