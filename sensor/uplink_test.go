// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/wire/wirepb"
)

func TestPauseGrowsAndIsSpread(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	a := stopped(t, h)
	a.o.Timing = Timing{Backoff: time.Second, BackoffMax: time.Minute, RefusedWait: 10 * time.Minute}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 100).Draw(t, "failures")
		d := a.uplink.pause(n, errors.New("network"))
		most := time.Minute
		if n <= 6 {
			most = time.Second << max(n-1, 0)
		}
		if d < most/2 || d > most {
			t.Errorf("after %d failures %v, want %v to %v", n, d, most/2, most)
		}
		if d := a.uplink.pause(n, fmt.Errorf("revoked: %w", picket.Denied)); d < 5*time.Minute || d > 10*time.Minute {
			t.Errorf("after a refusal %v", d)
		}
	})
}

// TestNextWay: a proxy that does not lead to the server is left for the next way.
func TestNextWay(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	a := stopped(t, h)
	dead, err := ParseProxy("http://127.0.0.1:1")
	must(t, err)
	a.uplink.ways = []Way{{"environment", dead}, {Name: "direct"}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.uplink.run(ctx)
	}()
	g.await("a connection", func() bool { return a.uplink.connected() })
	equal(t, "direct", a.uplink.way().String())
	cancel()
	<-done
	g.mu.Lock()
	defer g.mu.Unlock()
	ids := append(g.notesSeen(), kinds(a)...)
	if !slices.Contains(ids, noteNoContact.ID) || !slices.Contains(ids, noteContact.ID) {
		t.Errorf("notes %v", ids)
	}
}

func TestServerThatSaysOddThings(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]*wirepb.Down{
		"nothing":          {},
		"unknown ack":      {Kind: &wirepb.Down_Ack{Ack: &wirepb.Ack{BootId: "unknown", Seq: 1 << 63}}},
		"ack of the moon":  {Kind: &wirepb.Down_Ack{Ack: &wirepb.Ack{BootId: testBoot, Seq: 1<<64 - 1}}},
		"unknown reject":   {Kind: &wirepb.Down_Reject{Reject: &wirepb.Reject{BootId: "unknown", Seq: 9, Reason: strings.Repeat("x", 100_000)}}},
		"second welcome":   {Kind: &wirepb.Down_Welcome{Welcome: &wirepb.Welcome{}}},
		"policy too large": {Kind: &wirepb.Down_Policy{Policy: &wirepb.Policy{Version: 1, Json: make([]byte, maxPolicy+1)}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			h := enrolled(t, g)
			said := false
			g.verdict = func(*wirepb.Batch) (*wirepb.Down, bool) {
				if said {
					return nil, false
				}
				said = true // this batch is never acknowledged by itself
				return down, true
			}
			h.start()
			g.await("said", func() bool { return said })
			h.connected()
			g.cut()
			h.c.emit(10)
			g.await("all processes", func() bool { return g.actions["ProcessCreated"] == 10 })
			h.stop()
		})
	}
}

func TestServerThatDoesNotWelcome(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	a := stopped(t, h)
	silent := tcpServer(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	a.uplink.server = silent
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := a.uplink.session(ctx, Way{Name: "direct"})
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestRenewalThatFails(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.life = time.Hour
	h := enrolled(t, g)
	a := stopped(t, h)
	before, creds := a.vault.get()

	a.renewWhenDue(t.Context()) // not due
	equal(t, []uint32{}, kinds(a))
	a.uplink.clock.learn(creds.renewAfter().Add(time.Minute)) // by the server's clock it is

	g.set(func() { g.renewLife = time.Minute }) // not longer than before
	a.renewWhenDue(t.Context())
	equal(t, []uint32{noteNotRenewed.ID}, kinds(a))

	g.set(func() { g.renewLife = 24 * time.Hour })
	a.vault.dir = filepath.Join(h.dir, "gone") // it cannot be kept: the old one stays in use
	a.renewWhenDue(t.Context())
	equal(t, []uint32{noteNotKept.ID, noteNotRenewed.ID}, kinds(a))
	after, _ := a.vault.get()
	equal(t, before, after)

	a.vault.dir = h.dir
	g.server.CloseClientConnections()
	a.uplink.server = "127.0.0.1:1"
	a.renewWhenDue(t.Context())
	equal(t, []uint32{noteNotRenewed.ID}, kinds(a))

	a.uplink.server = g.addr
	a.renewWhenDue(t.Context())
	equal(t, []uint32{noteRenewed.ID}, kinds(a))
	saved, err := LoadIdentity(h.dir)
	must(t, err)
	after, _ = a.vault.get()
	equal(t, after, saved)
}

func TestPolicyThatCannotBeKept(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	a := stopped(t, h)
	must(t, os.Mkdir(a.policyPath(), 0o700))
	must(t, a.applyPolicy(&wirepb.Policy{Version: 4, Json: []byte(`{"healthSeconds":7}`)}))
	equal(t, []uint32{noteNotKept.ID, notePolicy.ID}, kinds(a))
	equal(t, int64(7*time.Second), a.health.Load())
	must(t, os.Remove(a.policyPath()))
	must(t, a.applyPolicy(&wirepb.Policy{Version: 5}))
	equal(t, int64(h.o.Timing.Health), a.health.Load())
	b, err := os.ReadFile(a.policyPath())
	must(t, err)
	equal(t, `{"version":5,"policy":{}}`, string(b))
}

func TestWindow(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	s := &session{u: stopped(t, h).uplink, changed: make(chan struct{}, 1)}
	now := time.Now()
	ok := func() bool { ok, _ := s.maySend(now); return ok }
	for n := range windowBatches {
		if !ok() {
			t.Fatalf("closed after %d batches", n)
		}
		s.flight = append(s.flight, sent{"a", uint64(n + 1), 10})
		s.bytes += 10
	}
	equal(t, false, ok())
	s.rejected("a", 5)
	equal(t, []any{true, windowBatches - 1, (windowBatches - 1) * 10}, []any{ok(), len(s.flight), s.bytes})
	s.settle("b", 100) // another boot
	s.settle("a", 60)
	equal(t, []any{4, 40}, []any{len(s.flight), s.bytes})
	s.flight = append(s.flight, sent{"b", 1, windowBytes})
	s.bytes += windowBytes
	equal(t, false, ok())
	s.settle("b", 1) // all before it is older
	equal(t, []any{0, 0, true}, []any{len(s.flight), s.bytes, ok()})
	s.throttle(&wirepb.Throttle{WaitMs: 1 << 31})
	open, wait := s.maySend(now)
	if open || wait > maxThrottle+time.Minute {
		t.Errorf("open %v, wait %v", open, wait)
	}
	equal(t, false, s.stalled(now.Add(time.Hour)))
	s.flight = append(s.flight, sent{"b", 2, 1})
	equal(t, true, s.stalled(now.Add(time.Hour)))
}
