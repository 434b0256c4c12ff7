// SPDX-License-Identifier: Apache-2.0

package hello

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// spec is a client hello to be written.
type spec struct {
	version    uint16
	ciphers    []uint16
	extensions []uint16
	body       map[uint16][]byte
}

func u16s(n ...uint16) []byte {
	var b []byte
	for _, v := range n {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// list puts a length of two bytes in front.
func list(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func short(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }

// wire writes the hello in records of at most size bytes.
func (s spec) wire(size int) []byte {
	b := append(u16s(s.version), make([]byte, 32)...)
	b = append(b, 0)
	b = append(b, list(u16s(s.ciphers...))...)
	b = append(b, 1, 0)
	var ext []byte
	for _, e := range s.extensions {
		ext = append(append(ext, u16s(e)...), list(s.body[e])...)
	}
	if len(s.extensions) > 0 {
		b = append(b, list(ext)...)
	}
	b = append([]byte{typeClientHello, 0, byte(len(b) >> 8), byte(len(b))}, b...)
	var out []byte
	for len(b) > 0 {
		n := min(len(b), size)
		out = append(append(out, recordHandshake, 3, 1), list(b[:n])...)
		b = b[n:]
	}
	return out
}

// chrome is the hello that the description of JA4 works out by hand.
func chrome() spec {
	return spec{
		version: 0x0303,
		ciphers: []uint16{0x3a3a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
		extensions: []uint16{0x9a9a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01,
			0x000b, 0x000a, 0x0015},
		body: map[uint16][]byte{
			extServerName: list(append([]byte{0}, list([]byte("Www.Example.TEST."))...)),
			extALPN:       list(append(short([]byte("h2")), short([]byte("http/1.1"))...)),
			extVersions:   short(u16s(0xeaea, 0x0304, 0x0303)),
			extSignatures: list(u16s(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)),
			extGroups:     list(u16s(0x7a7a, 29, 23, 24)),
			extPoints:     short([]byte{0}),
		},
	}
}

func TestJA4OfItsDescription(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1 << 14, 100, 7} {
		c, err := ParseClient(chrome().wire(size))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.JA4('t'); got != "t13d1516h2_8daaf6152771_e5627efa2ab1" {
			t.Errorf("records of %d bytes: JA4 %s", size, got)
		}
		if c.ServerName != "www.example.test" || VersionText(c.Best()) != "TLSv13" || c.Resumed || c.Encrypted {
			t.Errorf("%+v", c)
		}
		if diff := cmp.Diff([]string{"h2", "http/1.1"}, c.Protocols()); diff != "" {
			t.Error(diff)
		}
	}
}

// The two hellos that the description of JA3 works out.
func TestJA3OfItsDescription(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		s            spec
		text, digest string
	}{
		{spec{version: 769, ciphers: []uint16{47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4}, extensions: []uint16{0, 10, 11},
			body: map[uint16][]byte{10: list(u16s(23, 24, 25)), 11: short([]byte{0})}},
			"769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0", "ada70206e40642a3e4461f35503241d5"},
		{spec{version: 769, ciphers: []uint16{4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99}},
			"769,4-5-10-9-100-98-3-6-19-18-99,,,", "de350869b8c85de67a350c8d186f11e6"},
	} {
		c, err := ParseClient(v.s.wire(1 << 14))
		if err != nil {
			t.Fatal(err)
		}
		if digest, text := c.JA3(); digest != v.digest || text != v.text {
			t.Errorf("JA3 %s of %s", digest, text)
		}
	}
}

func TestJA4OfOddHellos(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]spec{
		"t10i110000_": {version: 769, ciphers: []uint16{4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99}},
		"t12i000100_000000000000_" + half("000a"): {version: 0x0303, extensions: []uint16{extGroups}},
		"t00i000000_000000000000_000000000000":    {version: 0x0399},
	} {
		c, err := ParseClient(s.wire(1 << 14))
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if got := c.JA4('t'); !strings.HasPrefix(got, want) || len(got) != 36 {
			t.Errorf("JA4 %s, want %s", got, want)
		}
	}
	for _, v := range []struct {
		alpn []string
		want string
	}{{nil, "00"}, {[]string{"h2"}, "h2"}, {[]string{"http/1.1"}, "h1"}, {[]string{"h"}, "hh"}, {[]string{"\xab"}, "ab"}, {[]string{"0\xef"}, "3f"}} {
		if got := ja4Protocol(v.alpn); got != v.want {
			t.Errorf("%q: %s, want %s", v.alpn, got, v.want)
		}
	}
}

func TestParseClientRefuses(t *testing.T) {
	t.Parallel()
	whole := chrome().wire(1 << 14)
	for n := range whole {
		if c, err := ParseClient(whole[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("%d bytes: %+v, %v", n, c, err)
		}
	}
	for _, b := range [][]byte{
		[]byte("GET / HTTP/1.1\r\n\r\n"),
		{22, 3, 3, 0, 0, 1},                // an empty record
		{22, 3, 3, 0xff, 0xff, 1, 0},       // a record that is too long
		{22, 3, 3, 0, 4, 2, 0, 0, 0},       // the hello of a server
		{22, 3, 3, 0, 4, 1, 0, 0, 0},       // nothing in it
		{22, 3, 1, 0, 4, 1, 0xff, 0, 0, 0}, // a message that is too long
		{23, 3, 3, 0, 4},
	} {
		if c, err := ParseClient(b); !errors.Is(err, ErrOther) {
			t.Errorf("% x: %+v, %v", b, c, err)
		}
	}
	addressed := chrome()
	addressed.body[extServerName] = list(append([]byte{0}, list([]byte("192.0.2.1"))...))
	if c, err := ParseClient(addressed.wire(1 << 14)); err != nil || c.ServerName != "" {
		t.Errorf("an address as a name: %+v, %v", c, err)
	}
}

// What Go's own client sends is read, however it is cut.
func TestParseClientOfGo(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		_ = tls.Client(a, &tls.Config{ServerName: "picket.test", NextProtos: []string{"h2"}}).Handshake() // never answered
	}()
	buf := make([]byte, 8<<10)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	c, err := ParseClient(buf[:n])
	if err != nil {
		t.Fatal(err)
	}
	if c.ServerName != "picket.test" || VersionText(c.Best()) != "TLSv13" || !strings.HasPrefix(c.JA4('t'), "t13d") || len(c.Groups) == 0 {
		t.Errorf("%+v %s", c, c.JA4('t'))
	}
}

func FuzzParseClient(f *testing.F) {
	f.Add(chrome().wire(1 << 14))
	f.Add(chrome().wire(50))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseClient(b)
		if err != nil && !errors.Is(err, ErrShort) && !errors.Is(err, ErrOther) {
			t.Fatal(err)
		}
		if c == nil {
			return
		}
		digest, _ := c.JA3()
		if len(c.JA4('t')) != 36 || len(digest) != 32 || len(c.ServerName) > 3*255 || len(c.ALPN) > maxProtocols {
			t.Fatalf("%s %s %+v", c.JA4('t'), digest, c)
		}
	})
}
