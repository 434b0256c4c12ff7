// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

const (
	maxSocketFile = 16 << 20
	maxFDs        = 65536 // descriptors of one process that are looked at
	tcpEstab      = 1
	tcpListen     = 10
	udpUnconn     = 7
)

// socketLine is one line of /proc/net/tcp or its relatives.
type socketLine struct {
	local, remote netip.AddrPort
	state         uint64
	inode         uint64
}

// snapshotSockets tells of the connections and listening ports that exist
// already, in every network namespace that a running process is in.
func (c *Collector) snapshotSockets(found []*process) {
	owners := map[uint64]*process{}
	spaces := map[uint32]uint32{} // network namespace to a process in it
	for _, p := range found {
		if p.path == "" {
			continue // kernel threads hold no descriptors
		}
		spaces[p.netNS] = p.key.pid
		socketsOf(p.key.pid, func(inode uint64) { owners[inode] = p })
	}
	for _, pid := range spaces {
		for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
			for _, s := range parseSockets(readSome(fmt.Sprintf("/proc/%d/net/%s", pid, name), maxSocketFile)) {
				c.foundSocket(s, name[:3], owners[s.inode])
			}
		}
	}
}

func (c *Collector) foundSocket(s socketLine, protocol string, p *process) {
	number, action := uint16(6), ""
	switch {
	case protocol == "tcp" && s.state == tcpListen:
		action = "ListeningConnectionCreated"
	case protocol == "tcp" && s.state == tcpEstab:
		action = "ConnectionFound"
	case protocol == "udp" && s.state == tcpEstab:
		number, action = 17, "ConnectionFound"
	case protocol == "udp" && s.state == udpUnconn:
		number, action = 17, "ListeningConnectionCreated"
	default:
		return
	}
	if action == "ConnectionFound" && p != nil {
		c.found.add(foundKey{number, p.netNS, s.local, s.remote}, p.key)
	}
	row := c.networkRow(action, c.clock.time(c.snapshotAt), p, number, s.local, s.remote)
	row.IsSnapshot = true
	c.out.push(row, nil, actorImage(p), false)
}

// socketsOf calls f with the inode of each socket that a process holds.
func socketsOf(pid uint32, f func(uint64)) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	names, err := d.Readdirnames(maxFDs)
	if err != nil {
		return
	}
	for _, name := range names {
		target, err := os.Readlink(dir + "/" + name)
		if err != nil {
			continue
		}
		if n, ok := strings.CutPrefix(target, "socket:["); ok {
			if inode, err := strconv.ParseUint(strings.TrimSuffix(n, "]"), 10, 64); err == nil {
				f(inode)
			}
		}
	}
}

// parseSockets reads /proc/net/{tcp,tcp6,udp,udp6}. Lines that do not parse
// are left out.
func parseSockets(b []byte) []socketLine {
	var out []socketLine
	for line := range lines(b) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		local, ok1 := parseEnd(f[1])
		remote, ok2 := parseEnd(f[2])
		state, err1 := strconv.ParseUint(f[3], 16, 8)
		inode, err2 := strconv.ParseUint(f[9], 10, 64)
		if !ok1 || !ok2 || err1 != nil || err2 != nil {
			continue
		}
		out = append(out, socketLine{local, remote, state, inode})
	}
	return out
}

// parseEnd reads an address in the kernel's form: 32-bit words in host order,
// then the port.
func parseEnd(s string) (netip.AddrPort, bool) {
	ip, port, ok := strings.Cut(s, ":")
	if !ok {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	b, err := hex.DecodeString(ip)
	if err != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, _ := netip.AddrFromSlice(b) // of one of the two right lengths
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}
