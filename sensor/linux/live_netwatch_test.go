// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

// startAway starts a collector whose subscriptions are in a network namespace
// of its own, where the test then is too.
func startAway(t *testing.T) *live {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace of its own: %v", err)
	}
	l := startLive(t, nil)
	for _, h := range l.Hooks() {
		if (h.Kind == "interface" || h.Kind == "firewall") && !h.Attached {
			t.Skipf("%s: %s", h.Kind, h.Error)
		}
	}
	return l
}

func runTool(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skip(err)
	}
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Skipf("%v: %v: %s", args, err, out)
	}
}

func deviceEvent(action, text string) func(*event.DeviceEvents) bool {
	return func(r *event.DeviceEvents) bool {
		return r.ActionType == action && strings.Contains(r.AdditionalFields, text)
	}
}

func TestLiveInterfaces(t *testing.T) {
	l := startAway(t)
	runTool(t, "ip", "tuntap", "add", "dev", "picket0", "mode", "tun")
	r := find(l, deviceEvent("TunnelCreated", `"InterfaceName":"picket0"`))
	if !strings.Contains(r.AdditionalFields, `"InterfaceKind":"tun"`) {
		t.Errorf("row %v", columns(r))
	}
	runTool(t, "ip", "link", "set", "picket0", "up")
	find(l, deviceEvent("NetworkInterfaceUp", "picket0"))
	runTool(t, "ip", "addr", "add", "192.0.2.5/24", "dev", "picket0")
	if r := find(l, deviceEvent("NetworkAddressAdded", `"PrefixLength":24`)); r.LocalIP != "192.0.2.5" || r.InitiatingProcessFileName != "ip" ||
		!strings.Contains(r.InitiatingProcessCommandLine, "192.0.2.5/24") {
		t.Errorf("row %v", columns(r))
	}
	runTool(t, "ip", "route", "add", "default", "via", "192.0.2.9")
	if r := find(l, deviceEvent("DefaultRouteChanged", `"Added":true`)); r.RemoteIP != "192.0.2.9" {
		t.Errorf("row %v", columns(r))
	}
	runTool(t, "ip", "link", "del", "picket0")
	find(l, deviceEvent("TunnelRemoved", "picket0"))
}

// A sniffer's socket is seen by what it does to the interface.
func TestLivePromiscuous(t *testing.T) {
	l := startAway(t)
	runTool(t, "ip", "link", "add", "picket0", "type", "veth", "peer", "name", "picket1")
	find(l, deviceEvent("NetworkInterfaceCreated", "picket0"))
	all := uint16(unix.ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all<<8|all>>8))
	if err != nil {
		t.Skip(err)
	}
	var index uint32
	r := find(l, deviceEvent("NetworkInterfaceCreated", `"InterfaceName":"picket0"`))
	if _, after, ok := strings.Cut(r.AdditionalFields, `"InterfaceIndex":`); ok {
		for _, d := range after {
			if d < '0' || d > '9' {
				break
			}
			index = index*10 + uint32(d-'0')
		}
	}
	mreq := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		t.Fatal(err)
	}
	find(l, deviceEvent("PromiscuousModeEnabled", `"InterfaceName":"picket0"`))
	unix.Close(fd)
	find(l, deviceEvent("PromiscuousModeDisabled", `"InterfaceName":"picket0"`))
}

func TestLiveFirewall(t *testing.T) {
	l := startAway(t)
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte("table inet picket {\n chain in { type filter hook input priority 0; tcp dport 22 drop; }\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runTool(t, "nft", "-f", rules)
	r := find(l, deviceEvent("FirewallRuleChanged", `"picket/in"`))
	if r.InitiatingProcessFileName != "nft" || !strings.Contains(r.AdditionalFields, `"RuleAdded":1`) || !strings.Contains(r.InitiatingProcessCommandLine, rules) {
		t.Errorf("row %v", columns(r))
	}
}

// The old iptables replaces a whole table, here by itself.
func TestLiveOldFirewall(t *testing.T) {
	l := startAway(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(fd)
	info := make([]byte, 84)
	copy(info, "filter")
	if err := option(unix.SYS_GETSOCKOPT, fd, 64, info); err != nil {
		t.Skipf("no table of iptables: %v", err)
	}
	entries, size := binary.NativeEndian.Uint32(info[76:]), binary.NativeEndian.Uint32(info[80:])
	table := make([]byte, 40+size)
	copy(table, "filter")
	binary.NativeEndian.PutUint32(table[32:], size)
	if err := option(unix.SYS_GETSOCKOPT, fd, 65, table); err != nil {
		t.Skipf("the table cannot be read: %v", err)
	}
	counters := make([]byte, 16*entries)
	replace := append([]byte(nil), info[:36]...) // name and hooks
	replace = binary.NativeEndian.AppendUint32(replace, entries)
	replace = binary.NativeEndian.AppendUint32(replace, size)
	replace = append(replace, info[36:76]...) // where hooks and policies are
	replace = binary.NativeEndian.AppendUint32(replace, entries)
	replace = binary.NativeEndian.AppendUint64(replace, uint64(uintptr(unsafe.Pointer(&counters[0]))))
	replace = append(replace, table[40:]...)
	if err := option(unix.SYS_SETSOCKOPT, fd, 64, replace); err != nil {
		t.Skipf("the table cannot be replaced: %v", err)
	}
	runtime.KeepAlive(counters)
	r := find(l, deviceEvent("FirewallRuleChanged", `"Backend":"x_tables"`))
	if r.InitiatingProcessId != int64(os.Getpid()) || !strings.Contains(r.AdditionalFields, `["ip"]`) {
		t.Errorf("row %v", columns(r))
	}
}

// option gets or sets an option of IP whose value has a layout of its own.
func option(call uintptr, fd int, name uintptr, value []byte) error {
	size := uint32(len(value))
	third := uintptr(size)
	if call == unix.SYS_GETSOCKOPT {
		third = uintptr(unsafe.Pointer(&size))
	}
	if _, _, errno := unix.Syscall6(call, uintptr(fd), unix.SOL_IP, name, uintptr(unsafe.Pointer(&value[0])), third, 0); errno != 0 {
		return errno
	}
	return nil
}
