// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/time/rate"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/wire/wirepb"
)

// session is one stream of one device.
type session struct {
	g         *Gateway
	id        pki.Identity
	addr      string
	hello     *wirepb.Hello
	admission Admission
	stream    *connect.BidiStream[wirepb.Up, wirepb.Down]
	live      *liveSession
	last      bus.Last // how far the device has come
	offset    int64               // server's clock minus the sensor's, microseconds
	budget    *rate.Limiter
	policy    uint64 // version that was sent
}

// A sensor's clock that is nearer than this to ours is taken as it is.
const clockTolerance = 3 * time.Second

// Connect serves the stream of one device until either side ends it.
func (g *Gateway) Connect(ctx context.Context, stream *connect.BidiStream[wirepb.Up, wirepb.Down]) error {
	id := ctx.Value(identityKey{}).(pki.Identity)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(g.ctx, func() { cancel(fmt.Errorf("the server stops: %w", picket.Unavailable)) })
	defer stop()
	up := receive(ctx, stream)
	s := &session{g: g, id: id, addr: host(stream.Peer().Addr), stream: stream, budget: rate.NewLimiter(rate.Limit(g.Limits.BytesPerSecond), 8*g.Limits.BytesPerSecond)}
	if err := s.greet(ctx, cancel, up); err != nil {
		return g.code(err)
	}
	key := sessionKey(id.Tenant, id.DeviceID)
	defer g.sessions.done(key, s.live)
	g.metrics.streams.Inc()
	defer g.metrics.streams.Dec()
	err := s.serve(ctx, up)
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, errRevoked):
		return connect.NewError(connect.CodePermissionDenied, errRevoked)
	case errors.Is(err, errSuperseded):
		return connect.NewError(connect.CodeAborted, errSuperseded)
	}
	return g.code(err)
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

// next waits for a message, at most the idle time.
func (s *session) next(ctx context.Context, up <-chan received) (*wirepb.Up, error) {
	idle := time.NewTimer(s.g.Limits.Idle)
	defer idle.Stop()
	for {
		select {
		case r := <-up:
			return r.msg, r.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-idle.C:
			return nil, fmt.Errorf("silent for %v: %w", s.g.Limits.Idle, picket.Canceled)
		case <-s.refresh():
			if err := s.sendPolicy(ctx); err != nil {
				return nil, err
			}
		}
	}
}

func (s *session) refresh() <-chan struct{} {
	if s.live == nil {
		return nil
	}
	return s.live.refresh
}

