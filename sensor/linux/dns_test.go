// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/net/dns/dnsmessage"
)

// reply builds an answer with a record of each kind that is read.
func reply(t testing.TB) []byte {
	t.Helper()
	name := dnsmessage.MustNewName("Www.Example.TEST.")
	h := func(kind dnsmessage.Type) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET, TTL: 60}
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, Response: true, Truncated: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{
			{Header: h(dnsmessage.TypeCNAME), Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("cdn.test.")}},
			{Header: h(dnsmessage.TypeA), Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
			{Header: h(dnsmessage.TypeAAAA), Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::2").As16()}},
			{Header: h(dnsmessage.TypeTXT), Body: &dnsmessage.TXTResource{TXT: []string{"a", "b"}}},
			{Header: h(dnsmessage.TypeMX), Body: &dnsmessage.MXResource{Pref: 5, MX: dnsmessage.MustNewName("mx.test.")}},
			{Header: h(dnsmessage.TypeSRV), Body: &dnsmessage.SRVResource{Priority: 1, Weight: 2, Port: 3, Target: dnsmessage.MustNewName("s.test.")}},
			{Header: h(dnsmessage.TypeNS), Body: &dnsmessage.NSResource{NS: dnsmessage.MustNewName("ns.test.")}},
			{Header: h(dnsmessage.TypePTR), Body: &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("p.test.")}},
			{Header: h(65), Body: &dnsmessage.UnknownResource{Type: 65, Data: []byte{1}}},
		},
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseDNS(t *testing.T) {
	t.Parallel()
	b := reply(t)
	got, err := parseDNS(b)
	if err != nil {
		t.Fatal(err)
	}
	want := message{id: 7, response: true, truncated: true, code: "NOERROR", name: "www.example.test", kind: "A",
		answers:   []string{"cdn.test", "192.0.2.1", "2001:db8::2", "ab", "5 mx.test", "1 2 3 s.test", "ns.test", "p.test", "HTTPS"},
		ttls:      []uint32{60, 60, 60, 60, 60, 60, 60, 60, 60},
		addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::2")}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(message{}), compareAddrs); diff != "" {
		t.Error(diff)
	}
	// Cut behind the question it still says what was asked.
	cut, err := parseDNS(b[:60])
	if err != nil || cut.name != "www.example.test" || len(cut.answers) > 2 {
		t.Errorf("cut: %+v, %v", cut, err)
	}
	if _, err := parseDNS(b[:14]); err == nil {
		t.Error("half a question was accepted")
	}
	if _, err := parseDNS(nil); err == nil {
		t.Error("nothing was accepted")
	}
	if codeName(3) != "NXDOMAIN" || codeName(23) != "RCODE23" {
		t.Error("code names")
	}
	if kindName(999) != "TYPE999" || kindName(dnsmessage.TypeAAAA) != "AAAA" {
		t.Errorf("kind names %s %s", kindName(999), kindName(dnsmessage.TypeAAAA))
	}
}

func dnsBytes(direction uint16, payload []byte) []byte {
	b := make([]byte, 144+len(payload))
	binary.LittleEndian.PutUint16(b, record.TypeDNS)
	binary.LittleEndian.PutUint16(b[2:], record.FlagNoTask)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	binary.LittleEndian.PutUint16(b[96:], 2)
	binary.LittleEndian.PutUint16(b[98:], direction)
	binary.LittleEndian.PutUint16(b[100:], 40000)
	binary.LittleEndian.PutUint16(b[102:], 53)
	copy(b[104:], []byte{10, 0, 0, 1})
	copy(b[120:], []byte{10, 0, 0, 53})
	binary.LittleEndian.PutUint32(b[136:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[140:], uint32(len(payload)))
	copy(b[144:], payload)
	return b
}

func TestAnswersNameLaterConnections(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.handle(dnsBytes(record.DNSAnswer, reply(t)))
	rows := f.take()
	r, ok := rows[0].(*event.DeviceEvents)
	if len(rows) != 1 || !ok || r.ActionType != "DnsQueryResponse" || r.DnsQueryName != "www.example.test" || r.DnsResponseCode != "NOERROR" ||
		r.RemoteIP != "10.0.0.53" || r.RemotePort != 53 || r.LocalPort != 40000 {
		t.Fatalf("got %v", columns(rows[0]))
	}
	var answers []string
	if err := json.Unmarshal([]byte(r.DnsAnswers), &answers); err != nil || len(answers) != 9 {
		t.Errorf("answers %q: %v", r.DnsAnswers, err)
	}
	row := f.networkRow("ConnectionSuccess", 1, nil, 6, netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("192.0.2.1:443"))
	if row.RemoteUrl != "www.example.test" {
		t.Errorf("RemoteUrl %q", row.RemoteUrl)
	}
}

// Something else on the port of DNS is told as a datagram sent, and counted.
func TestNotDNS(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.handle(dnsBytes(record.DNSQuery, []byte("tunnel")))
	f.handle(dnsBytes(record.DNSAnswer, []byte("tunnel")))
	rows := f.take()
	if len(rows) != 1 || columns(rows[0])["ActionType"] != "ConnectionSuccess" {
		t.Errorf("got %d rows", len(rows))
	}
	if n := f.lost.copy()["decode.dns"]; n != 2 {
		t.Errorf("counted %d", n)
	}
}

func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	n := newNames()
	a := netip.MustParseAddr("10.0.0.1")
	for i := range maxNames + 10 {
		n.learn(strconv.Itoa(i), []netip.Addr{a})
		a = a.Next()
	}
	if len(n.byAddr) != maxNames || n.of(netip.MustParseAddr("10.0.0.1")) != "" || n.of(a.Prev()) != strconv.Itoa(maxNames+9) {
		t.Errorf("%d names", len(n.byAddr))
	}
}

func FuzzDNS(f *testing.F) {
	f.Add(reply(f))
	f.Add([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06picket\x04test\x00\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseDNS(b)
		if err == nil && (len(m.answers) > maxAnswers || len(m.answers) != len(m.ttls)) {
			t.Fatalf("%d answers, %d ages", len(m.answers), len(m.ttls))
		}
	})
}
