// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
)

func TestBoundedForgetsTheFirst(t *testing.T) {
	t.Parallel()
	b := newBounded[int, string](3)
	for i := range 3 {
		if _, gone := b.put(i, strconv.Itoa(i)); gone {
			t.Errorf("%d made room", i)
		}
	}
	b.take(0)
	if _, gone := b.put(3, "3"); gone {
		t.Error("there was room")
	}
	if old, gone := b.put(4, "4"); !gone || old != "1" {
		t.Errorf("%q went", old)
	}
	if b.put(4, "four"); b.get(4) != "four" || b.get(1) != "" {
		t.Errorf("%v", b.m)
	}
	for i := range 100 {
		b.put(i+10, "")
		b.take(i + 10)
	}
	if len(b.order) > 8 || len(b.m) > 3 {
		t.Errorf("%d keys of %d entries", len(b.order), len(b.m))
	}
}

func TestEncryptedDNS(t *testing.T) {
	t.Parallel()
	if !slices.IsSorted(publicResolvers) {
		t.Error("the resolvers are not in order")
	}
	for _, c := range []struct {
		protocol uint16
		remote   string
		name     string
		alpn     []string
		want     string
	}{
		{6, "192.0.2.1:853", "", nil, "DoT"},
		{17, "192.0.2.1:853", "", nil, "DoQ"},
		{6, "192.0.2.1:443", "", []string{"dot"}, "DoT"},
		{6, "192.0.2.1:443", "dns.google", nil, "DoH"},
		{6, "192.0.2.1:443", "abc123.dns.nextdns.io", nil, "DoH"},
		{17, "1.1.1.1:443", "", nil, "DoH"},
		{6, "[2606:4700:4700::1111]:443", "", nil, "DoH"},
		{6, "1.1.1.1:80", "", nil, ""},
		{6, "192.0.2.1:443", "example.test", []string{"h2"}, ""},
	} {
		if got := encryptedDNS(c.protocol, netip.MustParseAddrPort(c.remote), c.name, c.alpn); got != c.want {
			t.Errorf("%v: %q", c, got)
		}
	}
}

// frame is a message behind its length.
func frame(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }

func TestFrames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3000)
	type part struct {
		seq   uint32
		bytes string
		total int // 0: all of it
	}
	for name, c := range map[string]struct {
		parts  []part
		want   []string
		broken bool
	}{
		"whole":            {[]part{{1, frame("a") + frame("b"), 0}}, []string{"a", "b"}, false},
		"in pieces":        {[]part{{1, frame("ab")[:1], 0}, {2, frame("ab")[1:3], 0}, {4, "b", 0}}, []string{"ab"}, false},
		"sent again":       {[]part{{1, frame("a"), 0}, {1, frame("a"), 0}, {4, frame("b"), 0}}, []string{"a", "b"}, false},
		"a gap":            {[]part{{1, frame("a"), 0}, {9, frame("b"), 0}, {12, frame("c"), 0}}, []string{"a"}, true},
		"around the end":   {[]part{{0xfffffffe, frame("a"), 0}, {1, frame("b"), 0}}, []string{"a", "b"}, false},
		"cut":              {[]part{{1, frame(long)[:2048], 3002}, {3003, frame("b"), 0}}, []string{long[:2046], "b"}, false},
		"cut, goes on":     {[]part{{1, frame(long)[:2048], 2500}, {2501, frame(long)[2500:] + frame("b"), 0}}, []string{long[:2046], "b"}, false},
		"cut within":       {[]part{{1, frame(long)[:2048], 4000}}, []string{long[:2046]}, true},
		"cut in a length":  {[]part{{1, frame("a"), 10}}, []string{"a"}, true},
		"nothing but gaps": {[]part{{1, "", 10}}, nil, true},
	} {
		s := &frames{}
		var got []string
		ok := true
		for _, p := range c.parts {
			ok = s.feed(p.seq, []byte(p.bytes), max(p.total, len(p.bytes)), func(b []byte, n int) {
				if n < len(b) {
					t.Errorf("%s: %d bytes of %d", name, len(b), n)
				}
				got = append(got, string(b))
			}) && ok
		}
		if !slices.Equal(got, c.want) || ok == c.broken {
			t.Errorf("%s: %d messages, right %v", name, len(got), ok)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame("a")+frame("b")), uint16(3), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, cut, missing uint16) {
		s := &frames{}
		n := min(int(cut), len(b))
		told := 0
		count := func(m []byte, _ int) { told += len(m) }
		s.feed(1, b[:n], n, count)
		s.feed(1+uint32(n), b[n:], len(b)-n+int(missing), count)
		if told > len(b) || s.skip < 0 || len(s.buf) > len(b) {
			t.Fatalf("%d bytes told of %d, %d to skip", told, len(b), s.skip)
		}
	})
}

