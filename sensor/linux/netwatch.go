// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/netlink"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

const setARPRules = 96 // ARPT_SO_SET_REPLACE

// openLinks follows interfaces, addresses and default routes of the host.
func openLinks(c *Collector) (*source, error) {
	if !c.missing("interface", "netlink") {
		return nil, nil
	}
	s := &source{hook: picket.Hook{Kind: "interface", Rung: "netlink",
		BlindSpot: "interfaces, addresses and routes of other network namespaces than the host's; who changed what, when a program asked in the name of another"}}
	l, err := netlink.OpenLinks(func(n uint64) { c.lost.add("netlink.interface", n) })
	if err != nil {
		return s, err
	}
	s.run = func(ctx context.Context, emit func(any) bool) error {
		return l.Run(ctx, func(change netlink.Change) {
			at := c.clock.now()
			emit(func() { c.onChange(&change, at) })
		})
	}
	return s, nil
}

// openFirewall follows the rules of nf_tables.
func openFirewall(c *Collector) (*source, error) {
	if !c.missing("firewall", "netlink") {
		return nil, nil
	}
	s := &source{hook: picket.Hook{Kind: "firewall", Rung: "netlink",
		BlindSpot: "rules of other network namespaces than the host's; which rules the old iptables changes; what a rule says"}}
	f, err := netlink.OpenFirewall(func(n uint64) { c.lost.add("netlink.firewall", n) })
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil // a kernel that cannot filter: there are no rules to change
	}
	if err != nil {
		return s, err
	}
	s.run = func(ctx context.Context, emit func(any) bool) error {
		return f.Run(ctx, func(t netlink.Transaction) {
			at := c.clock.now()
			emit(func() { c.onFirewall(&t, at) })
		})
	}
	return s, nil
}

// changeAction is the ActionType of a change, "" for one that is not told.
func changeAction(n *netlink.Change) string {
	switch n.What {
	case netlink.InterfaceCreated:
		if n.IsTunnel() {
			return "TunnelCreated"
		}
		return "NetworkInterfaceCreated"
	case netlink.InterfaceRemoved:
		if n.IsTunnel() {
			return "TunnelRemoved"
		}
		return "NetworkInterfaceRemoved"
	case netlink.InterfaceUp:
		return "NetworkInterfaceUp"
	case netlink.InterfaceDown:
		return "NetworkInterfaceDown"
	case netlink.PromiscuousOn:
		return "PromiscuousModeEnabled"
	case netlink.PromiscuousOff:
		return "PromiscuousModeDisabled"
	case netlink.AddressAdded:
		return "NetworkAddressAdded"
	case netlink.AddressRemoved:
		return "NetworkAddressRemoved"
	case netlink.RouteAdded, netlink.RouteRemoved:
		return "DefaultRouteChanged"
	}
	return ""
}

// onChange tells of a change of the network.
func (c *Collector) onChange(n *netlink.Change, at uint64) {
	extra := map[string]any{"InterfaceName": n.Interface, "InterfaceIndex": n.Index}
	if n.Link != "" {
		extra["InterfaceKind"] = n.Link
	}
	if n.Master != "" {
		extra["PortOf"] = n.Master
	}
	row := &event.DeviceEvents{Timestamp: c.clock.time(at), ActionType: changeAction(n)}
	if n.Address.IsValid() {
		row.LocalIP = n.Address.Addr().String()
		extra["PrefixLength"] = n.Address.Bits()
	}
	switch n.What {
	case netlink.RouteAdded, netlink.RouteRemoved:
		extra["Added"] = n.What == netlink.RouteAdded
		row.RemoteIP = addressText(n.Gateway)
	}
	c.tellNetwork(row, n.Port, extra)
}

// onFirewall tells of a change of rules.
func (c *Collector) onFirewall(t *netlink.Transaction, at uint64) {
	row := &event.DeviceEvents{Timestamp: c.clock.time(at), ActionType: "FirewallRuleChanged"}
	extra := map[string]any{"Backend": "nf_tables", "Families": t.Families, "Tables": t.Tables, "Changes": t.Changes}
	if len(t.Chains) > 0 {
		extra["Chains"] = t.Chains
	}
	if t.Command != "" {
		extra["Command"] = t.Command
	}
	c.tellNetwork(row, t.PID, extra)
}

// onTable tells that a whole table of iptables was replaced, as it was done
// before nf_tables.
func (c *Collector) onTable(r *record.Action) {
	family := "ip"
	switch {
	case r.Args[0] == unix.SOL_IPV6:
		family = "ip6"
	case r.Args[1] == setARPRules:
		family = "arp"
	}
	p := c.actor(&r.Header)
	row := &event.DeviceEvents{Timestamp: c.clock.time(r.Time), ActionType: "FirewallRuleChanged"}
	c.plans.fill(row, c.describe(p))
	row.AdditionalFields = toJSON(map[string]any{"Backend": "x_tables", "Families": []string{family}})
	c.out.push(row, nil, actorImage(p), false)
}

// tellNetwork completes a row with the process that a message of the kernel
// names by a thread of it, or by the number of its socket, which is that of
// the process unless it chose another.
func (c *Collector) tellNetwork(row *event.DeviceEvents, id uint32, extra map[string]any) {
	p := c.asker(id)
	c.plans.fill(row, c.describe(p))
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, nil, actorImage(p), false)
}

// asker finds the process that has a thread of that number in the host's own
// network namespace.
func (c *Collector) asker(id uint32) *process {
	if id == 0 || id > 1<<22 {
		return nil // nobody, or a number that the kernel made up
	}
	if c.rings != nil {
		c.drain() // its start is in the rings
	}
	p := c.cache.latest(id)
	if p == nil {
		p = c.cache.latest(threadGroup(readSome(fmt.Sprintf("/proc/%d/status", id), 4096)))
	}
	if p == nil || c.excludes(p.key.pid) {
		return nil
	}
	return p
}

// threadGroup reads the id of the process from the status of a thread.
func threadGroup(status []byte) uint32 {
	for line := range lines(status) {
		if v, ok := bytes.CutPrefix([]byte(line), []byte("Tgid:")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(v)), 10, 32)
			if err != nil {
				return 0
			}
			return uint32(n)
		}
	}
	return 0
}
