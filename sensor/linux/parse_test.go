// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		if p := procfs.CgroupPath(b); !strings.HasPrefix(p, "/") {
			t.Fatalf("control group %q", p)
		}
	})
}
