// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"
)

// Load says how much of each kind of activity to make.
type Load struct {
	Marker      string // appears in every command line, path and name, so that events can be told from others
	Dir         string // where files are made; must exist
	Processes   int    // runs of /bin/true with an argument
	Files       int    // files created, written, renamed and deleted
	Connections int    // TCP connections to a listener of this process
	Queries     int    // DNS queries to a server of this process
	Parallel    int    // workers of each kind; 0 means 1
	Pause       time.Duration
}

// Truth is what was really done.
type Truth struct {
	Processes   int64
	Creates     int64
	Renames     int64
	Deletes     int64
	Connections int64 // seen twice by a sensor: as connect and as accept
	Queries     int64
	Answers     int64
	Port        int    // of the listener
	DNS         string // address of the server
	Began       time.Time
	Ended       time.Time
}

// dnsAddress is where the server of Queries listens. It is a loopback address
// that nothing else uses; port 53 because a sensor looks at nothing else.
const dnsAddress = "127.83.71.53:53"

// Run does the load and returns the truth. An error means that the host
// refused something; the truth then holds what was done so far.
func (l Load) Run(ctx context.Context) (Truth, error) {
	w := &worker{Load: l}
	w.truth.Began = time.Now()
	if err := w.listen(); err != nil {
		return w.truth, err
	}
	defer w.close()
	g, ctx := errgroup.WithContext(ctx)
	for _, kind := range []struct {
		n  int
		do func(context.Context, int) error
	}{{l.Processes, w.process}, {l.Files, w.file}, {l.Connections, w.connect}, {l.Queries, w.query}} {
		w.spread(ctx, g, kind.n, kind.do)
	}
	err := g.Wait()
	w.close()
	w.served.Wait()
	w.truth.Ended = time.Now()
	return w.truth, err
}

type worker struct {
	Load
	truth    Truth
	tcp      net.Listener
	udp      net.PacketConn
	served   sync.WaitGroup
	closing  sync.Once
	accepted atomic.Int64
}

// spread runs do for 0..n-1 on Parallel workers.
func (w *worker) spread(ctx context.Context, g *errgroup.Group, n int, do func(context.Context, int) error) {
	var next atomic.Int64
	for range max(w.Parallel, 1) {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(ctx, i); err != nil {
					return err
				}
				if w.Pause > 0 {
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(w.Pause):
					}
				}
			}
		})
	}
}

func (w *worker) listen() error {
	if w.Connections > 0 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		w.tcp, w.truth.Port = l, l.Addr().(*net.TCPAddr).Port
		w.served.Add(1)
		go w.accept()
	}
	if w.Queries > 0 {
		c, err := net.ListenPacket("udp4", dnsAddress)
		if err != nil {
			return fmt.Errorf("load: name server (needs root): %w", err)
		}
		w.udp, w.truth.DNS = c, dnsAddress
		w.served.Add(1)
		go w.answer()
	}
	return nil
}

func (w *worker) close() {
	w.closing.Do(func() {
		if w.tcp != nil {
			w.tcp.Close()
		}
		if w.udp != nil {
			w.udp.Close()
		}
	})
}

func (w *worker) process(ctx context.Context, i int) error {
	if err := exec.CommandContext(ctx, "/bin/true", w.name(i)).Run(); err != nil {
		return fmt.Errorf("load: process %d: %w", i, err)
	}
	atomic.AddInt64(&w.truth.Processes, 1)
	return nil
}

func (w *worker) name(i int) string { return fmt.Sprintf("%s-%d", w.Marker, i) }

func (w *worker) file(_ context.Context, i int) error {
	path := filepath.Join(w.Dir, w.name(i))
	if err := os.WriteFile(path, []byte(w.Marker), 0o600); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	atomic.AddInt64(&w.truth.Creates, 1)
	if err := os.Rename(path, path+".moved"); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	atomic.AddInt64(&w.truth.Renames, 1)
	if err := os.Remove(path + ".moved"); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	atomic.AddInt64(&w.truth.Deletes, 1)
	return nil
}

// connect makes one connection and waits until the other side closed it.
func (w *worker) connect(ctx context.Context, i int) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp4", w.tcp.Addr().String())
	if err != nil {
		return fmt.Errorf("load: connection %d: %w", i, err)
	}
	defer c.Close()
	atomic.AddInt64(&w.truth.Connections, 1)
	_, _ = c.Read(make([]byte, 1))
	return nil
}

func (w *worker) accept() {
	defer w.served.Done()
	for {
		c, err := w.tcp.Accept()
		if err != nil {
			return
		}
		w.accepted.Add(1)
		c.Close()
	}
}

// query asks for MARKER-i.test and waits for the answer.
func (w *worker) query(ctx context.Context, i int) error {
	name, err := dnsmessage.NewName(w.name(i) + ".test.")
	if err != nil {
		return fmt.Errorf("load: query %d: %w", i, err)
	}
	msg := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(i), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packet, err := msg.Pack()
	if err != nil {
		return fmt.Errorf("load: query %d: %w", i, err)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp4", dnsAddress)
	if err != nil {
		return fmt.Errorf("load: query %d: %w", i, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write(packet); err != nil {
		return fmt.Errorf("load: query %d: %w", i, err)
	}
	atomic.AddInt64(&w.truth.Queries, 1)
	if _, err := c.Read(make([]byte, 512)); err != nil {
		return fmt.Errorf("load: answer %d: %w", i, err)
	}
	atomic.AddInt64(&w.truth.Answers, 1)
	return nil
}

// answer serves every question with one address.
func (w *worker) answer() {
	defer w.served.Done()
	buf := make([]byte, 512)
	for {
		n, peer, err := w.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		var msg dnsmessage.Message
		if err := msg.Unpack(buf[:n]); err != nil || len(msg.Questions) != 1 {
			continue
		}
		q := msg.Questions[0]
		msg.Response, msg.RecursionAvailable = true, true
		msg.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}}
		packet, err := msg.Pack()
		if err != nil {
			continue
		}
		if _, err := w.udp.WriteTo(packet, peer); err != nil {
			return
		}
	}
}
