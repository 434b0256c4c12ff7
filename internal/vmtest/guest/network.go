// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/picket-edr/picket/event"
	"golang.org/x/net/dns/dnsmessage"
)

const nameServer = "127.0.0.53:53"

var networkKinds = []Kind{
	{
		Name: "connection made", Hook: "network", Table: "DeviceNetworkEvents", Action: "ConnectionSuccess",
		Does:  "connects to a port of its own over IPv4",
		Do:    talk("127.0.0.1:0", "", ""),
		Match: loopback("127.0.0.1"),
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "connection made over IPv6", Hook: "network", Table: "DeviceNetworkEvents", Action: "ConnectionSuccess",
		Does:  "connects to a port of its own over IPv6",
		Do:    talk("[::1]:0", "", ""),
		Match: loopback("::1"),
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "connection accepted", Hook: "network", Table: "DeviceNetworkEvents", Action: "InboundConnectionAccepted",
		Does:  "accepts a connection from itself",
		Do:    talk("127.0.0.1:0", "", ""),
		Match: loopback("127.0.0.1"),
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "port opened", Hook: "network", Table: "DeviceNetworkEvents", Action: "ListeningConnectionCreated",
		Does: "listens on a TCP port",
		Do:   talk("127.0.0.1:0", "", ""),
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
			return r.Protocol == "Tcp" && r.LocalPort != 0 && r.LocalIP == "127.0.0.1"
		}),
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "connection refused", Hook: "network", Table: "DeviceNetworkEvents", Action: "ConnectionFailed",
		Does: "connects to a port that nobody listens on",
		Do:   func(*Act) error { return fails("tcp4", "127.0.0.1:1") },
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
			return r.ErrorCode == 111 && r.RemoteIP == "127.0.0.1" && r.RemotePort == 1
		}),
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "connection without a route", Hook: "network", Table: "DeviceNetworkEvents", Action: "ConnectionFailed",
		Does: "connects to the broadcast address, which TCP does not allow",
		Do:   func(*Act) error { return fails("tcp4", "255.255.255.255:9") },
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
			return r.ErrorCode != 0 && r.RemoteIP == "255.255.255.255" && r.RemotePort == 9
		}),
		Rungs: []string{"tracepoint"},
	},
	{
		Name: "connection ended", Hook: "network", Table: "DeviceNetworkEvents", Action: "ConnectionClosed",
		Does: "sends five bytes one way and seven the other, and closes",
		Do:   talk("127.0.0.1:0", "12345", "1234567"),
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
			return r.BytesSent.Value == 5 && r.BytesReceived.Value == 7 && r.ConnectionDurationMs.Valid
		}),
		Rungs: []string{"tracepoint"},
	},
}

var streamKinds = []Kind{
	{
		Name: "request in the clear", Hook: "stream", Table: "DeviceNetworkEvents", Action: "HttpConnectionInspected",
		Does: "sends a request of HTTP to itself",
		Do:   talk("127.0.0.1:0", "GET /path HTTP/1.1\r\nHost: web.picket.test\r\n\r\n", ""),
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
			return strings.Contains(r.AdditionalFields, `"host":"web.picket.test"`) && r.RemoteUrl == "web.picket.test/path"
		}),
		Rungs: []string{"cgroup"},
	},
	{
		Name: "TLS begun", Hook: "stream", Table: "DeviceNetworkEvents", Action: "SslConnectionInspected",
		Does: "begins TLS with itself",
		Do:   begins,
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
			return r.ServerName == "web.picket.test" && r.Ja4 != ""
		}),
		Rungs: []string{"cgroup"},
	},
	{
		Name: "name asked for over TCP", Hook: "stream", Table: "DeviceEvents", Action: "DnsQueryRequest",
		Does: "asks a name server on loopback over TCP",
		Do: talk(nameServer, "\x00\x20\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02ns"+
			"\x06picket\x04test\x00\x00\x01\x00\x01", ""),
		Match: where(func(_ *Act, r *event.DeviceEvents) bool {
			return r.DnsQueryName == "ns.picket.test" && r.Protocol == "Tcp"
		}),
		Rungs: []string{"cgroup"},
	},
	{
		Name: "SSH begun", Hook: "stream", Table: "DeviceNetworkEvents", Action: "SshConnectionInspected",
		Does: "greets itself as two ends of SSH do",
		Do:   talk("127.0.0.1:0", "SSH-2.0-picket_2\r\n", "SSH-2.0-picketd_1\r\n"),
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
			return strings.Contains(r.AdditionalFields, "picketd_1")
		}),
		Rungs: []string{"cgroup"},
	},
}

