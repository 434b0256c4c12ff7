// SPDX-License-Identifier: Apache-2.0

package hello

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// JA3 returns the fingerprint of a client hello by Salesforce's method and the
// text that it is the MD5 of.
func (c *Client) JA3() (digest, text string) {
	text = strings.Join([]string{
		strconv.Itoa(int(c.Version)), decimal(c.Ciphers), decimal(c.Extensions), decimal(c.Groups), decimal(c.Points),
	}, ",")
	sum := md5.Sum([]byte(text)) // a name, not a proof: the method demands it
	return hex.EncodeToString(sum[:]), text
}

func decimal[N uint8 | uint16](n []N) string {
	parts := make([]string, len(n))
	for i, v := range n {
		parts[i] = strconv.Itoa(int(v))
	}
	return strings.Join(parts, "-")
}

// JA4 returns the fingerprint of a client hello by FoxIO's method for TLS.
// transport is t for TCP and q for QUIC.
func (c *Client) JA4(transport byte) string {
	sni := "i"
	if slices.Contains(c.Extensions, extServerName) {
		sni = "d"
	}
	head := fmt.Sprintf("%c%s%s%02d%02d%s", transport, ja4Version(c.Best()), sni,
		min(len(c.Ciphers), 99), min(len(c.Extensions), 99), ja4Protocol(c.ALPN))
	ciphers := slices.Sorted(slices.Values(c.Ciphers))
	var extensions []uint16
	for _, e := range c.Extensions {
		if e != extServerName && e != extALPN {
			extensions = append(extensions, e)
		}
	}
	slices.Sort(extensions)
	rest := hexadecimal(extensions)
	if len(c.Signatures) > 0 {
		rest += "_" + hexadecimal(c.Signatures)
	}
	if len(c.Extensions) == 0 {
		rest = ""
	}
	return head + "_" + half(hexadecimal(ciphers)) + "_" + half(rest)
}

func ja4Version(v uint16) string {
	switch v {
	case 0x0002:
		return "s2"
	case 0x0300:
		return "s3"
	case 0x0301, 0x0302, 0x0303, 0x0304:
		return strconv.Itoa(int(v - 0x0301 + 10))
	}
	return "00"
}

// ja4Protocol is the first and the last letter of the first protocol, or of
// its bytes in hexadecimal when one of them is no letter or digit.
func ja4Protocol(alpn []string) string {
	if len(alpn) == 0 {
		return "00"
	}
	first, last := alpn[0][0], alpn[0][len(alpn[0])-1]
	if alphanumeric(first) && alphanumeric(last) {
		return string([]byte{first, last})
	}
	return hex.EncodeToString([]byte{first})[:1] + hex.EncodeToString([]byte{last})[1:]
}

func alphanumeric(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

func hexadecimal(n []uint16) string {
	parts := make([]string, len(n))
	for i, v := range n {
		parts[i] = fmt.Sprintf("%04x", v)
	}
	return strings.Join(parts, ",")
}

// half is the first half of a SHA-256 that the method keeps.
func half(s string) string {
	if s == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
