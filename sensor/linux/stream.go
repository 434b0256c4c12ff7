// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net/netip"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

// TCP states of include/net/tcp_states.h from which only a reset, or giving
// up, leads to the end.
const (
	tcpEstablished = 1
	tcpCloseWait   = 8
)

const maxFoundStreams = 16384

// foundKey names a connection by its ends, as the snapshot knows it.
type foundKey struct {
	protocol      uint16
	netns         uint32
	local, remote netip.AddrPort
}

// foundStreams remembers who owned the connections that the snapshot found:
// the kernel programs did not see them begin.
type foundStreams struct{ owner map[foundKey]procKey }

func newFoundStreams() *foundStreams { return &foundStreams{owner: map[foundKey]procKey{}} }

func (f *foundStreams) add(k foundKey, p procKey) {
	if len(f.owner) < maxFoundStreams {
		f.owner[k] = p
	}
}

// take returns the owner of a connection that ends.
func (f *foundStreams) take(k foundKey) (procKey, bool) {
	p, ok := f.owner[k]
	delete(f.owner, k)
	return p, ok
}

// onStream tells of a connection that was accepted or ended.
func (c *Collector) onStream(r *record.Stream) {
	if r.Op == record.NetAccepted {
		c.onNet(&r.Net)
		c.acceptStream(r.ID, c.actor(&r.Header))
		return
	}
	if r.Op != record.NetClosed {
		c.lost.add("decode", 1)
		return
	}
	p := c.actor(&r.Header)
	if r.ID.Opened == 0 {
		if k, ok := c.found.take(foundKey{r.Protocol, r.NetNS, r.Local, r.Remote}); ok {
			p = c.cache.get(k.pid, k.start)
		}
	}
	server := c.endStream(r.ID)
	row := c.networkRow("ConnectionClosed", c.clock.time(r.Time), p, r.Protocol, r.Local, r.Remote)
	if r.Side == record.SideServer {
		row.RemoteUrl = ""
	} else if server != "" {
		row.RemoteUrl = server
	}
	row.BytesSent, row.BytesReceived = event.LongOf(int64(r.Sent)), event.LongOf(int64(r.Received))
	if r.ID.Opened != 0 {
		row.ConnectionDurationMs = event.LongOf(int64(since(r.Time, r.ID.Opened) / 1e6))
	}
	row.ErrorCode = int64(r.Error)
	row.AdditionalFields = toJSON(closeDetails(r))
	c.out.push(row, nil, actorImage(p), false)
}

// closeDetails is what else is known of how a connection went.
func closeDetails(r *record.Stream) map[string]any {
	extra := map[string]any{}
	if side := direction(r.Side == record.SideServer); r.Side != 0 {
		extra["direction"] = side
	}
	if r.Retransmits > 0 {
		extra["Retransmits"] = r.Retransmits
	}
	if r.PacketsSent+r.PacketsReceived > 0 {
		extra["PacketsSent"], extra["PacketsReceived"] = r.PacketsSent, r.PacketsReceived
	}
	reset := r.Error == uint32(unix.ECONNRESET) || r.Error == uint32(unix.EPIPE)
	if reset || r.Protocol == unix.IPPROTO_TCP && (r.State == tcpEstablished || r.State == tcpCloseWait) {
		extra["Reset"] = true
	}
	return extra
}

// direction is who began a connection, in the words of the product schema.
func direction(inbound bool) string {
	if inbound {
		return "In"
	}
	return "Out"
}

const (
	flowIdle        = uint64(time.Minute) // without a packet a flow counts as ended
	maxFlowsAtATime = 16384
)

// flowKey and flowState are laid out as in bpf/dns.bpf.c.
type flowKey struct {
	Cookie    uint64
	Remote    [16]byte
	Port, Pad uint32
}

type flowState struct {
	Opened, Last, Start          uint64
	Sent, Received               uint64
	PacketsSent, PacketsReceived uint64
	PID, NetNS                   uint32
	Family, Side, Port, Pad      uint16
	Local                        [16]byte
}

// sweepFlows tells of UDP flows that nothing passed for a while.
func (c *Collector) sweepFlows() {
	m, now := c.kernel.Flows(), c.clock.now()
	if m == nil {
		return
	}
	var key flowKey
	var state flowState
	due := map[flowKey]flowState{}
	for it, n := m.Iterate(), 0; n < maxFlowsAtATime && it.Next(&key, &state); n++ {
		if state.Side == record.SideClient && since(now, state.Last) > flowIdle {
			due[key] = state
		}
	}
	for key, state := range due {
		if m.Delete(&key) == nil {
			c.onStream(flowEnd(key, state))
		}
	}
}

// flowEnd is the record of a flow that ended with its last packet.
func flowEnd(k flowKey, s flowState) *record.Stream {
	r := &record.Stream{ID: record.StreamID{Sock: k.Cookie, Opened: s.Opened}, Sent: s.Sent, Received: s.Received,
		PacketsSent: s.PacketsSent, PacketsReceived: s.PacketsReceived, Side: uint32(s.Side)}
	r.Header = record.Header{Type: record.TypeStream, Flags: record.FlagNoTask, Time: s.Last, PID: s.PID, Start: s.Start, NetNS: s.NetNS}
	r.Op, r.Protocol = record.NetClosed, unix.IPPROTO_UDP
	r.Local = netip.AddrPortFrom(record.Address(s.Family, s.Local), s.Port)
	r.Remote = netip.AddrPortFrom(record.Address(s.Family, k.Remote), uint16(k.Port))
	return r
}
