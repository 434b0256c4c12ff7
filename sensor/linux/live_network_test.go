// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/picket-edr/picket/event"
	"golang.org/x/net/dns/dnsmessage"
)

// mine leaves out what other programs do with ports that they have had before.
func mine(r *event.DeviceNetworkEvents) bool {
	return !r.IsSnapshot && r.InitiatingProcessId == int64(os.Getpid())
}

func remoteIs(action string, a netip.AddrPort) func(*event.DeviceNetworkEvents) bool {
	return func(r *event.DeviceNetworkEvents) bool {
		return r.ActionType == action && r.RemoteIP == a.Addr().String() && r.RemotePort == int64(a.Port()) && mine(r)
	}
}

func localIs(action string, a netip.AddrPort) func(*event.DeviceNetworkEvents) bool {
	return func(r *event.DeviceNetworkEvents) bool {
		return r.ActionType == action && r.LocalIP == a.Addr().String() && r.LocalPort == int64(a.Port()) && mine(r)
	}
}

func portOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	case *net.UDPAddr:
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

func TestLiveTCP(t *testing.T) {
	for _, network := range []struct{ name, listen string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		t.Run(network.name, func(t *testing.T) {
			l := startLive(t, nil)
			server, err := net.Listen(network.name, network.listen)
			if err != nil {
				t.Skipf("no %s here: %v", network.name, err)
			}
			at := portOf(server.Addr())
			client, err := net.Dial(network.name, at.String())
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := server.Accept()
			if err != nil {
				t.Fatal(err)
			}
			accepted.Close()
			server.Close()
			from := portOf(client.LocalAddr())
			client.Close()
			if _, err := net.Dial(network.name, at.String()); err == nil {
				t.Fatal("the port is still open")
			}
			me := int64(os.Getpid())
			for _, r := range []*event.DeviceNetworkEvents{
				find(l, localIs("ListeningConnectionCreated", at)),
				find(l, remoteIs("ConnectionSuccess", at)),
				find(l, remoteIs("InboundConnectionAccepted", from)),
				find(l, remoteIs("ConnectionFailed", at)),
			} {
				if r.InitiatingProcessId != me || r.InitiatingProcessUniqueId == "" || r.Protocol != "Tcp" || r.LocalIPType != "Loopback" {
					t.Errorf("row %v", columns(r))
				}
			}
			if r := find(l, remoteIs("ConnectionSuccess", at)); r.LocalPort != int64(from.Port()) {
				t.Errorf("local port %d, want %d", r.LocalPort, from.Port())
			}
			if r := find(l, remoteIs("ConnectionFailed", at)); r.ErrorCode != 111 {
				t.Errorf("error %d", r.ErrorCode)
			}
			l.stop()
			if n := len(all(l, remoteIs("ConnectionFailed", at))); n != 1 {
				t.Errorf("%d rows about one failure", n)
			}
		})
	}
}

// Nothing leaves the host: the kernel has no way there.
func TestLiveUnreachable(t *testing.T) {
	l := startLive(t, nil)
	nowhere := netip.MustParseAddrPort("255.255.255.255:9")
	if _, err := net.Dial("tcp4", nowhere.String()); err == nil {
		t.Fatal("connected to the broadcast address")
	}
	r := find(l, remoteIs("ConnectionFailed", nowhere))
	if r.ErrorCode == 0 || r.Protocol != "Tcp" || r.InitiatingProcessId != int64(os.Getpid()) || r.RemoteIPType != "Broadcast" {
		t.Errorf("row %v", columns(r))
	}
}

