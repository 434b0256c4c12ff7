// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net/netip"
	"slices"
	"strings"
)

// Ports of name services.
const (
	portDNS   = 53
	portHTTPS = 443
	portDoT   = 853
	portMDNS  = 5353
	portLLMNR = 5355
	portDoQ   = 8853
)

// publicResolvers are the servers that answer over HTTPS to everybody: where
// a program asks them, what it asks for cannot be seen.
var publicResolvers = []string{
	"chrome.cloudflare-dns.com", "cloudflare-dns.com", "dns.adguard-dns.com", "dns.alidns.com", "dns.google", "dns.google.com",
	"dns.mullvad.net", "dns.nextdns.io", "dns.quad9.net", "dns.sb", "dns.umbrella.com",
	"dns10.quad9.net", "dns11.quad9.net", "dns9.quad9.net", "doh.cleanbrowsing.org", "doh.dns.sb", "doh.familyshield.opendns.com", "doh.libredns.gr", "doh.mullvad.net",
	"doh.opendns.com", "doh.pub", "doh.umbrella.com", "doh.xfinity.com", "dot.pub", "family.cloudflare-dns.com", "mozilla.cloudflare-dns.com",
	"one.one.one.one", "security.cloudflare-dns.com", "unfiltered.adguard-dns.com",
}

// publicResolverAddresses are those of them that are asked without a name.
var publicResolverAddresses = []netip.Addr{
	netip.MustParseAddr("1.0.0.1"), netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("1.1.1.2"), netip.MustParseAddr("1.1.1.3"),
	netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("8.8.8.8"),
	netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("9.9.9.10"), netip.MustParseAddr("9.9.9.11"), netip.MustParseAddr("149.112.112.112"),
	netip.MustParseAddr("94.140.14.14"), netip.MustParseAddr("94.140.15.15"),
	netip.MustParseAddr("208.67.220.220"), netip.MustParseAddr("208.67.222.222"),
	netip.MustParseAddr("223.5.5.5"), netip.MustParseAddr("223.6.6.6"),
	netip.MustParseAddr("2001:4860:4860::8844"), netip.MustParseAddr("2001:4860:4860::8888"),
	netip.MustParseAddr("2606:4700:4700::1001"), netip.MustParseAddr("2606:4700:4700::1111"),
	netip.MustParseAddr("2620:fe::9"), netip.MustParseAddr("2620:fe::fe"),
}

// encryptedDNS says how names are asked for over a connection to another host
// where nobody can see them: DoT, DoQ, DoH or "".
func encryptedDNS(protocol uint16, remote netip.AddrPort, name string, alpn []string) string {
	port, udp := remote.Port(), protocol == 17
	switch {
	case udp && (port == portDoT || port == portDoQ) || slices.Contains(alpn, "doq"):
		return "DoQ"
	case port == portDoT || slices.Contains(alpn, "dot"):
		return "DoT"
	case port != portHTTPS:
		return ""
	}
	_, known := slices.BinarySearch(publicResolvers, name)
	if known || strings.HasSuffix(name, ".dns.nextdns.io") || strings.HasSuffix(name, ".cloudflare-gateway.com") || slices.Contains(publicResolverAddresses, remote.Addr()) {
		return "DoH"
	}
	return ""
}
