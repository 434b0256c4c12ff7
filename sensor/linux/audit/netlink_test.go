// SPDX-License-Identifier: Apache-2.0

//go:build linux

package audit

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// say has the kernel pass on a message of a program, as PAM does.
func say(t *testing.T, typ uint16, text string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	if err != nil {
		t.Skipf("no audit socket: %v", err)
	}
	defer unix.Close(fd)
	b := make([]byte, headerBytes, headerBytes+len(text)+1)
	b = append(append(b, text...), 0)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint16(b[4:], typ)
	binary.LittleEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Skipf("the kernel takes no audit message: %v", err)
	}
	n, _, err := unix.Recvfrom(fd, b[:cap(b)], 0)
	if err != nil || n < headerBytes+4 || binary.LittleEndian.Uint32(b[headerBytes:n]) != 0 {
		t.Skipf("the kernel refused an audit message: %v %v", err, b[:n])
	}
}

// A message that a program gives the kernel comes back to all who listen. Of
// this type the kernel takes one even where auditing is off.
func TestLiveMessages(t *testing.T) {
	types := []Range{{UserAvc, UserAvc}}
	r, err := Open(types, func(class string, n uint64) { t.Errorf("lost %d to %s", n, class) })
	if err != nil {
		t.Skipf("no audit messages here: %v", err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := make(chan Record, 100)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, func(rec Record) { got <- rec }) }()
	mark := fmt.Sprintf("picket-%d-%d", os.Getpid(), time.Now().UnixNano())
	say(t, UserAvc, `op=test acct="`+mark+`" res=success`)
	for {
		select {
		case rec := <-got:
			if rec.Get("acct") != mark {
				continue
			}
			if pid, ok := rec.ID("pid"); !ok || pid != uint32(os.Getpid()) || rec.Type != UserAvc || rec.Get("op") != "test" {
				t.Errorf("got %+v", rec)
			}
			cancel()
		case err := <-done:
			if err != nil || ctx.Err() != context.Canceled {
				t.Errorf("ended by %v, %v", err, ctx.Err())
			}
			return
		}
	}
}

func TestEnabled(t *testing.T) {
	on, err := Enabled()
	t.Logf("audit is on: %v, %v", on, err)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	b := make([]byte, 60)
	binary.LittleEndian.PutUint16(b[4:], getStatus)
	if on, err := status(b); on || err != nil {
		t.Errorf("off: %v, %v", on, err)
	}
	b[headerBytes+4] = 1
	if on, err := status(b); !on || err != nil {
		t.Errorf("on: %v, %v", on, err)
	}
	binary.LittleEndian.PutUint16(b[4:], unix.NLMSG_ERROR)
	binary.LittleEndian.PutUint32(b[headerBytes:], ^uint32(0)) // -1
	if _, err := status(b); err == nil || err.Error() != "audit status: operation not permitted" {
		t.Errorf("refused: %v", err)
	}
	for _, bad := range [][]byte{nil, b[:20], make([]byte, 40)} {
		if _, err := status(bad); err == nil {
			t.Errorf("%v was understood", bad)
		}
	}
}

// Only the kernel may speak, and what cannot be read is counted.
func TestMessagesAreChecked(t *testing.T) {
	t.Parallel()
	lost, told := 0, 0
	r := &Reader{lost: func(string, uint64) { lost++ }}
	kernel := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	for _, m := range []struct {
		text string
		from unix.Sockaddr
	}{{"audit(1.000:1): a=b", kernel}, {"audit(1.000:1): a=b", &unix.SockaddrNetlink{Pid: 9}}, {"nonsense", kernel}, {"audit(1.000:1): a=b", nil}} {
		r.message(append(make([]byte, headerBytes), m.text...), m.from, func(Record) { told++ })
	}
	r.message(nil, kernel, nil)
	if told != 1 || lost != 1 {
		t.Errorf("told %d, lost %d", told, lost)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	var raw []bpf.RawInstruction
	for _, i := range filter([]Range{{1100, 1112}, {1305, 1305}}) {
		raw = append(raw, bpf.RawInstruction{Op: i.Code, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	code, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatalf("not all is understood: %v", raw)
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	for typ, want := range map[uint16]bool{1099: false, 1100: true, 1106: true, 1112: true, 1113: false, 1304: false, 1305: true, 1306: false, 0: false, 65535: false} {
		b := make([]byte, headerBytes)
		binary.LittleEndian.PutUint16(b[4:], typ)
		if n, err := vm.Run(b); err != nil || (n > 0) != want {
			t.Errorf("type %d: %d, %v", typ, n, err)
		}
	}
}
