// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/netlink"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// Every kind of change has a name, and its row says all that is known.
func TestRowsOfNetworkChanges(t *testing.T) {
	t.Parallel()
	for what, want := range map[int]string{
		netlink.InterfaceCreated: "NetworkInterfaceCreated", netlink.InterfaceRemoved: "NetworkInterfaceRemoved",
		netlink.InterfaceUp: "NetworkInterfaceUp", netlink.InterfaceDown: "NetworkInterfaceDown",
		netlink.PromiscuousOn: "PromiscuousModeEnabled", netlink.PromiscuousOff: "PromiscuousModeDisabled",
		netlink.AddressAdded: "NetworkAddressAdded", netlink.AddressRemoved: "NetworkAddressRemoved",
		netlink.RouteAdded: "DefaultRouteChanged", netlink.RouteRemoved: "DefaultRouteChanged",
	} {
		if got := changeAction(&netlink.Change{What: what, Link: "veth"}); got != want {
			t.Errorf("%d: %s, want %s", what, got, want)
		}
	}
	f := newOffline(t, logon.Paths{})
	f.cache.add(77, 7700, nil).name = "ip"
	f.onChange(&netlink.Change{What: netlink.InterfaceRemoved, Index: 3, Interface: "wg0", Link: "wireguard", Master: "br0", Port: 77}, 5)
	f.onChange(&netlink.Change{What: netlink.AddressAdded, Interface: "wg0", Address: netip.MustParsePrefix("192.0.2.1/24"), Port: 1 << 31}, 5)
	f.onChange(&netlink.Change{What: netlink.RouteRemoved, Interface: "wg0", Gateway: netip.MustParseAddr("192.0.2.9")}, 5)
	f.onFirewall(&netlink.Transaction{Families: []string{"inet"}, Tables: []string{"t"}, Chains: []string{"t/c"}, Changes: map[string]int{"RuleAdded": 2}, PID: 77, Command: "nft"}, 5)
	type short struct{ action, process, local, remote, details string }
	var got []short
	for _, row := range f.take() {
		r, ok := row.(*event.DeviceEvents)
		if !ok {
			t.Fatalf("row %v", columns(row))
		}
		got = append(got, short{r.ActionType, r.InitiatingProcessFileName, r.LocalIP, r.RemoteIP, r.AdditionalFields})
	}
	want := []short{
		{"TunnelRemoved", "ip", "", "", `{"InterfaceIndex":3,"InterfaceKind":"wireguard","InterfaceName":"wg0","PortOf":"br0"}`},
		{"NetworkAddressAdded", "", "192.0.2.1", "", `{"InterfaceIndex":0,"InterfaceName":"wg0","PrefixLength":24}`},
		{"DefaultRouteChanged", "", "", "192.0.2.9", `{"Added":false,"InterfaceIndex":0,"InterfaceName":"wg0"}`},
		{"FirewallRuleChanged", "ip", "", "", `{"Backend":"nf_tables","Chains":["t/c"],"Changes":{"RuleAdded":2},"Command":"nft","Families":["inet"],"Tables":["t"]}`},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(short{})); diff != "" {
		t.Error(diff)
	}
}

func TestRowsOfReplacedTables(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	for _, args := range [][6]uint64{{0, 64}, {41, 64}, {0, 96}} {
		f.onRecord(&record.Action{Kind: record.Firewall, Args: args})
	}
	var got []string
	for _, row := range f.take() {
		if r, ok := row.(*event.DeviceEvents); ok && r.ActionType == "FirewallRuleChanged" {
			got = append(got, r.AdditionalFields)
		}
	}
	want := []string{`{"Backend":"x_tables","Families":["ip"]}`, `{"Backend":"x_tables","Families":["ip6"]}`, `{"Backend":"x_tables","Families":["arp"]}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestThreadGroup(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]uint32{"Name:\tx\nTgid:\t42\nPid:\t43\n": 42, "": 0, "Tgid:\tx": 0} {
		if got := threadGroup([]byte(in)); got != want {
			t.Errorf("%q: %d", in, got)
		}
	}
}
