// SPDX-License-Identifier: Apache-2.0

//go:build linux

package facts

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHostParsers(t *testing.T) {
	t.Parallel()
	d, v := osRelease([]byte("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n# no\n"))
	if d != "Debian" || v != "12" {
		t.Errorf("got %q %q", d, v)
	}
	if d, v := osRelease([]byte("ID='weird'\nNAME='Weird OS'\nVERSION_ID=3")); d != "Weird OS" || v != "3" {
		t.Errorf("got %q %q", d, v)
	}
	servers, domain := Resolvers([]byte("# x\nnameserver 192.0.2.53\nnameserver broken\nnameserver fe80::1%eth0\nsearch corp.test other\n"))
	if diff := cmp.Diff([]string{"192.0.2.53", "fe80::1%eth0"}, servers); diff != "" || domain != "corp.test" {
		t.Errorf("%s %q", diff, domain)
	}
	routes := []byte("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\neth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
	if got := defaultInterface(routes); got != "eth0" {
		t.Errorf("default interface %q", got)
	}
	if diff := cmp.Diff(map[string][]string{"eth0": {"192.0.2.1"}}, Gateways(routes)); diff != "" {
		t.Error(diff)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	f := Read()
	if f.HostName == "" || f.OSPlatform != "Linux" || f.Kernel == "" || f.BootID == "" || f.Processors < 1 || f.MemoryBytes <= 0 || f.BootTime == 0 {
		t.Errorf("facts are missing: %+v", f)
	}
	for _, ip := range f.IPs {
		if a, err := netip.ParseAddr(ip); err != nil || a.IsLoopback() {
			t.Errorf("address %q", ip)
		}
	}
}

func FuzzHostFiles(f *testing.F) {
	f.Add([]byte("ID=debian\nX=\"\\u1\""))
	f.Add([]byte("nameserver ::1"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		osRelease(b)
		Resolvers(b)
		Gateways(b)
		defaultInterface(b)
	})
}
