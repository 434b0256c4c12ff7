// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"net/netip"
	"testing"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                   "",
		"ls\x00-l\x00":                       "ls -l",
		"ls\x00-l":                           "ls -l", // cut before its end
		"sh\x00-c\x00echo a b\x00":           `sh -c "echo a b"`,
		"a\x00\x00b\x00":                     `a "" b`,
		"grep\x00\\d\x00":                    `grep \d`,
		"x\x00say \"hi\\\"\x00":              `x "say \"hi\\\""`,
		"it's\x00":                           `"it's"`,
		"bad\xff\x00":                        "bad\uFFFD",
		"\x00":                               `""`,
		"tab\there\x00":                      "\"tab\there\"",
		"one\x00two three\x00four\nfive\x00": "one \"two three\" \"four\nfive\"",
	} {
		if got := CommandLine([]byte(in)); got != want {
			t.Errorf("CommandLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAddressKind(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"127.0.0.1": "Loopback", "::1": "Loopback", "10.1.2.3": "Private", "100.64.0.1": "Private", "fd00::1": "Private",
		"8.8.8.8": "Public", "2606:4700::1": "Public", "169.254.1.1": "LinkLocal", "fe80::1": "LinkLocal", "224.0.0.251": "Multicast",
		"ff02::fb": "Multicast", "255.255.255.255": "Broadcast", "0.0.0.0": "Reserved", "::": "Reserved", "192.0.2.1": "Reserved",
		"2001:0:1::1": "Teredo", "::ffff:8.8.8.8": "FourToSixMapping", "240.0.0.1": "Reserved",
	} {
		if got := AddressKind(netip.MustParseAddr(in)); got != want {
			t.Errorf("AddressKind(%s) = %s, want %s", in, got, want)
		}
	}
	if got := AddressKind(netip.Addr{}); got != "" {
		t.Errorf("no address: %q", got)
	}
}
