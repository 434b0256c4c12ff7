// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

// utmpBytes is one record as the system library writes it.
func utmpBytes(l utmpLayout, kind int16, pid int32, line, user, host string, addr []byte) []byte {
	b := make([]byte, l.size)
	binary.LittleEndian.PutUint16(b, uint16(kind))
	binary.LittleEndian.PutUint32(b[4:], uint32(pid))
	copy(b[8:40], line)
	copy(b[44:76], user)
	copy(b[76:332], host)
	binary.LittleEndian.PutUint32(b[l.seconds:], 1_700_000_000)
	copy(b[l.address:], addr)
	return b
}

func TestParseUtmp(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"amd64", "arm64"} {
		l := layoutOf(arch)
		v6 := netip.MustParseAddr("2001:db8::7").As16()
		b := utmpBytes(l, utUser, 77, "pts/0", "root", "host.test", []byte{192, 0, 2, 7})
		b = append(b, utmpBytes(l, utDead, 77, "pts/0", strings.Repeat("u", 40), "", v6[:])...)
		got := parseUtmp(append(b, 1, 2, 3), l)
		want := []utmpEntry{
			{kind: utUser, pid: 77, line: "pts/0", user: "root", host: "host.test", addr: netip.MustParseAddr("192.0.2.7"), unixTime: 1_700_000_000},
			{kind: utDead, pid: 77, line: "pts/0", user: strings.Repeat("u", 32), addr: netip.MustParseAddr("2001:db8::7"), unixTime: 1_700_000_000},
		}
		want[1].host = ""
		// A field that is full has no NUL and ends where the next begins.
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(utmpEntry{}), compareAddrs); diff != "" {
			t.Errorf("%s: %s", arch, diff)
		}
	}
}

func FuzzLoginRecords(f *testing.F) {
	f.Add(utmpBytes(layoutOf("amd64"), utUser, 1, "pts/0", "root", "h", []byte{1}))
	f.Add([]byte("USER=a\nLEADER=x\nREMOTE_HOST=\"\\x\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range parseUtmp(b, layoutOf("amd64")) {
			fromUtmp(e, Success)
		}
		parseUtmp(b, layoutOf("arm64"))
		if n, ok := parseSession(b); ok && n.User == "" {
			t.Fatal("a session of nobody")
		}
	})
}
