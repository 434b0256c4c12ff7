// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

const (
	lastHeader     = "Picket-Last"
	wrongLastSeq   = jetstream.ErrorCode(10071)
	wrongLastSeq2  = jetstream.ErrorCode(10164)
	publishRetries = 3
	maxHeader      = 4 << 10 // no message's headers are longer
)

// Publish stores an envelope on top of what the caller knows of the device
// and returns, once it is on disk, what is known now. Of one device only one
// Publish may be under way; two writers that do not know of each other cannot
// both win: the slower gets picket.Conflict and must ask Last again. The very
// batch that is the newest already is stored once. A full stream or disk
// gives picket.Unavailable: the message was not stored, or will be
// recognised when it comes again. A remark of the server leaves what is known
// of the device as it is.
func (b *Bus) Publish(ctx context.Context, e *event.Envelope, known Last) (Last, error) {
	if !plain(e.DeviceID) || !plain(e.BootID) {
		return known, fmt.Errorf("bus: device %q, boot %q: %w", e.DeviceID, e.BootID, picket.Invalid)
	}
	t, err := b.tenant(ctx, e.Tenant)
	if err != nil {
		return known, err
	}
	if err := b.disk.room(); err != nil {
		b.metrics.refused.Inc()
		return known, err
	}
	began := time.Now()
	next, err := b.put(ctx, t, e, known)
	if err != nil {
		b.metrics.refused.Inc()
		return known, fmt.Errorf("bus: publish batch %d of %s: %w", e.Seq, e.DeviceID, err)
	}
	b.metrics.published.Inc()
	b.metrics.bytes.Add(float64(len(e.Payload)))
	b.metrics.seconds.Observe(time.Since(began).Seconds())
	t.mu.Lock()
	t.newest[e.DeviceID] = next.revision
	t.mu.Unlock()
	// Only a hint: readers look by themselves as well.
	_ = b.conn.Publish(storedSubject(e.Tenant), nil)
	return next, nil
}

func (b *Bus) put(ctx context.Context, t *tenantStream, e *event.Envelope, known Last) (Last, error) {
	hash := event.HashOf(e.Payload)
	next := known
	if !e.Remark() {
		next = known.After(Position{e.BootID, e.Seq, hash})
	}
	msg := nats.NewMsg(subject(e.Tenant, e.DeviceID))
	msg.Data = e.Marshal()
	msg.Header.Set(lastHeader, next.text())
	if limit := b.conn.MaxPayload(); limit > 0 && int64(len(msg.Data)+maxHeader) > limit {
		return known, fmt.Errorf("%d bytes do not fit into a message of the server: %w", len(msg.Data), picket.TooLarge)
	}
	// The hash is part of the id: another batch with the same number is no repeat.
	id := fmt.Sprintf("%s/%s/%d/%x", e.DeviceID, e.BootID, e.Seq, hash[:8])
	for range publishRetries {
		ack, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectLastSequencePerSubject(known.revision))
		if err == nil {
			next.revision = ack.Sequence
			return next, nil
		}
		var api *jetstream.APIError
		if !errors.As(err, &api) || (api.ErrorCode != wrongLastSeq && api.ErrorCode != wrongLastSeq2) {
			return known, publishError(err)
		}
		// The place of the device's newest message is not where we thought: it
		// was trimmed, or somebody else published.
		now, err := b.load(ctx, t, e.Tenant, e.DeviceID)
		switch {
		case err != nil:
			return known, err
		case !e.Remark() && now.Position == next.Position:
			return now, nil
		case !now.same(&known):
			return known, fmt.Errorf("another writer is at batch %d of boot %s: %w", now.Seq, now.BootID, picket.Conflict)
		}
		known.revision = now.revision
	}
	return known, fmt.Errorf("the stream changes too fast: %w", picket.Unavailable)
}

func publishError(err error) error {
	kind := picket.Unavailable
	switch {
	case errors.Is(err, context.Canceled):
		kind = picket.Canceled
	case errors.Is(err, nats.ErrMaxPayload):
		kind = picket.TooLarge
	}
	return fmt.Errorf("%v: %w", err, kind)
}

