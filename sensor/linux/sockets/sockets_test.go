// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockets

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
)

var compareAddrs = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestParse(t *testing.T) {
	t.Parallel()
	text := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0200007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 12346 1 0000000000000000 100 0 0 10 0
   2: nonsense
   3: 0000000000000000FFFF00000100007F:0016 B80D0120000000000000000001000000:01BB 01 0:0 0:0 0 0 0 777 1
   4: ZZ:1 00000000:0000 0A 0:0 0:0 0 0 0 1 1
`
	want := []Line{
		{netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("0.0.0.0:0"), 10, 12345},
		{netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("127.0.0.2:54321"), 1, 12346},
		{netip.MustParseAddrPort("127.0.0.1:22"), netip.MustParseAddrPort("[2001:db8::1]:443"), 1, 777},
	}
	if diff := cmp.Diff(want, Parse([]byte(text)), compareAddrs); diff != "" {
		t.Error(diff)
	}
}

// Both ends of a real connection and its listener are found once, with their
// owner, and not told again.
func TestPollFindsARealConnection(t *testing.T) {
	t.Parallel()
	p := &Poll{Proc: &procfs.FS{}, Now: func() uint64 { return 7 }}
	p.look(func(any) bool { return true })
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
	accepted, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	got := map[uint32]int{}
	record1 := func(r any) bool {
		n := r.(*record.Net)
		at, there := netip.MustParseAddrPort(server.Addr().String()), netip.MustParseAddrPort(client.LocalAddr().String())
		if n.PID == uint32(os.Getpid()) && n.Time == 7 && n.Protocol == 6 &&
			(n.Op == record.NetListen && n.Local == at || n.Op == record.NetAccepted && n.Local == at && n.Remote == there || n.Op == record.NetConnected && n.Local == there && n.Remote == at) {
			got[n.Op]++
		}
		return true
	}
	p.look(record1)
	p.look(record1)
	want := map[uint32]int{record.NetListen: 1, record.NetAccepted: 1, record.NetConnected: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("  0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 12345 1"))
	f.Fuzz(func(t *testing.T, b []byte) { Parse(b) })
}
