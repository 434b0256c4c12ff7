// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/picket-edr/picket/sensor/linux/procfs"
)

var compareAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

func TestPasswd(t *testing.T) {
	t.Parallel()
	u := newUsers("testdata/etc/passwd", "testdata/etc/group")
	for id, want := range map[uint32]string{0: "root", 1: "daemon", 1000: "alice", 7: "", 9: "", 12345: ""} {
		if got := u.name(id); got != want {
			t.Errorf("name(%d) = %q, want %q", id, got, want)
		}
	}
	if id, ok := u.id("toor"); !ok || id != 0 {
		t.Errorf("toor is %d, %v", id, ok)
	}
	for name, want := range map[string]bool{"root": true, "toor": true, "Alice": true, "bob": true, "carol": false, "": false} {
		if got := u.admin(name); got != want {
			t.Errorf("admin(%q) = %v", name, got)
		}
	}
}

func TestUsersFollowTheFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "passwd")
	write := func(s string) {
		if err := os.WriteFile(name+".new", []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	write("a:x:5:5:::\n")
	u := newUsers(name, "/nonexistent")
	write("b:x:5:5:::\n")
	u.stamp[0] = u.stamp[0].Add(-1) // as if the first had been older
	u.refresh()
	if got := u.name(5); got != "b" {
		t.Errorf("name is %q after the file changed", got)
	}
}

func TestHostParsers(t *testing.T) {
	t.Parallel()
	d, v := osRelease([]byte("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n# no\n"))
	if d != "Debian" || v != "12" {
		t.Errorf("got %q %q", d, v)
	}
	if d, v := osRelease([]byte("ID='weird'\nNAME='Weird OS'\nVERSION_ID=3")); d != "Weird OS" || v != "3" {
		t.Errorf("got %q %q", d, v)
	}
	servers, domain := resolvers([]byte("# x\nnameserver 192.0.2.53\nnameserver broken\nnameserver fe80::1%eth0\nsearch corp.test other\n"))
	if diff := cmp.Diff([]string{"192.0.2.53", "fe80::1%eth0"}, servers); diff != "" || domain != "corp.test" {
		t.Errorf("%s %q", diff, domain)
	}
	routes := []byte("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\neth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
	if got := defaultInterface(routes); got != "eth0" {
		t.Errorf("default interface %q", got)
	}
	if diff := cmp.Diff(map[string][]string{"eth0": {"192.0.2.1"}}, gateways(routes)); diff != "" {
		t.Error(diff)
	}
}

func TestHostFacts(t *testing.T) {
	t.Parallel()
	f := HostFacts()
	if f.HostName == "" || f.OSPlatform != "Linux" || f.Kernel == "" || f.BootID == "" || f.Processors < 1 || f.MemoryBytes <= 0 || f.BootTime == 0 {
		t.Errorf("facts are missing: %+v", f)
	}
	for _, ip := range f.IPs {
		if a, err := netip.ParseAddr(ip); err != nil || a.IsLoopback() {
			t.Errorf("address %q", ip)
		}
	}
}

func FuzzProcFiles(f *testing.F) {
	for _, seed := range []string{
		"root:x:0:0:::", "8:pids:/docker/x\n0::/", "42 (a) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2 3",
		"  0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 12345 1", "ID=debian\nX=\"\\u1\"", "nameserver ::1", "a /b cgroup2",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parsePasswd(b)
		parseAdmins(b)
		osRelease(b)
		resolvers(b)
		gateways(b)
		defaultInterface(b)
		if p := procfs.CgroupPath(b); !strings.HasPrefix(p, "/") {
			t.Fatalf("control group %q", p)
		}
	})
}