// Last returns how far a device has come; the zero value when nothing is
// known.
func (b *Bus) Last(ctx context.Context, tenant, device string) (Last, error) {
	if !plain(device) {
		return Last{}, fmt.Errorf("bus: device %q: %w", device, picket.Invalid)
	}
	t, err := b.tenant(ctx, tenant)
	if err != nil {
		return Last{}, err
	}
	l, err := b.load(ctx, t, tenant, device)
	if err != nil {
		return Last{}, fmt.Errorf("bus: last batch of %s: %w", device, err)
	}
	return l, nil
}

// load looks at the newest message of the device, and where it was trimmed at
// what Trim kept.
func (b *Bus) load(ctx context.Context, t *tenantStream, tenant, device string) (Last, error) {
	msg, err := t.stream.GetLastMsgForSubject(ctx, subject(tenant, device))
	if err == nil {
		l, err := parseLast(msg.Header.Get(lastHeader))
		l.revision = msg.Sequence
		return l, err
	}
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return Last{}, fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	s, err := b.js.Stream(ctx, positionsStream)
	if err != nil {
		return Last{}, fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	switch msg, err = s.GetLastMsgForSubject(ctx, positionSubject(tenant, device)); {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Last{}, nil
	case err != nil:
		return Last{}, fmt.Errorf("%v: %w", err, picket.Unavailable)
	}
	return parseLast(string(msg.Data))
}

func positionSubject(tenant, device string) string {
	return positionsStream + "." + tenant + "." + device
}

// Trim forgets messages up to and including sequence upTo, which every reader
// must be done with. How far each device has come is kept first, so that one
// which comes back after a long silence is still told where to go on.
func (b *Bus) Trim(ctx context.Context, tenant string, upTo uint64) error {
	t, err := b.tenant(ctx, tenant)
	if err != nil {
		return err
	}
	t.trimming.Lock()
	defer t.trimming.Unlock()
	st, err := b.State(ctx, tenant)
	if err != nil {
		return err
	}
	if upTo > st.Last {
		return fmt.Errorf("bus: trim stream of tenant %s up to %d, but it ends at %d: %w", tenant, upTo, st.Last, picket.Conflict)
	}
	if upTo < st.First {
		return nil
	}
	if err := b.keep(ctx, t, tenant, st.First, upTo); err != nil {
		return fmt.Errorf("bus: trim stream of tenant %s: %w", tenant, err)
	}
	if err := t.stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return fmt.Errorf("bus: trim stream of tenant %s: %v: %w", tenant, err, picket.Unavailable)
	}
	return nil
}

// keep writes down how far each device with a message in a range had come.
// A device that published after the range, as far as this process knows, has
// a message that tells it.
func (b *Bus) keep(ctx context.Context, t *tenantStream, tenant string, from, upTo uint64) error {
	found := map[string]string{}
	for from <= upTo {
		msgs, err := b.read(ctx, t.name, from, false)
		if err != nil {
			return err
		}
		if len(msgs) == 0 {
			return fmt.Errorf("nothing at sequence %d: %w", from, picket.Unavailable)
		}
		for _, m := range msgs {
			if m.seq > upTo {
				break
			}
			found[m.device] = m.last
		}
		from = msgs[len(msgs)-1].seq + 1
	}
	var waits []jetstream.PubAckFuture
	t.mu.Lock()
	for device := range found {
		if t.newest[device] > upTo {
			delete(found, device)
		} else {
			delete(t.newest, device)
		}
	}
	t.mu.Unlock()
	for device, last := range found {
		f, err := b.js.PublishAsync(positionSubject(tenant, device), []byte(last), jetstream.WithStallWait(callTimeout))
		if err != nil {
			return fmt.Errorf("keep position of %s: %v: %w", device, err, picket.Unavailable)
		}
		waits = append(waits, f)
	}
	timeout := time.NewTimer(callTimeout)
	defer timeout.Stop()
	for _, f := range waits {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return fmt.Errorf("keep positions: %v: %w", err, picket.Unavailable)
		case <-timeout.C:
			return fmt.Errorf("keep positions: no answer: %w", picket.Unavailable)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
