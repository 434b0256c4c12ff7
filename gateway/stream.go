// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/wire/wirepb"
)

var bootID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

const (
	// maxSeq and maxGap bound the numbers that a device may claim: thousands of
	// years of batches, and more missing ones than any spool holds.
	maxSeq = 1 << 48
	maxGap = 1 << 32
	// maxRefused is how many batches in a row are refused before the stream is
	// ended: the device has to pay for a new connection.
	maxRefused = 32
)

// item is a batch that was checked, on its way to the bus and back to the
// device as an answer.
type item struct {
	boot   string
	began  time.Time
	taken  int64           // of the tenant's share
	env    *event.Envelope // nil: nothing to make durable
	rows   int
	reject *wirepb.Reject // nil: acknowledge
}

// batch checks one batch and hands it on. It waits when the device or its
// tenant has used up what it may take, and when the bus is slow: nothing more
// is read then.
func (s *session) batch(ctx context.Context, m *wirepb.Batch, queue chan<- item) error {
	it := item{boot: m.BootId, began: s.g.Now()}
	raw := min(event.RawSize(m.Payload), uint64(s.g.Limits.Batch.Raw))
	if err := s.spend(ctx, len(m.Payload)+int(raw/8)); err != nil {
		return err
	}
	// At most half: a tenant's largest batch leaves room for its others.
	taken := min(int64(len(m.Payload))+1024, s.g.Limits.TenantInFlight/2)
	if err := s.share.inFlight.Acquire(ctx, taken); err != nil {
		return context.Cause(ctx)
	}
	it.taken = taken
	rows, gap, err := s.decode(ctx, m, int64(raw))
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
		err = s.refuse(ctx, m, &it, err)
	case rows >= 0:
		err = s.accept(ctx, m, &it, rows, gap)
	default:
		s.refused = 0
		s.g.metrics.repeats.Inc()
	}
	if err != nil {
		s.share.inFlight.Release(taken)
		return err
	}
	select {
	case queue <- it:
		return nil
	case <-ctx.Done():
		s.share.inFlight.Release(taken)
		return context.Cause(ctx)
	}
}

// decode runs check when there is memory for it.
func (s *session) decode(ctx context.Context, m *wirepb.Batch, raw int64) (rows int, gap uint64, err error) {
	need := min(raw+1<<16, s.g.Limits.Decoding)
	if err := s.g.decoding.Acquire(ctx, need); err != nil {
		return 0, 0, err
	}
	defer s.g.decoding.Release(need)
	return s.check(m)
}

