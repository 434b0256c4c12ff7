// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/wire/wirepb"
)

// session is one stream of one device. One goroutine reads and checks, a
// second makes durable and acknowledges, in the same order.
type session struct {
	g         *Gateway
	id        pki.Identity
	addr      string
	hello     *wirepb.Hello
	admission Admission
	live      *liveSession
	cancel    context.CancelCauseFunc
	offset    int64  // server's clock minus the sensor's, microseconds
	policy    uint64 // version that was sent

	seen    bus.Last // how far the device has come, with what is being made durable
	last    bus.Last // what is durable: the second goroutine's
	refused int      // batches in a row
	flipped bool     // an older boot went on: said once

	arrived  bool            // Presence knows
	farewell picket.Farewell // what the sensor said last
	remarks  []event.Row     // of the server, that wait for the first message

	share   *share        // of the tenant
	bytes   *rate.Limiter // of the device
	batches *rate.Limiter
	talk    *rate.Limiter // messages that are no batches

	sending sync.Mutex
	stream  *connect.BidiStream[wirepb.Up, wirepb.Down]
	control *http.ResponseController
}

const (
	// A sensor's clock that is nearer than this to ours is taken as it is.
	clockTolerance = 3 * time.Second
	// window is how many batches of a device may wait for the bus.
	window = 16
	// sendTimeout is how long a device may leave an answer unread.
	sendTimeout = 30 * time.Second
	// handOver is how long a new connection waits for the end of the one before.
	handOver = 10 * time.Second
)

// Connect serves the stream of one device until either side ends it.
func (g *Gateway) Connect(ctx context.Context, stream *connect.BidiStream[wirepb.Up, wirepb.Down]) error {
	caller := ctx.Value(callerKey{}).(caller)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(g.ctx, func() { cancel(fmt.Errorf("the server stops: %w", picket.Unavailable)) })
	defer stop()
	s := &session{
		g: g, id: caller.id, control: caller.control, addr: host(stream.Peer().Addr), stream: stream, cancel: cancel,
		share:   g.shares.of(caller.id.Tenant),
		bytes:   rate.NewLimiter(rate.Limit(g.Limits.BytesPerSecond), 8*g.Limits.BytesPerSecond),
		batches: rate.NewLimiter(rate.Limit(g.Limits.BatchesPerSecond), 5*g.Limits.BatchesPerSecond),
		talk:    rate.NewLimiter(2, 30),
	}
	up := receive(ctx, stream)
	defer s.leave(ctx)
	if err := s.greet(ctx, up); err != nil {
		return g.code(err)
	}
	g.metrics.streams.Inc()
	defer g.metrics.streams.Dec()
	return s.end(s.run(ctx, up))
}

// leaveTime is how long it may take to note that a device is gone.
const leaveTime = 5 * time.Second

// leave notes that the device is gone and lets its next session begin.
func (s *session) leave(ctx context.Context) {
	if s.arrived {
		if s.farewell == picket.FarewellNone && s.g.ctx.Err() != nil {
			s.farewell = picket.FarewellServer
		}
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
		s.g.Presence.Left(late, s.id, s.hello.Instance, s.farewell)
		cancel()
	}
	if s.live != nil {
		s.g.sessions.done(sessionKey(s.id.Tenant, s.id.DeviceID), s.live)
	}
}

// end translates the reason why a session ended.
func (s *session) end(err error) error {
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, errRevoked):
		return connect.NewError(connect.CodePermissionDenied, errRevoked)
	case errors.Is(err, errSuperseded):
		return connect.NewError(connect.CodeAborted, errSuperseded)
	}
	var sent *connect.Error
	if errors.As(err, &sent) {
		return sent // the transport's own word: the message was too large, the peer is gone
	}
	return s.g.code(err)
}

// run reads until the stream ends, and returns once what was read is durable
// or given up.
func (s *session) run(ctx context.Context, up <-chan received) error {
	queue := make(chan item, window)
	settled := make(chan error, 1)
	go func() { settled <- s.settle(ctx, queue) }()
	err := s.serve(ctx, up, queue)
	if err != nil && !errors.Is(err, io.EOF) {
		s.cancel(err)
	}
	close(queue)
	return errors.Join(<-settled, err)
}

