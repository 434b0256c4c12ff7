// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net/netip"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

// onNet tells of a connection or of a port opened for listening.
func (c *Collector) onNet(r *record.Net) {
	var action string
	switch r.Op {
	case record.NetConnected:
		action = "ConnectionSuccess"
	case record.NetFailed:
		action = "ConnectionFailed"
	case record.NetAccepted:
		action = "InboundConnectionAccepted"
	case record.NetListen:
		action = "ListeningConnectionCreated"
	default:
		c.lost.add("decode", 1)
		return
	}
	p := c.actor(&r.Header)
	row := c.networkRow(action, c.clock.time(r.Time), p, r.Protocol, r.Local, r.Remote)
	row.ErrorCode = int64(r.Error)
	extra := map[string]any{}
	if r.Op == record.NetFailed && r.Error == 0 {
		extra["Cancelled"] = true // given up before an answer
	}
	if r.Op == record.NetConnected {
		if e := encryptedDNS(r.Protocol, r.Remote, row.RemoteUrl, nil); e != "" {
			extra["EncryptedDns"] = e
		}
		if r.Protocol == unix.IPPROTO_UDP && r.Remote.Port() == portHTTPS {
			extra["ApplicationProtocol"] = "Quic"
		}
	}
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, nil, actorImage(p), false)
}

func (c *Collector) networkRow(action string, at event.Time, p *process, protocol uint16, local, remote netip.AddrPort) *event.DeviceNetworkEvents {
	row := &event.DeviceNetworkEvents{Timestamp: at, ActionType: action}
	c.plans.fill(row, c.describe(p))
	row.Protocol = protocolName(protocol)
	row.LocalIP, row.LocalPort, row.LocalIPType = addressText(local.Addr()), int64(local.Port()), record.AddressKind(local.Addr())
	listening := action == "ListeningConnectionCreated"
	if remote.Addr().IsValid() && !listening {
		row.RemoteIP, row.RemotePort, row.RemoteIPType = addressText(remote.Addr()), int64(remote.Port()), record.AddressKind(remote.Addr())
		if action != "InboundConnectionAccepted" {
			row.RemoteUrl = c.names.of(remote.Addr())
		}
	}
	return row
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func protocolName(p uint16) string {
	switch p {
	case 6, 262: // 262 is multipath TCP
		return "Tcp"
	case 17:
		return "Udp"
	case 1, 58:
		return "Icmp"
	}
	return "Unknown"
}