// remark puts rows of the server's own on the device's timeline, in order with
// its batches.
func (s *session) remark(ctx context.Context, rows []event.Row, queue chan<- item) error {
	if len(rows) == 0 {
		return nil
	}
	var b event.Builder
	for _, r := range rows {
		b.Add(r)
	}
	now := event.TimeOf(s.g.Now())
	boot := s.hello.Facts.BootId
	if !bootID.MatchString(boot) {
		boot = "server"
	}
	payload, err := (&event.Batch{BootID: boot, Created: now, Blocks: b.Take()}).Encode()
	if err != nil {
		return err
	}
	if err := s.spend(ctx, len(payload)); err != nil { // what a device says about itself counts as well
		return err
	}
	it := item{began: s.g.Now(), env: &event.Envelope{
		Tenant: s.id.Tenant, DeviceID: s.id.DeviceID, DeviceName: s.admission.Name, Group: s.admission.Group,
		Received: now, BootID: boot, Payload: payload,
	}}
	select {
	case queue <- it:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// accept prepares a good batch for the bus.
func (s *session) accept(ctx context.Context, m *wirepb.Batch, it *item, rows int, gap uint64) error {
	if _, known := s.seen.Of(m.BootId); known && s.seen.BootID != m.BootId && !s.flipped {
		s.flipped = true
		if err := s.clash(ctx, "a boot goes on after a later one began"); err != nil {
			return err
		}
	}
	if gap > 0 {
		s.g.Log.Warn("batches are missing", "tenant", s.id.Tenant, "device", s.id.DeviceID, "boot", m.BootId, "before", m.Seq, "missing", gap)
	}
	s.refused = 0
	s.seen = s.seen.After(bus.Position{BootID: m.BootId, Seq: m.Seq, Hash: event.HashOf(m.Payload)})
	it.rows = rows
	it.env = &event.Envelope{
		Tenant: s.id.Tenant, DeviceID: s.id.DeviceID, DeviceName: s.admission.Name, Group: s.admission.Group,
		Received: event.TimeOf(s.g.Now()), ClockOffset: s.offset, BootID: m.BootId, Seq: m.Seq, Gap: gap, Payload: m.Payload,
	}
	return nil
}

// refuse prepares the answer to a batch that can never be accepted.
func (s *session) refuse(ctx context.Context, m *wirepb.Batch, it *item, why error) error {
	reasons := map[error]string{picket.Invalid: "batch_invalid", picket.TooLarge: "batch_too_large", picket.Conflict: "batch_chain"}
	reason, ok := reasons[picket.Kind(why)]
	if !ok {
		return why
	}
	s.g.metrics.refused.WithLabelValues(reason).Inc()
	boot := clip(m.BootId, maxName)
	s.g.Log.Warn("batch is refused", "tenant", s.id.Tenant, "device", s.id.DeviceID, "boot", boot, "seq", m.Seq, "error", why)
	s.audit(ctx, "batch.refuse", map[string]string{"boot": boot, "seq": fmt.Sprint(m.Seq), "reason": why.Error()})
	if s.refused++; s.refused > maxRefused {
		return fmt.Errorf("%d batches in a row were refused: %w", s.refused, picket.Conflict)
	}
	it.reject = &wirepb.Reject{BootId: boot, Seq: m.Seq, Reason: why.Error()}
	return nil
}

// check decides about a batch: rows is negative for one that is durable
// already, gap the number of batches missing before it.
func (s *session) check(m *wirepb.Batch) (rows int, gap uint64, err error) {
	if !bootID.MatchString(m.BootId) || m.Seq == 0 || m.Seq > maxSeq {
		return 0, 0, fmt.Errorf("boot %.100q, number %d: %w", m.BootId, m.Seq, picket.Invalid)
	}
	b, err := event.Decode(m.Payload, s.g.Limits.Batch)
	if err != nil {
		return 0, 0, err
	}
	if b.BootID != m.BootId || b.Seq != m.Seq {
		return 0, 0, fmt.Errorf("payload is batch %d of boot %.100q: %w", b.Seq, b.BootID, picket.Invalid)
	}
	last, _ := s.seen.Of(m.BootId) // zero: number 0 and a zero hash, what a first batch follows
	switch {
	case m.Seq == last.Seq && event.HashOf(m.Payload) != last.Hash:
		return 0, 0, fmt.Errorf("another batch with number %d is durable already: %w", m.Seq, picket.Conflict)
	case m.Seq <= last.Seq:
		return -1, 0, nil
	case m.Seq == last.Seq+1 && b.Prev != last.Hash:
		return 0, 0, fmt.Errorf("does not follow the batch before it: %w", picket.Conflict)
	case m.Seq-last.Seq > maxGap:
		return 0, 0, fmt.Errorf("number %d is too far after %d: %w", m.Seq, last.Seq, picket.Invalid)
	}
	return b.Rows(), m.Seq - last.Seq - 1, nil
}

// spend takes from the budgets of the device and its tenant, and waits when
// one is used up.
func (s *session) spend(ctx context.Context, n int) error {
	now := s.g.Now()
	own := s.bytes.ReserveN(now, min(n, s.bytes.Burst()))
	number := s.batches.ReserveN(now, 1)
	all := s.share.bytes.ReserveN(now, min(n, s.share.bytes.Burst()))
	why, wait := "budget of this device is used up", max(own.DelayFrom(now), number.DelayFrom(now))
	if d := all.DelayFrom(now); d > wait {
		why, wait = "budget of the tenant is used up", d
	}
	if wait <= 0 {
		return nil
	}
	return s.wait(ctx, wait, why)
}

// wait asks the sensor to wait, and holds this side up meanwhile.
func (s *session) wait(ctx context.Context, d time.Duration, why string) error {
	s.g.metrics.waits.Inc()
	if err := s.send(&wirepb.Down{Kind: &wirepb.Down_Throttle{Throttle: &wirepb.Throttle{WaitMs: uint32(max(d.Milliseconds(), 1)), Reason: why}}}); err != nil {
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

// settle makes batches durable, one after the other, and answers. After an
// error it only gives back what the rest had taken.
func (s *session) settle(ctx context.Context, queue <-chan item) error {
	var failed error
	for it := range queue {
		if failed == nil {
			if failed = s.finish(ctx, &it); failed != nil {
				s.cancel(failed)
			}
		}
		s.share.inFlight.Release(it.taken)
	}
	return failed
}

func (s *session) finish(ctx context.Context, it *item) error {
	if it.reject != nil {
		return s.send(&wirepb.Down{Kind: &wirepb.Down_Reject{Reject: it.reject}})
	}
	if it.env != nil {
		if err := s.publish(ctx, it.env); err != nil {
			return err
		}
		if it.env.Remark() {
			return nil
		}
		s.g.Registry.Received(s.id, s.g.Now(), it.env.Gap)
		s.g.metrics.batches.Inc()
		s.g.metrics.rows.Add(float64(it.rows))
		s.g.metrics.bytes.Add(float64(len(it.env.Payload)))
		s.g.metrics.missing.Add(float64(it.env.Gap))
	}
	p, _ := s.last.Of(it.boot)
	if err := s.send(&wirepb.Down{Kind: &wirepb.Down_Ack{Ack: &wirepb.Ack{BootId: it.boot, Seq: p.Seq}}}); err != nil {
		return err
	}
	s.g.metrics.ack.Observe(s.g.Now().Sub(it.began).Seconds())
	return nil
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
