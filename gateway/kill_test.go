// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/picket-edr/picket/bench"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
)

const serveEnv = "PICKET_GATEWAY_DIR"

// serveForever runs a gateway and a bus in a folder, prints the address, and
// goes on until it is killed.
func serveForever(dir string) error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	keys, err := pki.Open(dir+"/pki", []string{"127.0.0.1"}, time.Now)
	if err != nil {
		return err
	}
	if err := keys.EnsureTenant("default"); err != nil {
		return err
	}
	b, err := bus.Open(ctx, bus.Options{Dir: dir + "/bus", MaxBytes: 1 << 30, Log: log})
	if err != nil {
		return err
	}
	reg := &registrar{keys: keys, uses: 1000, revoked: map[string]bool{}, n: os.Getpid() << 8} // ids differ between runs
	g := New(Options{Keys: keys, Registry: reg, Presence: reg, Publisher: b, Auditor: reg, Limits: DefaultLimits, Log: log, Now: time.Now, Metrics: prometheus.NewRegistry()})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return g.Serve(ctx, l)
}

// pushDevice is a device with a spool in memory: it sends what is not
// acknowledged again after each connection.
type pushDevice struct {
	client *bench.Client
	spool  map[uint64][]byte // not acknowledged
	acked  uint64
	next   uint64
	prev   event.Hash
	sums   map[uint64]event.Hash // of everything ever made
}

// work sends and reads acknowledgements until the connection breaks.
func (d *pushDevice) work(ctx context.Context, address string) error {
	d.client.Address = address
	s, err := d.client.Open(ctx, &wirepb.Hello{Instance: 1, TimeUs: time.Now().UnixMicro()})
	if connect.CodeOf(err) == connect.CodeUnavailable { // killed before it could answer
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	for _, p := range s.Welcome.Durable {
		if d.sums[p.Seq] != event.Hash(p.Hash) {
			return fmt.Errorf("the gateway holds batch %d, which is not mine", p.Seq)
		}
	}
	acks := make(chan uint64, 256)
	go func() {
		defer close(acks)
		for {
			a, r, err := s.Answer()
			if err != nil || r != nil {
				return
			}
			acks <- a.Seq
		}
	}()
	at := d.acked
	for {
		for at < d.acked+8 { // a window of eight
			at++
			if err := d.make(at); err != nil {
				return err
			}
			if err := s.Batch("boot", at, d.spool[at]); err != nil {
				return nil
			}
		}
		seq, ok := <-acks
		if !ok {
			return nil
		}
		if seq < d.acked || seq > at {
			return fmt.Errorf("acknowledged %d after %d of %d sent", seq, d.acked, at)
		}
		for ; d.acked < seq; d.acked++ {
			delete(d.spool, d.acked+1)
		}
	}
}

// make adds batches to the spool up to a number.
func (d *pushDevice) make(n uint64) error {
	for ; d.next < n; d.next++ {
		p, err := bench.Small("boot", d.next+1, d.prev, 20)
		if err != nil {
			return err
		}
		d.prev = event.HashOf(p)
		d.spool[d.next+1], d.sums[d.next+1] = p, d.prev
	}
	return nil
}

// gatewayProcess starts a gateway of its own.
func gatewayProcess(t *testing.T, dir string) (cmd *exec.Cmd, address string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the gateway does not start: %v", errors.Join(err, cmd.Wait()))
	}
	return cmd, strings.TrimSpace(line)
}

// TestKill kills a process with gateway and bus at six moments under load.
// What a device was told to be durable is there, once and in order, and
// nothing is told to be missing.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var devices []*pushDevice
	for round := range 6 {
		cmd, address := gatewayProcess(t, dir)
		for len(devices) < 4 {
			devices = append(devices, newPushDevice(ctx, t, dir, address))
		}
		var group sync.WaitGroup
		for _, d := range devices {
			group.Add(1)
			go func() {
				defer group.Done()
				if err := d.work(ctx, address); err != nil {
					t.Errorf("round %d, device %s: %v", round, d.client.DeviceID, err)
				}
			}()
		}
		timer := time.NewTimer(time.Duration(200+rand.IntN(600)) * time.Millisecond)
		<-timer.C
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		_ = cmd.Wait()
		for _, d := range devices {
			d.client.Close()
		}
	}
	checkKilled(ctx, t, dir, devices)
}