// goHello is what Go's client says first.
func goHello(t *testing.T, name string) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		_ = tls.Client(a, &tls.Config{ServerName: name}).Handshake() // never answered
	}()
	buf := make([]byte, 8<<10)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	return buf[:n]
}

func payloadOf(kind uint16, side uint16, seq uint32, b []byte) *record.Payload {
	return &record.Payload{ID: record.StreamID{Sock: 1, Opened: 2}, Kind: kind, Side: side, Inbound: side == record.SideServer, Seq: seq, Bytes: b, Total: uint32(len(b)),
		Local: netip.MustParseAddrPort("10.0.0.1:4000"), Remote: netip.MustParseAddrPort("192.0.2.1:443")}
}

func closeOf(side uint32) *record.Stream {
	r := &record.Stream{ID: record.StreamID{Sock: 1, Opened: 2}, Side: side, State: 9, Sent: 5, Received: 6, Retransmits: 2}
	r.Op, r.Protocol, r.Time = record.NetClosed, 6, 3_000_002
	r.Local, r.Remote = netip.MustParseAddrPort("10.0.0.1:4000"), netip.MustParseAddrPort("192.0.2.1:443")
	return r
}

func networkRows(t *testing.T, f *offline) []*event.DeviceNetworkEvents {
	t.Helper()
	var out []*event.DeviceNetworkEvents
	for _, row := range f.take() {
		r, ok := row.(*event.DeviceNetworkEvents)
		if !ok {
			t.Fatalf("row %v", columns(row))
		}
		out = append(out, r)
	}
	return out
}

// However a hello arrives, one row tells of it, and the end of its connection
// names the server.
func TestHelloInPieces(t *testing.T) {
	t.Parallel()
	b := goHello(t, "one.test")
	for name, pieces := range map[string][]*record.Payload{
		"whole":      {payloadOf(record.PayloadTLS, record.SideClient, 9, b)},
		"two":        {payloadOf(record.PayloadTLS, record.SideClient, 9, b[:300]), payloadOf(record.PayloadTLS, record.SideClient, 309, b[300:])},
		"again":      {payloadOf(record.PayloadTLS, record.SideClient, 9, b[:300]), payloadOf(record.PayloadTLS, record.SideClient, 9, b[:300]), payloadOf(record.PayloadTLS, record.SideClient, 309, b[300:])},
		"and beyond": {payloadOf(record.PayloadTLS, record.SideClient, 9, b[:300]), payloadOf(record.PayloadTLS, record.SideClient, 309, b[300:]), payloadOf(record.PayloadTLS, record.SideClient, 9+uint32(len(b)), []byte{20, 3, 3, 0, 1, 1})},
	} {
		f := newOffline(t, logon.Paths{})
		for _, p := range pieces {
			f.onPayload(p)
		}
		f.onStream(closeOf(record.SideClient))
		rows := networkRows(t, f)
		if len(rows) != 2 {
			t.Errorf("%s: %d rows", name, len(rows))
			continue
		}
		if r := rows[0]; r.ActionType != "SslConnectionInspected" || r.ServerName != "one.test" || r.Ja4 == "" || r.RemoteUrl != "one.test" {
			t.Errorf("%s: %v", name, columns(r))
		}
		if r := rows[1]; r.ActionType != "ConnectionClosed" || r.RemoteUrl != "one.test" || r.BytesSent != event.LongOf(5) || r.BytesReceived != event.LongOf(6) ||
			r.ConnectionDurationMs != event.LongOf(3) || !strings.Contains(r.AdditionalFields, `"Retransmits":2`) {
			t.Errorf("%s: %v", name, columns(r))
		}
		if lost := f.lost.copy()["decode.hello"]; lost != 0 {
			t.Errorf("%s: %d not read", name, lost)
		}
	}
}

