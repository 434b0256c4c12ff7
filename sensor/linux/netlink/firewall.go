// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlink

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	maxNamed = 32 // tables and chains that a transaction names
	genSize  = 4  // of struct nfgenmsg
)

// Transaction is what was changed at once in the rules of nf_tables.
type Transaction struct {
	Families []string       // inet, ip, ip6, arp, bridge, netdev
	Tables   []string       // that were touched
	Chains   []string       // of these tables: table/chain
	Changes  map[string]int // number by kind: RuleAdded, ChainRemoved
	PID      uint32         // thread that asked for it; 0: not told
	Command  string         // its name
}

// Firewall follows the rules of nf_tables.
type Firewall struct {
	s    *Socket
	lost func(n uint64)
	open *Transaction // until the kernel says that it is done
}

// OpenFirewall subscribes to changes in the network namespace of the calling
// thread. lost is told when messages did not find room.
func OpenFirewall(lost func(n uint64)) (*Firewall, error) {
	s, err := open(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return nil, err
	}
	return &Firewall{s: s, lost: lost}, nil
}

// Run hands transactions to emit until ctx ends.
func (f *Firewall) Run(ctx context.Context, emit func(Transaction)) error {
	return f.s.receive(ctx, func(m Message) { f.message(m, emit) }, func() error {
		f.lost(1)
		return nil
	})
}

// subjects names what a message is about, by the place of its kind in
// linux/netfilter/nf_tables.h.
func subject(kind uint16) (what string, added, ok bool) {
	switch kind {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE:
		return "Table", kind == unix.NFT_MSG_NEWTABLE, true
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN:
		return "Chain", kind == unix.NFT_MSG_NEWCHAIN, true
	case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		return "Rule", kind == unix.NFT_MSG_NEWRULE, true
	case unix.NFT_MSG_NEWSET, unix.NFT_MSG_DELSET:
		return "Set", kind == unix.NFT_MSG_NEWSET, true
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM:
		return "Element", kind == unix.NFT_MSG_NEWSETELEM, true
	case unix.NFT_MSG_NEWOBJ, unix.NFT_MSG_DELOBJ:
		return "Object", kind == unix.NFT_MSG_NEWOBJ, true
	case unix.NFT_MSG_NEWFLOWTABLE, unix.NFT_MSG_DELFLOWTABLE:
		return "Flowtable", kind == unix.NFT_MSG_NEWFLOWTABLE, true
	}
	return "", false, false
}

// message takes one message. The last one of a transaction says who made it.
func (f *Firewall) message(m Message, emit func(Transaction)) {
	if m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Body) < genSize {
		return
	}
	kind, attrs := m.Type&0xff, m.Body[genSize:]
	if kind == unix.NFT_MSG_NEWGEN {
		f.done(attrs, emit)
		return
	}
	what, added, ok := subject(kind)
	if !ok {
		return
	}
	if f.open == nil {
		f.open = &Transaction{Changes: map[string]int{}}
	}
	t := f.open
	if added {
		t.Changes[what+"Added"]++
	} else {
		t.Changes[what+"Removed"]++
	}
	t.Families = named(t.Families, family(m.Body[0]))
	var table, chain string
	attributes(attrs, func(kind uint16, v []byte) {
		switch {
		case kind == 1: // the table, whatever the message is about
			table = text(v)
		case what == "Chain" && kind == unix.NFTA_CHAIN_NAME, what == "Rule" && kind == unix.NFTA_RULE_CHAIN:
			chain = text(v)
		}
	})
	if table != "" {
		t.Tables = named(t.Tables, table)
	}
	if chain != "" {
		t.Chains = named(t.Chains, table+"/"+chain)
	}
}

// done passes a transaction on.
func (f *Firewall) done(attrs []byte, emit func(Transaction)) {
	t := f.open
	f.open = nil
	if t == nil {
		return
	}
	attributes(attrs, func(kind uint16, v []byte) {
		switch kind {
		case unix.NFTA_GEN_PROC_PID:
			t.PID = big(v)
		case unix.NFTA_GEN_PROC_NAME:
			t.Command = text(v)
		}
	})
	emit(*t)
}

// named adds a name to a list that has neither many nor the same twice.
func named(list []string, name string) []string {
	if len(list) >= maxNamed || slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

func family(n byte) string {
	switch n {
	case unix.NFPROTO_INET:
		return "inet"
	case unix.NFPROTO_IPV4:
		return "ip"
	case unix.NFPROTO_IPV6:
		return "ip6"
	case unix.NFPROTO_ARP:
		return "arp"
	case unix.NFPROTO_BRIDGE:
		return "bridge"
	case unix.NFPROTO_NETDEV:
		return "netdev"
	}
	return "unspecified"
}
