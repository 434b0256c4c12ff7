// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Message is one envelope with its place in the tenant's stream.
type Message struct {
	Sequence uint64
	Envelope event.Envelope
}

// How much one call of a handler gets at most.
const (
	fetchMessages = 256
	fetchWait     = 5 * time.Second
	retryWait     = time.Second
)

// Consume calls handle with the messages of a tenant after sequence from, in
// order, in groups of what is there, until ctx ends. The reader owns its
// position: it keeps the last sequence that it has worked off together with
// what it made of it. A message that the handler fails on comes again.
func (b *Bus) Consume(ctx context.Context, tenant string, from uint64, handle func(context.Context, []Message) error) error {
	t, err := b.tenant(ctx, tenant)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if from, err = b.consume(ctx, t, from, handle); err != nil && ctx.Err() == nil {
			b.opts.Log.Error("reader of the bus stopped and starts again", "tenant", tenant, "after", from, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryWait):
			}
		}
	}
	return nil
}

// consume reads until something fails, and returns how far it came.
func (b *Bus) consume(ctx context.Context, t *tenantStream, from uint64, handle func(context.Context, []Message) error) (uint64, error) {
	c, err := t.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from + 1, AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: time.Minute, MemoryStorage: true,
	})
	if err != nil {
		return from, fmt.Errorf("bus: reader: %v: %w", err, picket.Unavailable)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), retryWait)
		defer cancel()
		_ = t.stream.DeleteConsumer(ctx, c.CachedInfo().Name)
	}()
	for ctx.Err() == nil {
		group, err := b.fetch(ctx, c)
		if err != nil {
			return from, err
		}
		if len(group) == 0 {
			continue
		}
		if err := handle(ctx, group); err != nil {
			return from, err
		}
		from = group[len(group)-1].Sequence
	}
	return from, ctx.Err()
}

// fetch returns what is there, or waits for the first message.
func (b *Bus) fetch(ctx context.Context, c jetstream.Consumer) ([]Message, error) {
	group, err := collect(c.FetchNoWait(fetchMessages))
	if err != nil || len(group) > 0 {
		return group, err
	}
	wait, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	group, err = collect(c.Fetch(1, jetstream.FetchContext(wait)))
	if err != nil && (errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil) {
		return nil, nil
	}
	return group, err
}

func collect(batch jetstream.MessageBatch, err error) ([]Message, error) {
	if err != nil {
		return nil, err
	}
	var group []Message
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		e, err := event.UnmarshalEnvelope(m.Data())
		if err != nil {
			return nil, fmt.Errorf("bus: message %d: %w", meta.Sequence.Stream, err)
		}
		group = append(group, Message{meta.Sequence.Stream, e})
	}
	return group, batch.Error()
}
