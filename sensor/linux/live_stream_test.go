// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
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