// A hello whose rest never comes is told by what there is, without a
// fingerprint that would be wrong.
func TestCutHello(t *testing.T) {
	t.Parallel()
	b := goHello(t, "cut.test")
	at := bytes.Index(b, []byte("cut.test")) + len("cut.test")
	for _, n := range []int{at, len(b) - 1} {
		f := newOffline(t, logon.Paths{})
		f.onPayload(payloadOf(record.PayloadTLS, record.SideClient, 9, b[:n]))
		f.endStreams()
		rows := networkRows(t, f)
		if len(rows) != 1 || rows[0].Ja3 != "" || rows[0].Ja4 != "" || rows[0].ServerName != "cut.test" || !strings.Contains(rows[0].AdditionalFields, "Truncated") {
			t.Errorf("%d rows: %v", len(rows), columns(rows[0]))
		}
	}
	f := newOffline(t, logon.Paths{})
	f.onPayload(payloadOf(record.PayloadTLS, record.SideClient, 9, []byte("\x16\x03\x01\x00\x04\x02\x00\x00\x00")))
	f.onPayload(payloadOf(99, record.SideClient, 9, nil))
	if lost := f.lost.copy(); lost["decode.hello"] != 1 || lost["decode"] != 1 || len(f.take()) != 0 {
		t.Errorf("lost %v", lost)
	}
}

// What a client says before it is accepted waits for the process that does.
func TestInspectedWaitsForAccept(t *testing.T) {
	t.Parallel()
	request := []byte("GET /x HTTP/1.1\r\nHost: in.test\r\n\r\n")
	f := newOffline(t, logon.Paths{})
	f.cache.add(77, 7700, nil)
	f.onPayload(payloadOf(record.PayloadHTTP, record.SideServer, 1, request))
	if n := len(f.take()); n != 0 {
		t.Fatalf("%d rows too early", n)
	}
	accepted := closeOf(record.SideServer)
	accepted.Op, accepted.PID, accepted.Start = record.NetAccepted, 77, 7700
	f.onStream(accepted)
	rows := networkRows(t, f)
	if len(rows) != 2 || rows[1].ActionType != "HttpConnectionInspected" || rows[1].InitiatingProcessId != 77 || rows[1].RemoteUrl != "" ||
		!strings.Contains(rows[1].AdditionalFields, `"direction":"In"`) {
		t.Fatalf("%d rows: %v", len(rows), columns(rows[len(rows)-1]))
	}
	f.onPayload(payloadOf(record.PayloadHTTP, record.SideServer, 1, request))
	f.onStream(closeOf(record.SideServer))
	rows = networkRows(t, f)
	if len(rows) != 2 || rows[0].ActionType != "HttpConnectionInspected" || rows[0].InitiatingProcessId != 0 || rows[1].RemoteUrl != "" {
		t.Errorf("%d rows: %v", len(rows), columns(rows[0]))
	}
	for i := range maxWaiting + 5 {
		p := payloadOf(record.PayloadHTTP, record.SideServer, 1, request)
		p.ID.Sock = uint64(i)
		f.onPayload(p)
	}
	if n := len(f.take()); n != 5 || len(f.streams.waiting.m) != maxWaiting {
		t.Errorf("%d rows made room", n)
	}
}

// One banner alone is told when the connection ends.
func TestHalfOfSSH(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	p := payloadOf(record.PayloadSSH, record.SideClient, 1, []byte("SSH-2.0-scanner\r\n"))
	f.onPayload(p)
	f.onStream(closeOf(record.SideClient))
	rows := networkRows(t, f)
	if len(rows) != 2 || !strings.Contains(rows[0].AdditionalFields, `"client":"scanner"`) {
		t.Errorf("%d rows", len(rows))
	}
}

func TestFoundStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s := newFoundStreams()
	for i := range maxFoundStreams + 3 {
		s.add(foundKey{protocol: 6, netns: uint32(i)}, procKey{1, 2})
	}
	if len(s.owner) != maxFoundStreams {
		t.Errorf("%d", len(s.owner))
	}
	if p, ok := s.take(foundKey{protocol: 6, netns: 5}); !ok || p.pid != 1 {
		t.Errorf("%v", p)
	}
	if _, ok := s.take(foundKey{protocol: 6, netns: 5}); ok {
		t.Error("it is still there")
	}
}
