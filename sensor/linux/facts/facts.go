// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package facts reads what a Linux host says of itself: its name, system,
// hardware, addresses, name servers. It asks files and the kernel, never the
// network.
package facts

import (
	"iter"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
	"github.com/picket-edr/picket/sensor/linux/sockets"
	"golang.org/x/sys/unix"
)

// Host is what a host says of itself.
type Host struct {
	HostName     string // lower case
	OSPlatform   string // always Linux
	Distribution string // Debian, Ubuntu, RedHatEnterpriseLinux, ...
	OSVersion    string // 12.11
	Architecture string // as Go spells it
	Kernel       string // release
	MachineID    string // equal on cloned hosts
	BootID       string
	HardwareUUID string   // "" where the firmware has none or only root may read it
	Vendor       string   // maker of the hardware
	Model        string   // of the hardware
	IPs          []string // addresses of interfaces that are up, without loopback; the one of the default route first
	Processors   int
	MemoryBytes  int64
	BootTime     event.Time
}

// Read reads the facts; what cannot be read is empty.
func Read() Host {
	f := Host{HostName: HostName(), OSPlatform: "Linux", Architecture: runtime.GOARCH, BootID: BootID(), Processors: runtime.NumCPU()}
	release := procfs.ReadSome("/etc/os-release", 64<<10)
	if release == nil {
		release = procfs.ReadSome("/usr/lib/os-release", 64<<10)
	}
	f.Distribution, f.OSVersion = osRelease(release)
	if f.Distribution == "Debian" {
		if exact := OneLine("/etc/debian_version"); exact != "" && exact[0] >= '0' && exact[0] <= '9' {
			f.OSVersion = exact
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Kernel = record.Clean(unix.ByteSliceToString(u.Release[:]))
	}
	f.MachineID = OneLine("/etc/machine-id")
	f.HardwareUUID = strings.ToLower(OneLine("/sys/class/dmi/id/product_uuid"))
	f.Vendor, f.Model = OneLine("/sys/class/dmi/id/sys_vendor"), OneLine("/sys/class/dmi/id/product_name")
	f.IPs = hostAddresses()
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		f.MemoryBytes = int64(si.Totalram) * int64(si.Unit)
	}
	f.BootTime = bootTime()
	return f
}

// bootTime is when the host started, by its clock of now.
func bootTime() event.Time {
	var wall, boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &wall) != nil {
		return 0
	}
	return event.Time((wall.Nano() - boot.Nano()) / 1000)
}

// BootID names the boot, as the kernel does.
func BootID() string { return OneLine("/proc/sys/kernel/random/boot_id") }

// HostName is the name of the host, lower case.
func HostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return strings.ToLower(record.Clean(name))
}

// OneLine reads the first line of a small file; what cannot be read is empty.
func OneLine(name string) string {
	line, _, _ := strings.Cut(string(procfs.ReadSome(name, 4096)), "\n")
	return record.Clean(strings.TrimSpace(line))
}

// osRelease reads distribution and version from the text of os-release.
func osRelease(b []byte) (distribution, version string) {
	v := keyValues(b)
	known := map[string]string{
		"debian": "Debian", "ubuntu": "Ubuntu", "rhel": "RedHatEnterpriseLinux", "centos": "CentOS", "fedora": "Fedora",
		"sles": "SUSE", "opensuse-leap": "openSUSE", "ol": "OracleLinux", "rocky": "RockyLinux", "almalinux": "AlmaLinux",
		"amzn": "AmazonLinux", "alpine": "Alpine", "arch": "Arch",
	}
	if distribution = known[v["ID"]]; distribution == "" {
		distribution = v["NAME"]
	}
	return distribution, v["VERSION_ID"]
}

// keyValues reads lines KEY=value, the value bare or in quotes.
func keyValues(b []byte) map[string]string {
	out := map[string]string{}
	for line := range lines(b) {
		key, value, ok := strings.Cut(line, "=")
		if !ok || key == "" || key[0] == '#' {
			continue
		}
		if s, err := strconv.Unquote(value); err == nil {
			value = s
		}
		out[key] = record.Clean(strings.Trim(value, `'"`))
	}
	return out
}

// hostAddresses lists the addresses of interfaces that are up.
func hostAddresses() []string {
	adapters, err := net.Interfaces()
	if err != nil {
		return nil
	}
	first := defaultInterface(procfs.ReadSome("/proc/net/route", 1<<20))
	var out []string
	for _, a := range adapters {
		if a.Flags&net.FlagUp == 0 || a.Flags&net.FlagLoopback != 0 {
			continue
		}
		for _, p := range Prefixes(a) {
			if p.Addr().IsLinkLocalUnicast() {
				continue
			}
			if a.Name == first && p.Addr().Is4() {
				out = slices.Insert(out, 0, p.Addr().String())
			} else {
				out = append(out, p.Addr().String())
			}
		}
	}
	return out
}

// Prefixes are the addresses of an interface.
func Prefixes(a net.Interface) []netip.Prefix {
	addrs, err := a.Addrs()
	if err != nil {
		return nil
	}
	var out []netip.Prefix
	for _, x := range addrs {
		if p, err := netip.ParsePrefix(x.String()); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// defaultInterface finds the interface of the default route in the text of
// /proc/net/route.
func defaultInterface(b []byte) string {
	for line := range lines(b) {
		if f := strings.Fields(line); len(f) >= 8 && f[1] == "00000000" && f[7] == "00000000" {
			return f[0]
		}
	}
	return ""
}

// Gateways lists the IPv4 gateways of each interface from the same text.
func Gateways(b []byte) map[string][]string {
	out := map[string][]string{}
	for line := range lines(b) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[2] == "00000000" {
			continue
		}
		if a, ok := sockets.ParseEnd(f[2] + ":0"); ok {
			out[f[0]] = append(out[f[0]], a.Addr().String())
		}
	}
	return out
}

// Resolvers reads name servers and search domain from resolv.conf.
func Resolvers(b []byte) (servers []string, domain string) {
	for line := range lines(b) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil {
				servers = append(servers, a.String())
			}
		case "search", "domain":
			domain = record.Clean(f[1])
		}
	}
	return servers, domain
}

// lines yields the lines of a file without their ends.
func lines(b []byte) iter.Seq[string] { return strings.SplitSeq(string(b), "\n") }
