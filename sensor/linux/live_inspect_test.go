// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
	"golang.org/x/net/dns/dnsmessage"
)

func fieldsOf(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return m
}

func inspectedIs(action string, port netip.AddrPort, way string) func(*event.DeviceNetworkEvents) bool {
	return func(r *event.DeviceNetworkEvents) bool {
		near := r.RemotePort
		if way == "In" {
			near = r.LocalPort
		}
		return r.ActionType == action && near == int64(port.Port()) && strings.Contains(r.AdditionalFields, `"direction":"`+way+`"`)
	}
}

// A client that speaks TLS is told at both ends, with the process of each.
func TestLiveTLS(t *testing.T) {
	l := startLive(t, nil)
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	at := portOf(s.Listener.Addr())
	// A hello that does not fit one segment of a small link, as those with keys
	// against quantum computers.
	protos := []string{"h2", "http/1.1", strings.Repeat("x", 200)}
	c, err := tls.Dial("tcp", at.String(), &tls.Config{ServerName: "beacon.picket.test", InsecureSkipVerify: true, NextProtos: protos})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	out, in := find(l, inspectedIs("SslConnectionInspected", at, "Out")), find(l, inspectedIs("SslConnectionInspected", at, "In"))
	for _, r := range []*event.DeviceNetworkEvents{out, in} {
		if r.ServerName != "beacon.picket.test" || r.TlsVersion != "TLSv13" || !strings.HasPrefix(r.Ja4, "t13d") || len(r.Ja3) != 32 ||
			r.InitiatingProcessId != int64(os.Getpid()) {
			t.Errorf("row %v", columns(r))
		}
		if d := fieldsOf(t, r.AdditionalFields); d["ja3"] != r.Ja3 || d["server_name"] != r.ServerName {
			t.Errorf("details %v", d)
		}
	}
	if out.RemoteUrl != "beacon.picket.test" || in.RemoteUrl != "" || out.Ja4 != in.Ja4 {
		t.Errorf("out %v\nin %v", columns(out), columns(in))
	}
	if r := find(l, closedTo(at)); r.RemoteUrl != "beacon.picket.test" {
		t.Errorf("end %v", columns(r))
	}
	l.stop()
	if n := len(all(l, inspectedIs("SslConnectionInspected", at, "Out"))); n != 1 {
		t.Errorf("%d rows about one hello", n)
	}
	if n := l.lost.copy()["decode.hello"]; n != 0 {
		t.Errorf("%d hellos were not read", n)
	}
}

// A hello in pieces is put together, whoever cut it.
func TestLiveTLSInPieces(t *testing.T) {
	l := startLive(t, nil)
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	at := portOf(s.Listener.Addr())
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(cutter{conn}, &tls.Config{ServerName: "pieces.picket.test", InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for _, way := range []string{"Out", "In"} {
		if r := find(l, inspectedIs("SslConnectionInspected", at, way)); r.ServerName != "pieces.picket.test" || r.Ja3 == "" {
			t.Errorf("row %v", columns(r))
		}
	}
	l.stop()
	if n := l.lost.copy()["decode.hello"]; n != 0 {
		t.Errorf("%d hellos were not read", n)
	}
}

// cutter writes in two pieces, each in a segment of its own.
type cutter struct{ net.Conn }

func (c cutter) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b[:len(b)/2])
	if err != nil {
		return n, err
	}
	m, err := c.Conn.Write(b[len(b)/2:])
	return n + m, err
}

func TestLiveHTTP(t *testing.T) {
	l := startLive(t, nil)
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	at := portOf(s.Listener.Addr())
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/path?password=x", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	q.Host = "web.picket.test"
	q.Header.Set("User-Agent", "picket-test/1")
	a, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	for _, way := range []string{"Out", "In"} {
		r := find(l, inspectedIs("HttpConnectionInspected", at, way))
		d := fieldsOf(t, r.AdditionalFields)
		if d["method"] != "POST" || d["host"] != "web.picket.test" || d["uri"] != "/path" || d["user_agent"] != "picket-test/1" || d["version"] != "1.1" ||
			r.InitiatingProcessId != int64(os.Getpid()) || strings.Contains(r.AdditionalFields, "password") {
			t.Errorf("row %v", columns(r))
		}
		if way == "Out" && r.RemoteUrl != "web.picket.test/path" {
			t.Errorf("RemoteUrl %q", r.RemoteUrl)
		}
	}
}

// talk has a server greet, a client answer, and both hang up.
func talk(t *testing.T, greeting, answer string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			_, err = c.Write([]byte(greeting))
		}
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, len(answer)))
		}
		done <- err
	}()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, len(greeting))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(answer)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return portOf(l.Addr())
}

func TestLiveGreetings(t *testing.T) {
	l := startLive(t, nil)
	for _, c := range []struct{ greeting, answer, action, key, want string }{
		{"SSH-2.0-picketd_1\r\n", "SSH-2.0-picket_2 x\r\n", "SshConnectionInspected", "client", "picket_2 x"},
		{"220 mx.picket.test ESMTP\r\n", "EHLO me\r\n", "SmtpConnectionInspected", "server", "mx.picket.test ESMTP"},
		{"220-FTP here\r\n", "USER anonymous\r\n", "FtpConnectionInspected", "server", "FTP here"},
	} {
		at := talk(t, c.greeting, c.answer)
		for _, way := range []string{"Out", "In"} {
			r := find(l, inspectedIs(c.action, at, way))
			if d := fieldsOf(t, r.AdditionalFields); d[c.key] != c.want || r.InitiatingProcessId != int64(os.Getpid()) {
				t.Errorf("row %v", columns(r))
			}
		}
	}
}

// What is no protocol that is read leaves no trace but its connection.
func TestLiveUnknownStream(t *testing.T) {
	l := startLive(t, nil)
	at := talk(t, "hello client, who are you?", "nobody in particular")
	find(l, closedTo(at))
	l.stop()
	if n := len(all(l, func(r *event.DeviceNetworkEvents) bool {
		return strings.HasSuffix(r.ActionType, "Inspected") && (r.RemotePort == int64(at.Port()) || r.LocalPort == int64(at.Port()))
	})); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// Two questions over one connection of TCP, and their answers.
func TestLiveDNSOverTCP(t *testing.T) {
	server, err := net.Listen("tcp4", "127.0.0.154:53")
	if err != nil {
		t.Skipf("port 53 cannot be used here: %v", err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			answerAll(c)
		}
	}()
	l := startLive(t, nil)
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp4", "127.0.0.154:53")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, name := range []string{"one.tcp.test.", "two.tcp.test."} {
		q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{
			{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}}}
		b, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			t.Fatal(err)
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(size[:]))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"one.tcp.test", "two.tcp.test"} {
		for _, action := range []string{"DnsQueryRequest", "DnsQueryResponse"} {
			r := find(l, func(r *event.DeviceEvents) bool { return r.ActionType == action && r.DnsQueryName == name })
			if r.Protocol != "Tcp" || r.DnsQueryType != "TXT" || r.RemotePort != 53 || r.InitiatingProcessId != int64(os.Getpid()) ||
				action == "DnsQueryResponse" && !strings.Contains(r.DnsAnswers, "aaaa") {
				t.Errorf("row %v", columns(r))
			}
		}
	}
}

// answerAll answers each question on a connection with more than is copied.
func answerAll(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b) != nil || len(m.Questions) != 1 {
			return
		}
		m.Header.Response = true
		for range 12 {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.TXTResource{TXT: []string{strings.Repeat("a", 250)}},
			})
		}
		b, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			return
		}
	}
}