func TestLiveUDP(t *testing.T) {
	l := startLive(t, nil)
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	at := portOf(server.LocalAddr())
	client, err := net.Dial("udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	buf := make([]byte, 16)
	for range 3 {
		if _, err := client.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		_, peer, err := server.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := server.WriteTo([]byte("pong"), peer); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	r := find(l, remoteIs("ConnectionSuccess", at))
	if r.Protocol != "Udp" || r.InitiatingProcessId != int64(os.Getpid()) {
		t.Errorf("row %v", columns(r))
	}
	l.stop()
	if n := len(all(l, remoteIs("ConnectionSuccess", at))); n != 1 {
		t.Errorf("%d rows about one flow", n)
	}
	if n := len(all(l, remoteIs("ConnectionSuccess", portOf(client.LocalAddr())))); n != 0 {
		t.Error("an answer is told as a connection")
	}
}

// A port that a program chose is a listening one; one that it was given is not.
func TestLiveUDPListener(t *testing.T) {
	l := startLive(t, nil)
	given, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := portOf(given.LocalAddr())
	given.Close()
	for _, network := range []struct{ name, host string }{{"udp4", "127.0.0.1"}, {"udp6", "::1"}} {
		chosen, err := net.ListenPacket(network.name, net.JoinHostPort(network.host, itoa(uint32(at.Port()))))
		if err != nil {
			t.Skipf("no %s here: %v", network.name, err)
		}
		chosen.Close()
		r := find(l, localIs("ListeningConnectionCreated", netip.AddrPortFrom(netip.MustParseAddr(network.host), at.Port())))
		if r.Protocol != "Udp" || r.InitiatingProcessId != int64(os.Getpid()) {
			t.Errorf("row %v", columns(r))
		}
	}
	l.stop()
	if n := len(all(l, localIs("ListeningConnectionCreated", at))); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// nameServer answers every question on loopback with one address.
func nameServer(t *testing.T) netip.AddrPort {
	t.Helper()
	// Port 53 of an address of loopback that nothing else uses.
	conn, err := net.ListenPacket("udp4", "127.0.0.153:53")
	if err != nil {
		t.Skipf("port 53 cannot be used here: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, peer, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Header.Response = true
			m.Additionals = nil
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 5},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 77}},
			}}
			if b, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(b, peer)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return portOf(conn.LocalAddr())
}

func TestLiveDNS(t *testing.T) {
	l := startLive(t, nil)
	at := nameServer(t)
	conn, err := net.Dial("udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 99, RecursionDesired: true}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName("Beacon.Picket.Test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1500)); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"DnsQueryRequest", "DnsQueryResponse"} {
		r := find(l, func(r *event.DeviceEvents) bool {
			return r.ActionType == action && r.DnsQueryName == "beacon.picket.test"
		})
		if r.DnsQueryType != "A" || r.RemoteIP != "127.0.0.153" || r.RemotePort != 53 || r.InitiatingProcessId != int64(os.Getpid()) ||
			r.LocalPort != int64(portOf(conn.LocalAddr()).Port()) {
			t.Errorf("%s: %v", action, columns(r))
		}
		if action == "DnsQueryResponse" && (r.DnsAnswers != `["127.0.0.77"]` || r.DnsResponseCode != "NOERROR") {
			t.Errorf("answer %v", columns(r))
		}
	}
	// The name goes along with a connection to the address.
	if c, err := net.Dial("tcp4", "127.0.0.77:1"); err == nil {
		c.Close()
	}
	if r := find(l, remoteIs("ConnectionFailed", netip.MustParseAddrPort("127.0.0.77:1"))); r.RemoteUrl != "beacon.picket.test" {
		t.Errorf("RemoteUrl %q", r.RemoteUrl)
	}
}

func TestLiveSocketSnapshot(t *testing.T) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("tcp4", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	at := portOf(server.Addr())
	l := startLive(t, nil)
	found := find(l, func(r *event.DeviceNetworkEvents) bool {
		return r.IsSnapshot && r.ActionType == "ListeningConnectionCreated" && r.LocalPort == int64(at.Port())
	})
	open := find(l, func(r *event.DeviceNetworkEvents) bool {
		return r.IsSnapshot && r.ActionType == "ConnectionFound" && r.RemotePort == int64(at.Port())
	})
	for _, r := range []*event.DeviceNetworkEvents{found, open} {
		if r.InitiatingProcessId != int64(os.Getpid()) || r.Protocol != "Tcp" {
			t.Errorf("row %v", columns(r))
		}
	}
}