func newPushDevice(ctx context.Context, t *testing.T, dir, address string) *pushDevice {
	t.Helper()
	keys, err := pki.Open(dir+"/pki", nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	token := wire.Token{Tenant: "default", Secret: secret, Root: sha256.Sum256(keys.Root().Raw)}
	c, err := bench.Enrol(ctx, address, token.String(), &wirepb.Facts{HostName: "h"})
	if err != nil {
		t.Fatal(err)
	}
	return &pushDevice{client: c, spool: map[uint64][]byte{}, sums: map[uint64]event.Hash{}}
}

func checkKilled(ctx context.Context, t *testing.T, dir string, devices []*pushDevice) {
	b, err := bus.Open(ctx, bus.Options{Dir: dir + "/bus", MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	st, err := b.State(ctx, "default")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]uint64{}
	sums := map[string]map[uint64]event.Hash{}
	acked := uint64(0)
	for _, d := range devices {
		sums[d.client.DeviceID] = d.sums
		acked += d.acked
	}
	if acked == 0 {
		t.Fatal("nothing was acknowledged: the test tests nothing")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = b.Consume(ctx, "default", 0, func(_ context.Context, group []bus.Message) error {
		for _, m := range group {
			e := &m.Envelope
			if m.Sequence == st.Last {
				cancel()
			}
			if e.Remark() {
				continue
			}
			if e.Seq != found[e.DeviceID]+1 || e.Gap != 0 || event.HashOf(e.Payload) != sums[e.DeviceID][e.Seq] {
				t.Errorf("place %d: batch %d of %s after %d, gap %d", m.Sequence, e.Seq, e.DeviceID, found[e.DeviceID], e.Gap)
			}
			found[e.DeviceID] = e.Seq
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if found[d.client.DeviceID] < d.acked {
			t.Errorf("device %s: %d acknowledged, %d on the bus", d.client.DeviceID, d.acked, found[d.client.DeviceID])
		}
	}
	t.Logf("%d batches acknowledged, %d on the bus", acked, st.Last)
}

// BenchmarkPipelined measures the way from devices to the disk with prepared
// batches of 1,000 realistic rows, each device with a window of 16.
func BenchmarkPipelined(b *testing.B) {
	for _, devices := range []int{1, 8} {
		b.Run(fmt.Sprint(devices, "devices"), func(b *testing.B) {
			w := newWorld(b, func(o *Options) { o.Limits.BytesPerSecond, o.Limits.TenantBytesPerSecond = 1<<30, 1<<30 })
			var group sync.WaitGroup
			start := make(chan struct{})
			size := 0
			for i := range devices {
				n := b.N/devices + 1
				d := bench.NewDevice(i+1, event.TimeOf(time.Now()))
				s := w.open(w.enrol("default"), 1)
				var boot string
				payloads := make([][]byte, n)
				for j := range payloads {
					batch, p, err := d.Batch(1000)
					if err != nil {
						b.Fatal(err)
					}
					boot, payloads[j] = batch.BootID, p
					size += len(p)
				}
				group.Add(1)
				go func() {
					defer group.Done()
					<-start
					if err := pump(s, boot, payloads); err != nil {
						b.Error(err)
					}
				}()
			}
			b.ResetTimer()
			close(start)
			group.Wait()
			b.StopTimer()
			total := float64(b.N/devices+1) * float64(devices) * 1000
			b.ReportMetric(total/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(size)/total, "bytes/row")
		})
	}
}

// pump sends batches with a window of 16 and waits for every answer.
func pump(s *bench.Stream, boot string, payloads [][]byte) error {
	window := make(chan struct{}, 16)
	failed := make(chan error, 1)
	go func() {
		for range payloads {
			a, r, err := s.Answer()
			if err != nil || r != nil {
				failed <- fmt.Errorf("answer %v %v %w", a, r, err)
				return
			}
			<-window
		}
		failed <- nil
	}()
	for i, p := range payloads {
		select {
		case window <- struct{}{}:
		case err := <-failed:
			return err
		}
		if err := s.Batch(boot, uint64(i+1), p); err != nil {
			return err
		}
	}
	return <-failed
}