var dnsKinds = []Kind{
	{
		Name: "first datagram to a peer", Hook: "dns", Table: "DeviceNetworkEvents", Action: "ConnectionSuccess",
		Does: "sends a datagram to a port of its own",
		Do:   datagram,
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
			return r.Protocol == "Udp" && r.RemoteIP == "127.0.0.1"
		}),
		Rungs: []string{"cgroup"},
	},
	{
		Name: "datagrams ended", Hook: "dns", Table: "DeviceNetworkEvents", Action: "ConnectionClosed",
		Does: "sends a datagram to a port of its own and closes the socket",
		Do:   datagram,
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
			return r.Protocol == "Udp" && r.RemoteIP == "127.0.0.1" && r.BytesSent == event.LongOf(4)
		}),
		Rungs: []string{"cgroup"},
	},
	{
		Name: "UDP port opened", Hook: "dns", Table: "DeviceNetworkEvents", Action: "ListeningConnectionCreated",
		Does:  "binds a UDP port that it chose",
		Do:    func(*Act) error { return binds("127.0.0.1:20053") },
		Match: where(func(_ *Act, r *event.DeviceNetworkEvents) bool { return r.Protocol == "Udp" && r.LocalPort == 20053 }),
		Rungs: []string{"cgroup"},
	},
	{
		Name: "name asked for", Hook: "dns", Table: "DeviceEvents", Action: "DnsQueryRequest",
		Does: "asks a name server on loopback",
		Do:   asks,
		Match: where(func(_ *Act, r *event.DeviceEvents) bool {
			return r.DnsQueryName == "beacon.picket.test" && r.DnsQueryType == "A" && r.RemotePort == 53
		}),
		Rungs: []string{"cgroup"},
	},
	{
		Name: "name answered", Hook: "dns", Table: "DeviceEvents", Action: "DnsQueryResponse",
		Does: "gets an answer from a name server on loopback",
		Do:   asks,
		Match: where(func(_ *Act, r *event.DeviceEvents) bool {
			return r.DnsQueryName == "beacon.picket.test" && r.DnsAnswers == `["127.0.0.77"]`
		}),
		Rungs: []string{"cgroup"},
	},
}

func loopback(address string) Match {
	return where(func(_ *Act, r *event.DeviceNetworkEvents) bool {
		return r.Protocol == "Tcp" && r.LocalIP == address && r.RemoteIP == address && r.LocalPort != 0 && r.RemotePort != 0
	})
}

// talk listens, connects to itself and accepts; then either end sends a text
// to the other.
func talk(address, up, down string) func(*Act) error {
	return func(*Act) error {
		server, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		defer server.Close()
		client, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			return err
		}
		defer client.Close()
		accepted, err := server.Accept()
		if err != nil {
			return err
		}
		defer accepted.Close()
		return errors.Join(pass(client, accepted, up), pass(accepted, client, down))
	}
}

// pass sends a text, if there is any, from one end of a connection to the other.
func pass(from, to net.Conn, text string) error {
	if _, err := io.WriteString(from, text); err != nil {
		return err
	}
	_, err := io.ReadFull(to, make([]byte, len(text)))
	return err
}

// begins sends the first message of TLS; nobody answers it.
func begins(*Act) error {
	near, far := net.Pipe() // only makes the message
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: "web.picket.test"}).Handshake() // ends with the pipe
	}()
	hello := make([]byte, 16<<10)
	n, err := far.Read(hello)
	if err := errors.Join(err, far.Close()); err != nil {
		return err
	}
	return talk("127.0.0.1:0", string(hello[:n]), "")(nil)
}

func fails(network, address string) error {
	c, err := net.Dial(network, address)
	if err == nil {
		return errors.Join(fmt.Errorf("connected to %s", address), c.Close())
	}
	return nil
}

func binds(address string) error {
	c, err := net.ListenPacket("udp4", address)
	if err != nil {
		return err
	}
	return c.Close()
}

func datagram(*Act) error {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.Write([]byte("ping")); err != nil {
		return err
	}
	_, _, err = server.ReadFrom(make([]byte, 16))
	return err
}

// asks is name server and client in one.
func asks(*Act) error {
	server, err := net.ListenPacket("udp4", nameServer)
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := net.Dial("udp4", nameServer)
	if err != nil {
		return err
	}
	defer client.Close()
	name := dnsmessage.MustNewName("Beacon.Picket.Test.")
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 99, RecursionDesired: true}, Questions: []dnsmessage.Question{
		{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	question, err := m.Pack()
	if err != nil {
		return err
	}
	if _, err := client.Write(question); err != nil {
		return err
	}
	_, peer, err := server.ReadFrom(make([]byte, 1500))
	if err != nil {
		return err
	}
	m.Response = true
	m.Answers = []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 5},
		Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 77}},
	}}
	answer, err := m.Pack()
	if err != nil {
		return err
	}
	if _, err := server.WriteTo(answer, peer); err != nil {
		return err
	}
	_, err = client.Read(make([]byte, 1500))
	return err
}
