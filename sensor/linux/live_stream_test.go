// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/picket-edr/picket/bpf"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// exchange sends up to a server on loopback, which answers with down and
// hangs up, and returns both ends of the connection.
func exchange(t *testing.T, network, listen, up, down string) (client, server netip.AddrPort) {
	t.Helper()
	l, err := net.Listen(network, listen)
	if err != nil {
		t.Skipf("no %s here: %v", network, err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		if _, err = io.ReadFull(c, make([]byte, len(up))); err == nil {
			_, err = c.Write([]byte(down))
		}
		done <- err
	}()
	c, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(up)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return portOf(c.LocalAddr()), portOf(l.Addr())
}

func closedTo(a netip.AddrPort) func(*event.DeviceNetworkEvents) bool {
	return func(r *event.DeviceNetworkEvents) bool {
		return r.ActionType == "ConnectionClosed" && r.RemoteIP == a.Addr().String() && r.RemotePort == int64(a.Port())
	}
}

// Both ends tell to the byte what was carried.
func TestLiveConnectionClosed(t *testing.T) {
	for _, network := range []struct{ name, listen string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		t.Run(network.name, func(t *testing.T) {
			l := startLive(t, nil)
			up, down := strings.Repeat("u", 12345), strings.Repeat("d", 300_001)
			from, at := exchange(t, network.name, network.listen, up, down)
			out, in := find(l, closedTo(at)), find(l, closedTo(from))
			for _, c := range []struct {
				row            *event.DeviceNetworkEvents
				sent, received int
				direction      string
			}{{out, len(up), len(down), `"Out"`}, {in, len(down), len(up), `"In"`}} {
				r := c.row
				if r.BytesSent != event.LongOf(int64(c.sent)) || r.BytesReceived != event.LongOf(int64(c.received)) || !r.ConnectionDurationMs.Valid ||
					r.ConnectionDurationMs.Value > 60_000 || r.InitiatingProcessId != int64(os.Getpid()) || !strings.Contains(r.AdditionalFields, c.direction) ||
					strings.Contains(r.AdditionalFields, "Reset") {
					t.Errorf("row %v", columns(r))
				}
			}
			l.stop()
			if n := len(all(l, closedTo(at))); n != 1 {
				t.Errorf("%d rows about one end", n)
			}
		})
	}
}

// A connection that is cut says so; one whose server never accepted it has no
// owner there.
func TestLiveReset(t *testing.T) {
	l := startLive(t, nil)
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("tcp4", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	out, in := find(l, closedTo(portOf(server.Addr()))), find(l, closedTo(portOf(client.LocalAddr())))
	if out.InitiatingProcessId != int64(os.Getpid()) || !strings.Contains(out.AdditionalFields, `"Reset":true`) || out.BytesSent != event.LongOf(0) {
		t.Errorf("row %v", columns(out))
	}
	if in.ErrorCode != 104 || !strings.Contains(in.AdditionalFields, `"Reset":true`) {
		t.Errorf("row %v", columns(in))
	}
}

// The owner of a connection that was open before the sensor is known from the
// snapshot.
func TestLiveFoundConnectionCloses(t *testing.T) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("tcp4", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := startLive(t, nil)
	find(l, func(r *event.DeviceNetworkEvents) bool {
		return r.ActionType == "ConnectionFound" && r.LocalPort == int64(portOf(client.LocalAddr()).Port())
	})
	if _, err := client.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	accepted, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	if _, err := io.Copy(io.Discard, accepted); err != nil {
		t.Fatal(err)
	}
	accepted.Close()
	r := find(l, closedTo(portOf(server.Addr())))
	if r.InitiatingProcessId != int64(os.Getpid()) || r.BytesSent != event.LongOf(4) || r.LocalPort == 0 || r.ConnectionDurationMs.Valid {
		t.Errorf("row %v", columns(r))
	}
}

// A connected socket of UDP tells what it carried when it is closed.
func TestLiveFlowEnds(t *testing.T) {
	for _, network := range []struct{ name, listen string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		t.Run(network.name, func(t *testing.T) {
			l := startLive(t, nil)
			server, err := net.ListenPacket(network.name, network.listen)
			if err != nil {
				t.Skipf("no %s here: %v", network.name, err)
			}
			defer server.Close()
			client, err := net.Dial(network.name, server.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			for range 3 {
				if _, err := client.Write([]byte("0123456789")); err != nil {
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
			client.Close()
			r := find(l, closedTo(portOf(server.LocalAddr())))
			if r.Protocol != "Udp" || r.BytesSent != event.LongOf(30) || r.BytesReceived != event.LongOf(12) || r.LocalPort == 0 ||
				r.InitiatingProcessId != int64(os.Getpid()) || !strings.Contains(r.AdditionalFields, `"PacketsReceived":3`) {
				t.Errorf("row %v", columns(r))
			}
		})
	}
}

// One that speaks to whom it likes is swept when nothing passes any more.
func TestLiveFlowsAreSwept(t *testing.T) {
	l := startLive(t, nil)
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.WriteTo([]byte("0123456789"), server.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := server.ReadFrom(make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	client.Close()
	// A minute ago, as the map has it.
	at := portOf(server.LocalAddr())
	var key flowKey
	var state flowState
	m := l.kernel.Flows()
	for it := m.Iterate(); it.Next(&key, &state); {
		if key.Port == uint32(at.Port()) && state.Side == record.SideClient {
			state.Opened, state.Last = 1, 2
			if err := m.Put(&key, &state); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !l.do(l.sweepFlows) {
		t.Fatal("no room")
	}
	r := find(l, closedTo(at))
	if r.BytesSent != event.LongOf(10) || r.BytesReceived != event.LongOf(0) || r.InitiatingProcessId != int64(os.Getpid()) || r.LocalIP != "127.0.0.1" {
		t.Errorf("row %v", columns(r))
	}
}

func TestFlowsAreLaidOutAsInTheKernel(t *testing.T) {
	t.Parallel()
	spec, err := bpf.LoadDNS()
	if err != nil {
		t.Fatal(err)
	}
	m := spec.Maps["flows"]
	if int(m.KeySize) != binary.Size(flowKey{}) || int(m.ValueSize) != binary.Size(flowState{}) {
		t.Errorf("%d and %d bytes there, %d and %d here", m.KeySize, m.ValueSize, binary.Size(flowKey{}), binary.Size(flowState{}))
	}
}
