// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package sockets reads what is connected and listening out of /proc/net, who
// holds it, and what changed since: all that there is where no programs may be
// loaded into the kernel. Connections that come and go between two looks are
// never seen.
package sockets

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/procfs"
)

const (
	maxFile = 16 << 20
	maxFDs  = 65536 // descriptors of one process that are looked at
)

// States of a socket, as /proc/net numbers them.
const (
	Established = 1
	SynSent     = 2
	Unconnected = 7 // of a UDP socket
	Listening   = 10
)

// Line is one line of /proc/net/tcp or its relatives.
type Line struct {
	Local, Remote netip.AddrPort
	State         uint64
	Inode         uint64
}

// Read returns the sockets of a protocol (tcp, tcp6, udp, udp6) in the network
// namespace of a process.
func Read(pid uint32, protocol string) []Line {
	return Parse(procfs.ReadSome(fmt.Sprintf("/proc/%d/net/%s", pid, protocol), maxFile))
}

// Of calls f with the inode of each socket that a process holds.
func Of(pid uint32, f func(uint64)) {
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

// Parse reads /proc/net/{tcp,tcp6,udp,udp6}. Lines that do not parse
// are left out.
func Parse(b []byte) []Line {
	var out []Line
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		local, ok1 := ParseEnd(f[1])
		remote, ok2 := ParseEnd(f[2])
		state, err1 := strconv.ParseUint(f[3], 16, 8)
		inode, err2 := strconv.ParseUint(f[9], 10, 64)
		if !ok1 || !ok2 || err1 != nil || err2 != nil {
			continue
		}
		out = append(out, Line{local, remote, state, inode})
	}
	return out
}

// ParseEnd reads an address in the kernel's form: 32-bit words in host order,
// then the port.
func ParseEnd(s string) (netip.AddrPort, bool) {
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
