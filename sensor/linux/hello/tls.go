// SPDX-License-Identifier: Apache-2.0

package hello

import (
	"net/netip"
	"strings"
)

// Client is what a client hello says. Lists are in the order of the wire,
// with the values that only keep servers tolerant (GREASE) left out.
type Client struct {
	Version    uint16 // as the old field has it
	Versions   []uint16
	Ciphers    []uint16
	Extensions []uint16
	Groups     []uint16
	Points     []uint8
	Signatures []uint16
	ServerName string
	ALPN       []string
	Encrypted  bool // an inner hello is hidden: the server name is that of the outer one
	Resumed    bool // a key of an earlier session is offered
}

// Numbers of extensions that are looked into.
const (
	extServerName   = 0
	extGroups       = 10
	extPoints       = 11
	extSignatures   = 13
	extALPN         = 16
	extPreSharedKey = 41
	extVersions     = 43
	extECH          = 0xfe0d
)

const (
	recordHandshake = 22
	typeClientHello = 1
	maxHello        = 16 << 10
	maxProtocols    = 16
)

// reader takes bytes from the front and remembers whether there were enough.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() int {
	b := r.take(1)
	if b == nil {
		return 0
	}
	return int(b[0])
}

func (r *reader) u16() int {
	b := r.take(2)
	if b == nil {
		return 0
	}
	return int(b[0])<<8 | int(b[1])
}

func (r *reader) u24() int { return r.u8()<<16 | r.u16() }

// numbers reads what is left as numbers of two bytes.
func (r *reader) numbers() []uint16 {
	var out []uint16
	for len(r.b) >= 2 {
		if n := uint16(r.u16()); !grease(n) {
			out = append(out, n)
		}
	}
	return out
}

// grease reports whether a value only keeps servers tolerant (RFC 8701).
func grease(n uint16) bool { return n&0x0f0f == 0x0a0a && n>>8 == n&0xff }

// ParseClient reads the client hello at the beginning of a TLS stream. It
// returns ErrShort when more of the stream is wanted, with what could be read
// if that is the hello's fixed part at least.
func ParseClient(b []byte) (*Client, error) {
	message, whole, err := handshake(b)
	if err != nil {
		return nil, err
	}
	r := &reader{b: message}
	c := &Client{Version: uint16(r.u16())}
	r.take(32)
	r.take(r.u8())
	ciphers := reader{b: r.take(r.u16())}
	compressions := r.take(r.u8())
	switch {
	case r.short && whole:
		return nil, ErrOther
	case r.short:
		return nil, ErrShort
	case c.Version>>8 != 3 || len(compressions) == 0 || len(ciphers.b)%2 != 0:
		return nil, ErrOther
	}
	c.Ciphers = ciphers.numbers()
	if len(r.b) > 0 {
		n := r.u16()
		c.extensions(&reader{b: r.b[:min(n, len(r.b))]})
	}
	if !whole {
		return c, ErrShort
	}
	return c, nil
}

// handshake joins the records that carry the first message and returns its
// body; whole is false when its end is missing.
func handshake(b []byte) (body []byte, whole bool, err error) {
	if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != 3 {
		return nil, false, ErrOther
	}
	r := &reader{b: b}
	var joined []byte
	for len(r.b) >= 5 {
		if kind, version := r.u8(), r.u16(); kind != recordHandshake || version>>8 != 3 {
			return nil, false, ErrOther
		}
		n := r.u16()
		if n == 0 || n > maxHello {
			return nil, false, ErrOther
		}
		part := r.b[:min(n, len(r.b))]
		r.b = r.b[len(part):]
		joined = append(joined, part...)
		m := reader{b: joined}
		kind, size := m.u8(), m.u24()
		if !m.short && (kind != typeClientHello || size > maxHello) {
			return nil, false, ErrOther
		}
		if !m.short && len(m.b) >= size {
			return m.b[:size], true, nil
		}
	}
	if len(joined) < 4 {
		return nil, false, ErrShort
	}
	return joined[4:], false, nil
}

func (c *Client) extensions(r *reader) {
	for len(r.b) >= 4 {
		kind := uint16(r.u16())
		n := r.u16()
		body := &reader{b: r.b[:min(n, len(r.b))]}
		r.b = r.b[len(body.b):]
		if grease(kind) {
			continue
		}
		c.Extensions = append(c.Extensions, kind)
		c.extension(kind, body)
	}
}

func (c *Client) extension(kind uint16, r *reader) {
	switch kind {
	case extServerName:
		r.u16()
		if r.u8() == 0 && c.ServerName == "" {
			c.ServerName = name(r.take(r.u16()))
		}
	case extGroups:
		r.u16()
		c.Groups = r.numbers()
	case extPoints:
		r.u8()
		c.Points = append(c.Points, r.b...)
	case extSignatures:
		r.u16()
		c.Signatures = r.numbers()
	case extVersions:
		r.u8()
		c.Versions = r.numbers()
	case extALPN:
		r.u16()
		for len(r.b) > 0 && len(c.ALPN) < maxProtocols {
			if p := r.take(r.u8()); len(p) > 0 && !(len(p) == 2 && grease(uint16(p[0])<<8|uint16(p[1]))) {
				c.ALPN = append(c.ALPN, string(p))
			}
		}
	case extPreSharedKey:
		c.Resumed = true
	case extECH:
		c.Encrypted = r.u8() == 0
	}
}

// name is a server name as it is searched for.
func name(b []byte) string {
	if len(b) > 255 {
		return ""
	}
	s := strings.ToLower(strings.TrimSuffix(clean(b), "."))
	if _, err := netip.ParseAddr(s); err == nil {
		return "" // RFC 6066 forbids addresses
	}
	return s
}

// Best is the highest version that is offered.
func (c *Client) Best() uint16 {
	best := uint16(0)
	for _, v := range c.Versions {
		best = max(best, v)
	}
	if best == 0 {
		return c.Version
	}
	return best
}

// VersionText names a version as the product schema does.
func VersionText(v uint16) string {
	switch v {
	case 0x0300:
		return "SSLv3"
	case 0x0301:
		return "TLSv10"
	case 0x0302:
		return "TLSv11"
	case 0x0303:
		return "TLSv12"
	case 0x0304:
		return "TLSv13"
	}
	return ""
}

// Protocols are the offered protocols as text.
func (c *Client) Protocols() []string {
	var out []string
	for _, p := range c.ALPN {
		out = append(out, clean([]byte(p)))
	}
	return out
}
