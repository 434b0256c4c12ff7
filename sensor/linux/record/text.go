// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"bytes"
	"net/netip"
	"strings"
)

// CommandLine joins arguments by spaces. Those that would not read as one
// word are quoted.
func CommandLine(args []byte) string {
	if len(args) == 0 {
		return ""
	}
	var b strings.Builder
	b.Grow(len(args) + 16)
	for i, arg := range bytes.Split(bytes.TrimSuffix(args, []byte{0}), []byte{0}) {
		if i > 0 {
			b.WriteByte(' ')
		}
		quote(&b, string(arg))
	}
	return Clean(b.String())
}

func quote(b *strings.Builder, arg string) {
	if arg != "" && !strings.ContainsAny(arg, " \t\r\n\"'\\") {
		b.WriteString(arg)
		return
	}
	if arg != "" && !strings.ContainsAny(arg, " \t\r\n\"'") {
		b.WriteString(arg) // a backslash alone changes nothing
		return
	}
	b.WriteByte('"')
	for i := 0; i < len(arg); i++ {
		if arg[i] == '"' || arg[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(arg[i])
	}
	b.WriteByte('"')
}

// AddressKind is the value of LocalIPType and RemoteIPType.
func AddressKind(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case a.IsLoopback():
		return "Loopback"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "Broadcast"
	case a.IsMulticast():
		return "Multicast"
	case a.IsLinkLocalUnicast():
		return "LinkLocal"
	case a.IsPrivate() || sharedSpace.Contains(a):
		return "Private"
	case teredo.Contains(a):
		return "Teredo"
	case a.Is4In6():
		return "FourToSixMapping"
	case a.IsUnspecified() || isReserved(a):
		return "Reserved"
	}
	return "Public"
}

var (
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
	teredo      = netip.MustParsePrefix("2001::/32")
	reserved    = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001:db8::/32"),
	}
)

func isReserved(a netip.Addr) bool {
	for _, p := range reserved {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
