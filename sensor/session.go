// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/wire/wirepb"
	"github.com/picket-edr/picket/wire/wirepb/wirepbconnect"
)

// Bounds of what is sent and not acknowledged.
const (
	windowBatches = 64
	windowBytes   = 8 << 20
	helloTimeout  = 45 * time.Second
	maxThrottle   = 5 * time.Minute
	farewell      = 2 * time.Second // for the server to end a connection that we ended
	unsure        = 5 * time.Second // what was said so long before the end may not have arrived
	clockLine     = 5 * time.Minute // of difference to the server before it is told
)

// session is one connection that the server has welcomed.
type session struct {
	u      *uplink
	stream *connect.BidiStreamForClient[wirepb.Up, wirepb.Down]

	reported   []*wirepb.Note // in the last report
	reportedAt time.Time
	hooks      string // as last reported, JSON

	mu       sync.Mutex
	flight   []sent // oldest first
	bytes    int    // in flight
	pause    time.Time
	progress time.Time        // of the last word of the server about batches, or the first batch in flight
	policies []*wirepb.Policy // to be applied
	changed  chan struct{}    // something above changed
}

// sent is a batch that waits for its acknowledgement.
type sent struct {
	boot  string
	seq   uint64
	bytes int
}

// session connects over one way and serves the connection until it ends. The
// session is nil when the server did not welcome it.
func (u *uplink) session(ctx context.Context, way Way) (*session, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	_, creds := u.a.vault.get()
	t := newTransport(way, mutualTLS(u.server, creds, u.clock.now))
	defer t.CloseIdleConnections()
	c := wirepbconnect.NewSensorClient(client(t), "https://"+u.server, connect.WithReadMaxBytes(maxReceive))
	s := &session{u: u, stream: c.Connect(ctx), changed: make(chan struct{}, 1)}
	defer s.stream.CloseResponse()
	// The transport looks at ctx again only when the request body has ended.
	defer context.AfterFunc(ctx, func() { s.stream.CloseRequest() })()
	defer cancel(nil) // before the response is closed, which would wait for the server
	welcome, err := s.hello(cancel)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := s.welcome(welcome, way); err != nil {
		return nil, err
	}
	var down sync.WaitGroup
	down.Go(func() { cancel(s.receive()) })
	err = s.send(ctx)
	if errors.Is(err, io.EOF) { // the stream ended: the receiver learns why
		<-ctx.Done()
		err = context.Cause(ctx)
	}
	cancel(err)
	down.Wait()
	if time.Since(s.reportedAt) < unsure {
		u.a.notes.putBack(s.reported)
	}
	return s, err
}

// hello introduces this sensor and waits for the answer.
func (s *session) hello(cancel context.CancelCauseFunc) (*wirepb.Welcome, error) {
	late := time.AfterFunc(helloTimeout, func() { cancel(fmt.Errorf("no answer within %v: %w", helloTimeout, picket.Unavailable)) })
	defer late.Stop()
	pos := s.u.a.spool.Rewind()
	s.u.a.mu.Lock()
	policy := s.u.a.policy
	s.u.a.mu.Unlock()
	facts := s.u.a.o.Facts()
	facts.BootId = s.u.a.facts.BootId
	err := s.stream.Send(&wirepb.Up{Kind: &wirepb.Up_Hello{Hello: &wirepb.Hello{
		Facts: facts, BootId: pos.Boot, FirstSeq: pos.First, NextSeq: pos.Next, Instance: s.u.instance,
		TimeUs: time.Now().UnixMicro(), PolicyVersion: policy, PreviousStop: s.u.a.previousStop(), Clock: s.u.a.clock.facts(),
	}}})
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("say hello: %w", fromWire(err))
	}
	m, err := s.stream.Receive()
	if err != nil {
		return nil, fmt.Errorf("say hello: %w", fromWire(err))
	}
	w := m.GetWelcome()
	if w == nil {
		return nil, fmt.Errorf("say hello: the server answered with a %T: %w", m.Kind, picket.Invalid)
	}
	return w, nil
}

// welcome takes over what the server already has.
func (s *session) welcome(w *wirepb.Welcome, way Way) error {
	a := s.u.a
	for _, p := range w.Durable {
		if p.BootId == a.facts.BootId && len(p.Hash) == len(event.Hash{}) {
			moved, err := a.spool.Renumber(p.Seq, event.Hash(p.Hash))
			if err != nil {
				return err
			}
			if moved {
				a.notes.add(noteRenumbered, fmt.Sprintf("the server has batch %d of this boot, which the spool never made; numbers were moved up", p.Seq))
				continue
			}
		}
		a.spool.Ack(p.BootId, p.Seq)
	}
	a.spool.Rewind()
	s.u.welcomed(way, w.Group)
	if w.ServerTimeUs != 0 {
		s.u.clock.learn(time.UnixMicro(w.ServerTimeUs))
	}
	if d := time.Until(time.UnixMicro(w.ServerTimeUs)); w.ServerTimeUs != 0 && (d > clockLine || d < -clockLine) {
		a.notes.add(noteClock, fmt.Sprintf("the clock differs from the server's by %v", d.Round(time.Second)))
	}
	return nil
}

