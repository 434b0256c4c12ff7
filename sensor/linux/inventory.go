// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/facts"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	inventoryLook  = time.Minute    // how often changes are looked for
	inventoryAgain = 24 * time.Hour // how often the rows come when nothing changes
)

// inventory tells what the host is: at start, each day and upon change.
func (c *Collector) inventory(ctx context.Context) error {
	var lastInfo event.DeviceInfo
	var lastNet []event.DeviceNetworkInfo
	var told time.Time
	t := time.NewTicker(inventoryLook)
	defer t.Stop()
	for {
		info, adapters := c.deviceInfo(), networkInfo()
		again := time.Since(told) >= inventoryAgain
		at := c.clock.time(c.clock.now())
		if again || info != lastInfo {
			row := info
			row.Timestamp = at
			c.out.push(&row, nil, nil, false)
		}
		if again || !equalRows(adapters, lastNet) {
			for _, row := range adapters {
				row.Timestamp = at
				c.out.push(&row, nil, nil, false)
			}
		}
		if again {
			told = time.Now()
		}
		lastInfo, lastNet = info, adapters
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func equalRows(a, b []event.DeviceNetworkInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// deviceInfo describes the host, without a time so that two can be compared.
func (c *Collector) deviceInfo() event.DeviceInfo {
	f := facts.Read()
	return event.DeviceInfo{
		ClientVersion: picket.Version, OSArchitecture: f.Architecture, OSPlatform: f.OSPlatform, OSVersion: f.OSVersion,
		OSDistribution: f.Distribution, OSVersionInfo: f.Kernel, OnboardingStatus: "Onboarded", DeviceCategory: "Endpoint",
		DeviceType: deviceType(), Model: f.Model, Vendor: f.Vendor, HardwareUuid: f.HardwareUUID, MachineId: f.MachineID,
		ProcessorCount: int64(f.Processors), MemoryBytes: f.MemoryBytes, BootTime: c.booted, LoggedOnUsers: c.loggedOn(),
	}
}

// deviceType tells a workstation, which has a graphical login, from a server.
func deviceType() string {
	for _, name := range []string{"/etc/X11/default-display-manager", "/etc/systemd/system/display-manager.service"} {
		if _, err := os.Lstat(name); err == nil {
			return "Workstation"
		}
	}
	return "Server"
}

// networkInfo describes each adapter.
func networkInfo() []event.DeviceNetworkInfo {
	adapters, err := net.Interfaces()
	if err != nil {
		return nil
	}
	servers, domain := facts.Resolvers(readSome("/etc/resolv.conf", 64<<10))
	routes := facts.Gateways(readSome("/proc/net/route", 1<<20))
	var out []event.DeviceNetworkInfo
	for _, a := range adapters {
		row := event.DeviceNetworkInfo{
			NetworkAdapterName: a.Name, MacAddress: a.HardwareAddr.String(), NetworkAdapterType: adapterType(a),
			NetworkAdapterStatus: "Down", OnboardingStatus: "Onboarded", NetworkAdapterDnsSuffix: domain,
		}
		if a.Flags&net.FlagUp != 0 {
			row.NetworkAdapterStatus = "Up"
		}
		if row.NetworkAdapterType == "Tunnel" {
			row.TunnelType = "Other"
		}
		var addrs []map[string]any
		for _, p := range facts.Prefixes(a) {
			addrs = append(addrs, map[string]any{"IPAddress": p.Addr().String(), "SubnetPrefix": p.Bits(), "AddressType": record.AddressKind(p.Addr())})
		}
		row.IPAddresses = anyJSON(addrs)
		if a.Flags&net.FlagLoopback == 0 {
			row.DnsAddresses = anyJSON(servers)
		}
		row.DefaultGateways = anyJSON(routes[a.Name])
		out = append(out, row)
	}
	return out
}

func adapterType(a net.Interface) string {
	if a.Flags&net.FlagLoopback != 0 {
		return "Loopback"
	}
	dir := "/sys/class/net/" + a.Name
	for _, name := range []string{"/wireless", "/phy80211"} {
		if _, err := os.Stat(dir + name); err == nil {
			return "Wireless80211"
		}
	}
	if _, err := os.Stat(dir + "/tun_flags"); err == nil {
		return "Tunnel"
	}
	switch facts.OneLine(dir + "/type") {
	case "1":
		return "Ethernet"
	case "768", "769", "776", "778", "823", "65534":
		return "Tunnel"
	}
	return "Unknown"
}
