// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockets

import (
	"context"
	"net/netip"
	"os"
	"time"

	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// PollEvery is the pause between two looks.
const PollEvery = 500 * time.Millisecond

// Poll finds connections and listening ports that are new since the last
// look, in every network namespace that a process is in.
type Poll struct {
	Proc    *procfs.FS
	Now     func() uint64         // boot clock, ns
	Exclude func(pid uint32) bool // processes whose doings are left out; nil: none
	known   map[identity]bool
}

// identity tells sockets apart; inode numbers repeat over time, and a socket
// changes its state.
type identity struct {
	inode         uint64
	local, remote netip.AddrPort
	state         uint64
	netns         uint32
}

type found struct {
	Line
	protocol uint16
	netns    uint32
}

// Run hands records to emit until ctx ends. What is there at first is left to
// the snapshot.
func (p *Poll) Run(ctx context.Context, emit func(any) bool) error {
	p.look(func(any) bool { return true })
	t := time.NewTicker(PollEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			p.look(emit)
		}
	}
}

// spaces returns one process in each network namespace.
func (p *Poll) spaces() map[uint32]uint32 {
	self, _, ok := p.Proc.Header(uint32(os.Getpid()), 0)
	out := map[uint32]uint32{}
	if ok {
		out[self.NetNS] = uint32(os.Getpid())
	}
	for _, pid := range p.Proc.PIDs() {
		if ns := p.Proc.NetNS(pid); ns != 0 && out[ns] == 0 {
			out[ns] = pid
		}
	}
	return out
}

func (p *Poll) look(emit func(any) bool) {
	now := map[identity]bool{}
	ports := map[uint32]map[uint16]bool{} // that somebody listens on, by namespace
	var fresh []found
	for ns, pid := range p.spaces() {
		ports[ns] = map[uint16]bool{}
		for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
			protocol := uint16(6)
			if name[0] == 'u' {
				protocol = 17
			}
			for _, l := range Read(pid, name) {
				if protocol == 6 && l.State == Listening {
					ports[ns][l.Local.Port()] = true
				}
				if !telling(l, protocol) {
					continue
				}
				id := identity{l.Inode, l.Local, l.Remote, l.State, ns}
				now[id] = true
				if !p.known[id] {
					fresh = append(fresh, found{l, protocol, ns})
				}
			}
		}
	}
	p.known = now
	if len(fresh) > 0 {
		p.tell(fresh, ports, emit)
	}
}

// telling picks the states that stand for an event.
func telling(l Line, protocol uint16) bool {
	if protocol == 6 {
		return l.Inode != 0 && (l.State == Established || l.State == Listening)
	}
	return l.Inode != 0 && l.State == Established
}

func (p *Poll) tell(fresh []found, ports map[uint32]map[uint16]bool, emit func(any) bool) {
	owners := p.owners(fresh)
	at := p.Now()
	for _, f := range fresh {
		pid := owners[f.Inode]
		if pid != 0 && p.Exclude != nil && p.Exclude(pid) {
			continue
		}
		h := record.Header{Time: at, PID: pid, TID: pid, NetNS: f.netns, Flags: record.FlagNoTask}
		if pid != 0 {
			h.Start, _ = p.Proc.Start(pid)
		}
		r := &record.Net{Header: h, Op: record.NetConnected, Protocol: f.protocol, Local: f.Local, Remote: f.Remote}
		switch {
		case f.State == Listening:
			r.Op, r.Remote = record.NetListen, netip.AddrPort{}
		case f.protocol == 6 && ports[f.netns][f.Local.Port()]:
			r.Op = record.NetAccepted
		}
		emit(r)
	}
}

// owners finds who holds the sockets that are new.
func (p *Poll) owners(fresh []found) map[uint64]uint32 {
	want := map[uint64]bool{}
	for _, f := range fresh {
		want[f.Inode] = true
	}
	out := map[uint64]uint32{}
	for _, pid := range p.Proc.PIDs() {
		Of(pid, func(inode uint64) {
			if want[inode] {
				out[inode] = pid // the youngest holder is most often the one that uses it
			}
		})
	}
	return out
}