// received is one message or the end of the stream.
type received struct {
	msg *wirepb.Up
	err error
}

// receive reads messages one ahead of what is being worked on, so that a
// session can be ended from outside while the peer is silent. The goroutine
// ends with the request.
func receive(ctx context.Context, stream *connect.BidiStream[wirepb.Up, wirepb.Down]) <-chan received {
	up := make(chan received)
	go func() {
		for {
			msg, err := stream.Receive()
			select {
			case up <- received{msg, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return up
}

// next waits for a message, at most the idle time. It also passes on a policy
// that changed.
func (s *session) next(ctx context.Context, up <-chan received, wait time.Duration) (*wirepb.Up, error) {
	idle := time.NewTimer(wait)
	defer idle.Stop()
	var refresh <-chan struct{}
	if s.live != nil {
		refresh = s.live.refresh
	}
	for {
		select {
		case r := <-up:
			if r.err != nil && ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return r.msg, r.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-idle.C:
			return nil, fmt.Errorf("silent for %v: %w", wait, picket.Canceled)
		case <-refresh:
			if err := s.sendPolicy(ctx); err != nil {
				return nil, err
			}
		}
	}
}

// send says something to the device, which must not leave it unread for long.
func (s *session) send(d *wirepb.Down) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.control.SetWriteDeadline(time.Now().Add(sendTimeout)) // an HTTP/2 stream always has one
	err := s.stream.Send(d)
	_ = s.control.SetWriteDeadline(time.Time{})
	return err
}

// greet takes the hello, admits the device, ends the session that it may have
// left behind, and answers.
func (s *session) greet(ctx context.Context, up <-chan received) error {
	msg, err := s.next(ctx, up, s.g.Limits.Hello)
	if err != nil {
		return err
	}
	s.hello = msg.GetHello()
	if s.hello == nil || s.hello.Facts == nil {
		return fmt.Errorf("the first message must be a hello with facts: %w", picket.Invalid)
	}
	clipFacts(s.hello.Facts)
	s.hello.PreviousStop = clip(s.hello.PreviousStop, maxName)
	clipClock(s.hello.Clock)
	if s.admission, err = s.g.Registry.Admit(ctx, s.id, s.hello.Facts, s.addr); err != nil {
		s.g.metrics.refused.WithLabelValues("device").Inc()
		return err
	}
	s.clock(s.hello.TimeUs)
	if err := s.enter(ctx); err != nil {
		return err
	}
	if s.last, err = s.g.Publisher.Last(ctx, s.id.Tenant, s.id.DeviceID); err != nil {
		return err
	}
	s.seen = s.last
	if s.remarks, err = s.g.Presence.Arrived(ctx, s.id, s.hello); err != nil {
		return err
	}
	s.arrived = true
	welcome := &wirepb.Welcome{DeviceId: s.id.DeviceID, Tenant: s.id.Tenant, Group: s.admission.Group, ServerTimeUs: int64(event.TimeOf(s.g.Now()))}
	for _, p := range s.last.Positions() {
		welcome.Durable = append(welcome.Durable, &wirepb.Position{BootId: p.BootID, Seq: p.Seq, Hash: p.Hash[:]})
	}
	if err := s.send(&wirepb.Down{Kind: &wirepb.Down_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	return s.policyIfNewer(s.hello.PolicyVersion)
}

// enter takes the device over from its session before, and notes when two
// hosts use the identity at once.
func (s *session) enter(ctx context.Context) error {
	live := &liveSession{tenant: s.id.Tenant, instance: s.hello.Instance, cancel: s.cancel, refresh: make(chan struct{}, 1), ended: make(chan struct{})}
	before, clash := s.g.sessions.open(sessionKey(s.id.Tenant, s.id.DeviceID), live)
	s.live = live
	if clash {
		if err := s.clash(ctx, "an earlier run of the sensor is back"); err != nil {
			return err
		}
	}
	if before == nil {
		return nil
	}
	// What the old session is about to make durable must be known first.
	wait := time.NewTimer(handOver)
	defer wait.Stop()
	select {
	case <-before.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-wait.C:
		return fmt.Errorf("the connection before does not end: %w", picket.Unavailable)
	}
}

func (s *session) clash(ctx context.Context, why string) error {
	s.g.metrics.clashes.Inc()
	if err := s.g.Registry.Clash(ctx, s.id); err != nil {
		return err
	}
	f := s.hello.Facts
	s.audit(ctx, "device.clash", map[string]string{"reason": why, "host": f.HostName, "machine_id": f.MachineId})
	return nil
}

// clock measures how far the sensor's clock is from ours.
func (s *session) clock(sensor int64) {
	const latest = 1 << 53 // in the year 2255
	if sensor <= 0 {
		s.offset = 0
		return
	}
	s.offset = int64(event.TimeOf(s.g.Now())) - min(sensor, latest)
	if s.offset < clockTolerance.Microseconds() && s.offset > -clockTolerance.Microseconds() {
		s.offset = 0
	}
}

func (s *session) policyIfNewer(have uint64) error {
	if s.admission.PolicyVersion == have || s.admission.PolicyVersion == s.policy {
		return nil
	}
	s.policy = s.admission.PolicyVersion
	return s.send(&wirepb.Down{Kind: &wirepb.Down_Policy{Policy: &wirepb.Policy{Version: s.admission.PolicyVersion, Json: s.admission.Policy}}})
}

func (s *session) sendPolicy(ctx context.Context) error {
	a, err := s.g.Registry.Admit(ctx, s.id, s.hello.Facts, s.addr)
	if err != nil {
		return err
	}
	s.admission = a
	return s.policyIfNewer(0)
}

func (s *session) audit(ctx context.Context, action string, detail map[string]string) {
	s.g.Auditor.Audit(ctx, s.id.Tenant, picket.AuditEntry{Actor: "sensor", Action: action, Target: s.id.DeviceID, Outcome: picket.AuditDenied, Address: s.addr, Detail: detail})
}

// serve works off messages until the stream ends.
func (s *session) serve(ctx context.Context, up <-chan received, queue chan<- item) error {
	if err := s.remark(ctx, s.remarks, queue); err != nil {
		return err
	}
	for {
		msg, err := s.next(ctx, up, s.g.Limits.Idle)
		if err != nil {
			return err
		}
		if msg.GetBatch() == nil {
			if err := s.talk.Wait(ctx); err != nil {
				return context.Cause(ctx)
			}
		}
		switch m := msg.Kind.(type) {
		case *wirepb.Up_Batch:
			err = s.batch(ctx, m.Batch, queue)
		case *wirepb.Up_Health:
			err = s.health(ctx, m.Health, queue)
		case *wirepb.Up_Farewell:
			s.farewell = picket.KnownFarewell(m.Farewell.Reason)
		case *wirepb.Up_PolicyApplied:
			if m.PolicyApplied.Error != "" {
				s.g.Log.Warn("device refuses policy", "tenant", s.id.Tenant, "device", s.id.DeviceID, "version", m.PolicyApplied.Version, "error", clip(m.PolicyApplied.Error, maxNote))
			}
		default:
			err = fmt.Errorf("unexpected message %T: %w", m, picket.Invalid)
		}
		if err != nil {
			return err
		}
	}
}

// health takes a report and puts on the timeline what belongs there.
func (s *session) health(ctx context.Context, h *wirepb.Health, queue chan<- item) error {
	clipHealth(h)
	s.clock(h.TimeUs)
	rows, err := s.g.Registry.Health(ctx, s.id, s.hello.Instance, h)
	if err != nil {
		return err
	}
	return s.remark(ctx, rows, queue)
}

// share is what one tenant may take of the gateway at once and over time.
type share struct {
	inFlight *semaphore.Weighted // bytes that are not durable yet
	bytes    *rate.Limiter
}

// shares is the share of each tenant. Only tenants with a certificate
// authority get here, so it stays small.
type shares struct {
	limits Limits
	mu     sync.Mutex
	all    map[string]*share
}

func (s *shares) of(tenant string) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.all[tenant]
	if t == nil {
		t = &share{semaphore.NewWeighted(s.limits.TenantInFlight), rate.NewLimiter(rate.Limit(s.limits.TenantBytesPerSecond), 8*s.limits.TenantBytesPerSecond)}
		s.all[tenant] = t
	}
	return t
}