func (s *session) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// receive works off what the server says until the stream ends.
func (s *session) receive() error {
	for {
		m, err := s.stream.Receive()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the server ended the connection: %w", picket.Unavailable)
		}
		if err != nil {
			return fromWire(err)
		}
		switch k := m.Kind.(type) {
		case *wirepb.Down_Ack:
			s.u.a.spool.Ack(k.Ack.BootId, k.Ack.Seq)
			s.settle(k.Ack.BootId, k.Ack.Seq)
			s.u.acked()
		case *wirepb.Down_Reject:
			r := k.Reject
			s.u.a.spool.Reject(r.BootId, r.Seq)
			s.u.a.notes.add(noteRejected, fmt.Sprintf("the server rejected batch %d of boot %s: %.300s", r.Seq, r.BootId, r.Reason))
			s.rejected(r.BootId, r.Seq)
		case *wirepb.Down_Throttle:
			s.throttle(k.Throttle)
		case *wirepb.Down_Policy:
			s.mu.Lock()
			s.policies = append(s.policies[max(0, len(s.policies)-8):], k.Policy)
			s.mu.Unlock()
		}
		s.signal()
	}
}

// settle forgets what was acknowledged. Everything that was sent before it is
// of an older boot or of a smaller number.
func (s *session) settle(boot string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := -1
	for i, f := range s.flight {
		if f.boot == boot && f.seq <= seq {
			last = i
		}
	}
	for _, f := range s.flight[:last+1] {
		s.bytes -= f.bytes
	}
	s.flight = s.flight[last+1:]
	s.progress = time.Now()
}

func (s *session) rejected(boot string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.flight {
		if f.boot == boot && f.seq == seq {
			s.bytes -= f.bytes
			s.flight = append(s.flight[:i:i], s.flight[i+1:]...)
			break
		}
	}
	s.progress = time.Now()
}

func (s *session) throttle(t *wirepb.Throttle) {
	d := min(time.Duration(t.WaitMs)*time.Millisecond, maxThrottle)
	s.u.a.o.Log.Debug("the server asks to wait", "for", d, "reason", t.Reason)
	until := time.Now().Add(d)
	s.u.throttled(until)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause, s.progress = until, until
}

// maySend reports whether another batch may go, or how long to wait.
func (s *session) maySend(now time.Time) (bool, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.pause.Sub(now); wait > 0 {
		return false, wait
	}
	return len(s.flight) < windowBatches && s.bytes < windowBytes, 0
}

func (s *session) stalled(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.flight) > 0 && now.Sub(s.progress) > s.u.a.o.Timing.Stall
}

// send passes on batches, reports and answers until ctx ends.
func (s *session) send(ctx context.Context) error {
	a := s.u.a
	timer := time.NewTimer(0)
	defer timer.Stop()
	report := time.Now()
	for {
		now := time.Now()
		if s.stalled(now) {
			return fmt.Errorf("no acknowledgement for %v: %w", a.o.Timing.Stall, picket.Unavailable)
		}
		if err := s.answerPolicies(); err != nil {
			return err
		}
		if !now.Before(report) {
			report = now.Add(time.Duration(a.health.Load()))
			if err := s.sendReport(); err != nil {
				return err
			}
		}
		ok, wait := s.maySend(now)
		if ok {
			more, err := s.sendBatch(now)
			if err != nil {
				return err
			}
			if more && ctx.Err() == nil {
				continue
			}
		}
		if due := report.Sub(now); wait == 0 || due < wait {
			wait = due
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.u.again:
			s.finish(ctx)
			return errAgain
		case <-s.u.leave:
			return s.goodbye(ctx)
		case <-s.u.report:
			report = time.Now()
		case <-timer.C:
		case <-s.changed:
		case <-a.spool.Ready():
		}
	}
}

// goodbye says why the sensor goes and ends the connection in order.
func (s *session) goodbye(ctx context.Context) error {
	err := s.put(&wirepb.Up{Kind: &wirepb.Up_Farewell{Farewell: &wirepb.Farewell{Reason: string(s.u.why), TimeUs: time.Now().UnixMicro()}}})
	if err != nil {
		return err
	}
	s.finish(ctx)
	return nil
}

// finish says that nothing more will come and lets the server work off what
// was sent.
func (s *session) finish(ctx context.Context) {
	late := time.NewTimer(farewell)
	defer late.Stop()
	if s.stream.CloseRequest() != nil {
		return
	}
	select {
	case <-ctx.Done():
	case <-late.C:
	}
}

// put sends one message. The error is io.EOF when the stream has ended.
func (s *session) put(m *wirepb.Up) error {
	err := s.stream.Send(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return fromWire(err)
}

func (s *session) sendBatch(now time.Time) (bool, error) {
	b, ok := s.u.a.spool.Next()
	if !ok {
		return false, nil
	}
	s.mu.Lock()
	if len(s.flight) == 0 {
		s.progress = now
	}
	s.flight = append(s.flight, sent{b.Boot, b.Seq, len(b.Payload)})
	s.bytes += len(b.Payload)
	s.mu.Unlock()
	return true, s.put(&wirepb.Up{Kind: &wirepb.Up_Batch{Batch: &wirepb.Batch{BootId: b.Boot, Seq: b.Seq, Payload: b.Payload}}})
}

func (s *session) sendReport() error {
	h := s.u.a.report()
	if b, err := json.Marshal(h.Hooks); err == nil {
		// They are most of a report and change seldom.
		h.HooksUnchanged = string(b) == s.hooks
		s.hooks = string(b)
		if h.HooksUnchanged {
			h.Hooks = nil
		}
	}
	err := s.put(&wirepb.Up{Kind: &wirepb.Up_Health{Health: h}})
	s.reported, s.reportedAt = h.Notes, time.Now()
	return err
}

func (s *session) answerPolicies() error {
	s.mu.Lock()
	policies := s.policies
	s.policies = nil
	s.mu.Unlock()
	for _, p := range policies {
		answer := &wirepb.PolicyApplied{Version: p.Version}
		if err := s.u.a.applyPolicy(p); err != nil {
			answer.Error = err.Error()
		}
		if err := s.put(&wirepb.Up{Kind: &wirepb.Up_PolicyApplied{PolicyApplied: answer}}); err != nil {
			return err
		}
	}
	return nil
}
