// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import "github.com/picket-edr/picket/sensor/linux/sockets"

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
		sockets.Of(p.key.pid, func(inode uint64) { owners[inode] = p })
	}
	for _, pid := range spaces {
		for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
			for _, s := range sockets.Read(pid, name) {
				c.foundSocket(s, name[:3], owners[s.Inode])
			}
		}
	}
}

func (c *Collector) foundSocket(s sockets.Line, protocol string, p *process) {
	number, action := uint16(6), ""
	switch {
	case protocol == "tcp" && s.State == sockets.Listening:
		action = "ListeningConnectionCreated"
	case protocol == "tcp" && s.State == sockets.Established:
		action = "ConnectionFound"
	case protocol == "udp" && s.State == sockets.Established:
		number, action = 17, "ConnectionFound"
	case protocol == "udp" && s.State == sockets.Unconnected:
		number, action = 17, "ListeningConnectionCreated"
	default:
		return
	}
	if action == "ConnectionFound" && p != nil {
		c.found.add(foundKey{number, p.netNS, s.Local, s.Remote}, p.key)
	}
	row := c.networkRow(action, c.clock.time(c.snapshotAt), p, number, s.Local, s.Remote)
	row.IsSnapshot = true
	c.out.push(row, nil, actorImage(p), false)
}
