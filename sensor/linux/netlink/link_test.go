// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlink

import (
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"context"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func linkBody(index uint32, ifname, kind string, flags, promiscuity uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], index)
	binary.NativeEndian.PutUint32(b[8:], flags)
	b = append(b, attr(unix.IFLA_IFNAME, name(ifname))...)
	b = append(b, attr(unix.IFLA_PROMISCUITY, binary.NativeEndian.AppendUint32(nil, promiscuity))...)
	if kind != "" {
		b = append(b, attr(unix.IFLA_LINKINFO, attr(unix.IFLA_INFO_KIND, name(kind)))...)
	}
	return b
}

func addrBody(index uint32, bits byte, a string) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[1] = bits
	binary.NativeEndian.PutUint32(b[4:], index)
	return append(b, attr(unix.IFA_ADDRESS, netip.MustParseAddr(a).AsSlice())...)
}

func routeBody(length byte, index uint32, gateway string) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[4], b[7] = unix.AF_INET, length, unix.RT_TABLE_MAIN, unix.RTN_UNICAST
	b = append(b, attr(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, index))...)
	return append(b, attr(unix.RTA_GATEWAY, netip.MustParseAddr(gateway).AsSlice())...)
}

var compare = cmp.Options{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

func TestLinksTellWhatChanges(t *testing.T) {
	t.Parallel()
	l := newLinks(nil, func(uint64) {})
	l.learning = true
	var got []Change
	feed := func(kind, flags uint16, body []byte) {
		Each(wire(kind, flags, 77, body), func(m Message) { l.message(m, func(c Change) { got = append(got, c) }) })
	}
	eth, up := uint32(2), uint32(unix.IFF_UP)
	feed(unix.RTM_NEWLINK, unix.NLM_F_MULTI, linkBody(eth, "eth0", "", up, 0)) // was there
	feed(unix.NLMSG_DONE, unix.NLM_F_MULTI, make([]byte, 4))
	for range 2 {
		feed(unix.RTM_NEWLINK, 0, linkBody(3, "tun0", "tun", 0, 0))
		feed(unix.RTM_NEWLINK, 0, linkBody(eth, "eth0", "", up, 1))
		feed(unix.RTM_NEWADDR, 0, addrBody(3, 24, "10.8.0.2"))
		feed(unix.RTM_NEWADDR, 0, addrBody(3, 64, "fe80::1"))
		feed(unix.RTM_NEWROUTE, 0, routeBody(0, 3, "10.8.0.1"))
		feed(unix.RTM_NEWROUTE, 0, routeBody(8, 3, "10.8.0.1"))
	}
	feed(unix.RTM_NEWLINK, 0, linkBody(eth, "eth0", "", up|unix.IFF_PROMISC, 0))
	feed(unix.RTM_NEWLINK, 0, linkBody(eth, "eth0", "", 0, 0))
	feed(unix.RTM_DELROUTE, 0, routeBody(0, 3, "10.8.0.1"))
	feed(unix.RTM_DELADDR, 0, addrBody(3, 24, "10.8.0.2"))
	feed(unix.RTM_DELLINK, 0, linkBody(3, "tun0", "", 0, 0))
	feed(unix.RTM_DELLINK, 0, linkBody(9, "never", "", 0, 0))
	prefix, gateway := netip.MustParsePrefix("10.8.0.2/24"), netip.MustParseAddr("10.8.0.1")
	want := []Change{
		{What: InterfaceCreated, Index: 3, Interface: "tun0", Link: "tun", Port: 77},
		{What: PromiscuousOn, Index: 2, Interface: "eth0", Port: 77},
		{What: AddressAdded, Index: 3, Interface: "tun0", Link: "tun", Address: prefix, Port: 77},
		{What: RouteAdded, Index: 3, Interface: "tun0", Link: "tun", Gateway: gateway, Port: 77},
		{What: InterfaceDown, Index: 2, Interface: "eth0", Port: 77},
		{What: PromiscuousOff, Index: 2, Interface: "eth0", Port: 77},
		{What: RouteRemoved, Index: 3, Interface: "tun0", Link: "tun", Gateway: gateway, Port: 77},
		{What: AddressRemoved, Index: 3, Interface: "tun0", Link: "tun", Address: prefix, Port: 77},
		{What: InterfaceRemoved, Index: 3, Interface: "tun0", Link: "tun", Port: 77},
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
	if !want[0].IsTunnel() || want[1].IsTunnel() || !slices.IsSorted(tunnels) {
		t.Error("tunnels")
	}
}

// ownNetwork puts the calling goroutine into a network namespace of its own
// for the rest of its life.
func ownNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace of its own: %v", err)
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skip(err)
	}
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Skipf("%v: %v: %s", args, err, out)
	}
}

// follow runs f until the end of the test and hands over what it emits.
func follow[T any](t *testing.T, f func(context.Context, func(T)) error) <-chan T {
	ctx, cancel := context.WithCancel(context.Background())
	out, done := make(chan T, 100), make(chan error, 1)
	go func() { done <- f(ctx, func(v T) { out <- v }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return out
}

func await[T any](t *testing.T, c <-chan T, match func(T) bool) T {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case v := <-c:
			if match(v) {
				return v
			}
		case <-deadline:
			t.Fatal("it never came")
		}
	}
}

func TestLinksOfTheKernel(t *testing.T) {
	ownNetwork(t)
	l, err := OpenLinks(func(uint64) { t.Error("an overrun") })
	if err != nil {
		t.Fatal(err)
	}
	changes := follow(t, l.Run)
	run(t, "ip", "tuntap", "add", "picket0", "mode", "tun")
	c := await(t, changes, func(c Change) bool { return c.What == InterfaceCreated && c.Interface == "picket0" })
	if c.Link != "tun" || !c.IsTunnel() {
		t.Errorf("%+v", c)
	}
	run(t, "ip", "link", "set", "picket0", "up", "promisc", "on")
	await(t, changes, func(c Change) bool { return c.What == InterfaceUp && c.Interface == "picket0" })
	run(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "picket0")
	if c := await(t, changes, func(c Change) bool { return c.What == AddressAdded }); c.Address != netip.MustParsePrefix("192.0.2.1/24") || c.Interface != "picket0" || c.Port == 0 {
		t.Errorf("%+v", c)
	}
	run(t, "ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.9")
	run(t, "ip", "route", "add", "default", "via", "192.0.2.9")
	if c := await(t, changes, func(c Change) bool { return c.What == RouteAdded }); c.Gateway != netip.MustParseAddr("192.0.2.9") {
		t.Errorf("%+v", c)
	}
	run(t, "ip", "link", "del", "picket0")
	await(t, changes, func(c Change) bool { return c.What == InterfaceRemoved && c.Interface == "picket0" })
}