// greet takes the hello, admits the device and answers.
func (s *session) greet(ctx context.Context, cancel context.CancelCauseFunc, up <-chan received) error {
	msg, err := s.next(ctx, up)
	if err != nil {
		return err
	}
	s.hello = msg.GetHello()
	if s.hello == nil || s.hello.Facts == nil {
		return fmt.Errorf("the first message must be a hello with facts: %w", picket.Invalid)
	}
	if s.admission, err = s.g.Registry.Admit(ctx, s.id, s.hello.Facts, s.addr); err != nil {
		s.g.metrics.refused.WithLabelValues("device").Inc()
		return err
	}
	s.clock(s.hello.TimeUs)
	if s.last, err = s.g.Publisher.Last(ctx, s.id.Tenant, s.id.DeviceID); err != nil {
		return err
	}
	welcome := &wirepb.Welcome{DeviceId: s.id.DeviceID, Tenant: s.id.Tenant, Group: s.admission.Group, ServerTimeUs: int64(event.TimeOf(s.g.Now()))}
	for _, p := range s.last.Positions() {
		welcome.Durable = append(welcome.Durable, &wirepb.Position{BootId: p.BootID, Seq: p.Seq, Hash: p.Hash[:]})
	}
	s.live = &liveSession{tenant: s.id.Tenant, instance: s.hello.Instance, cancel: cancel, refresh: make(chan struct{}, 1)}
	if s.g.sessions.open(sessionKey(s.id.Tenant, s.id.DeviceID), s.live) {
		s.g.metrics.clashes.Inc()
		if err := s.g.Registry.Clash(ctx, s.id); err != nil {
			return err
		}
		s.audit(ctx, "device.clash", map[string]string{"host": s.hello.Facts.HostName, "machine_id": s.hello.Facts.MachineId})
	}
	if err := s.stream.Send(&wirepb.Down{Kind: &wirepb.Down_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	return s.policyIfNewer(s.hello.PolicyVersion)
}

// clock measures how far the sensor's clock is from ours.
func (s *session) clock(sensor int64) {
	offset := int64(event.TimeOf(s.g.Now())) - sensor
	if sensor == 0 || (offset < clockTolerance.Microseconds() && offset > -clockTolerance.Microseconds()) {
		offset = 0
	}
	s.offset = offset
}

func (s *session) policyIfNewer(have uint64) error {
	if s.admission.PolicyVersion == have || s.admission.PolicyVersion == s.policy {
		return nil
	}
	s.policy = s.admission.PolicyVersion
	return s.stream.Send(&wirepb.Down{Kind: &wirepb.Down_Policy{Policy: &wirepb.Policy{Version: s.admission.PolicyVersion, Json: s.admission.Policy}}})
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
func (s *session) serve(ctx context.Context, up <-chan received) error {
	for {
		msg, err := s.next(ctx, up)
		if err != nil {
			return err
		}
		switch m := msg.Kind.(type) {
		case *wirepb.Up_Batch:
			err = s.batch(ctx, m.Batch)
		case *wirepb.Up_Health:
			s.clock(m.Health.TimeUs)
			err = s.g.Registry.Health(ctx, s.id, s.hello.Instance, m.Health)
		case *wirepb.Up_PolicyApplied:
			if m.PolicyApplied.Error != "" {
				s.g.Log.Warn("device refuses policy", "tenant", s.id.Tenant, "device", s.id.DeviceID, "version", m.PolicyApplied.Version, "error", m.PolicyApplied.Error)
			}
		default:
			err = fmt.Errorf("unexpected message %T: %w", m, picket.Invalid)
		}
		if err != nil {
			return err
		}
	}
}

var bootID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// batch checks one batch, makes it durable and acknowledges it.
func (s *session) batch(ctx context.Context, m *wirepb.Batch) error {
	if err := s.spend(ctx, len(m.Payload)); err != nil {
		return err
	}
	rows, gap, err := s.check(m)
	if err != nil {
		s.g.metrics.refused.WithLabelValues("batch").Inc()
		s.audit(ctx, "batch.refuse", map[string]string{"boot": m.BootId, "seq": fmt.Sprint(m.Seq), "reason": err.Error()})
		return s.stream.Send(&wirepb.Down{Kind: &wirepb.Down_Reject{Reject: &wirepb.Reject{BootId: m.BootId, Seq: m.Seq, Reason: err.Error()}}})
	}
	if rows < 0 {
		s.g.metrics.repeats.Inc()
		return s.ack(m.BootId)
	}
	e := &event.Envelope{
		Tenant: s.id.Tenant, DeviceID: s.id.DeviceID, DeviceName: s.admission.Name, Group: s.admission.Group,
		Received: event.TimeOf(s.g.Now()), ClockOffset: s.offset, BootID: m.BootId, Seq: m.Seq, Gap: gap, Payload: m.Payload,
	}
	if err := s.publish(ctx, e); err != nil {
		return err
	}
	s.g.Registry.Received(s.id, s.g.Now(), gap)
	s.g.metrics.batches.Inc()
	s.g.metrics.rows.Add(float64(rows))
	s.g.metrics.bytes.Add(float64(len(m.Payload)))
	s.g.metrics.missing.Add(float64(gap))
	return s.ack(m.BootId)
}

// check decides about a batch: rows is negative for one that is durable
// already, gap the number of batches missing before it.
func (s *session) check(m *wirepb.Batch) (rows int, gap uint64, err error) {
	if !bootID.MatchString(m.BootId) || m.Seq == 0 {
		return 0, 0, fmt.Errorf("boot %q, number %d: %w", m.BootId, m.Seq, picket.Invalid)
	}
	b, err := event.Decode(m.Payload, s.g.Limits.Batch)
	if err != nil {
		return 0, 0, err
	}
	if b.BootID != m.BootId || b.Seq != m.Seq {
		return 0, 0, fmt.Errorf("payload is batch %d of boot %q: %w", b.Seq, b.BootID, picket.Invalid)
	}
	last, _ := s.last.Of(m.BootId) // zero: number 0 and a zero hash, what a first batch follows
	switch {
	case m.Seq == last.Seq && event.HashOf(m.Payload) != last.Hash:
		return 0, 0, fmt.Errorf("another batch with number %d is durable already: %w", m.Seq, picket.Conflict)
	case m.Seq <= last.Seq:
		return -1, 0, nil
	case m.Seq == last.Seq+1 && b.Prev != last.Hash:
		return 0, 0, fmt.Errorf("does not follow the batch before it: %w", picket.Conflict)
	}
	return b.Rows(), m.Seq - last.Seq - 1, nil
}

// spend takes bytes from the device's budget and waits when it is used up.
func (s *session) spend(ctx context.Context, n int) error {
	r := s.budget.ReserveN(s.g.Now(), min(n, s.budget.Burst()))
	wait := r.DelayFrom(s.g.Now())
	if wait <= 0 {
		return nil
	}
	return s.wait(ctx, wait, "budget of this device is used up")
}

// wait asks the sensor to wait, and reads nothing meanwhile.
func (s *session) wait(ctx context.Context, d time.Duration, why string) error {
	s.g.metrics.waits.Inc()
	if err := s.stream.Send(&wirepb.Down{Kind: &wirepb.Down_Throttle{Throttle: &wirepb.Throttle{WaitMs: uint32(d.Milliseconds()), Reason: why}}}); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// publish tries until the bus took the envelope: a full or absent bus means
// that the sensor waits, not that anything is dropped.
func (s *session) publish(ctx context.Context, e *event.Envelope) error {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		began := s.g.Now()
		last, err := s.g.Publisher.Publish(ctx, e, s.last)
		if err == nil {
			s.last = last
			s.g.metrics.publish.Observe(s.g.Now().Sub(began).Seconds())
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !errors.Is(err, picket.Unavailable) {
			return err
		}
		s.g.Log.Warn("bus does not take a batch", "tenant", e.Tenant, "device", e.DeviceID, "error", err)
		if err := s.wait(ctx, pause, "the server's stream is full or away"); err != nil {
			return err
		}
	}
}

func (s *session) ack(boot string) error {
	p, _ := s.last.Of(boot)
	return s.stream.Send(&wirepb.Down{Kind: &wirepb.Down_Ack{Ack: &wirepb.Ack{BootId: boot, Seq: p.Seq}}})
}
