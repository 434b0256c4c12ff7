// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Message is one envelope with its place in the tenant's stream.
type Message struct {
	Sequence uint64
	Envelope event.Envelope
}

// How much one call of a handler gets at most, and how long readers wait.
const (
	groupMessages = 256
	groupBytes    = 16 << 20 // the message that reaches it is still taken
	lookEvery     = time.Second
	retryWait     = time.Second
)

// Consume calls handle with the messages of a tenant after sequence from, in
// order, in groups of what is there, until ctx ends. The reader owns its
// position: it keeps the last sequence that it has worked off together with
// what it made of it. A group that the handler fails on comes again. A
// position beyond the end of the stream, as after an older copy of the bus
// was put back, is an error of kind Conflict: going on would pass over new
// messages.
func (b *Bus) Consume(ctx context.Context, tenant string, from uint64, handle func(context.Context, []Message) error) error {
	t, err := b.tenant(ctx, tenant)
	if err != nil {
		return err
	}
	st, err := b.State(ctx, tenant)
	if err != nil {
		return err
	}
	if from > st.Last {
		return fmt.Errorf("bus: reading of tenant %s goes on after %d, but the stream ends at %d; is it an older copy?: %w", tenant, from, st.Last, picket.Conflict)
	}
	wake := make(chan struct{}, 1)
	stop, err := b.Subscribe(storedSubject(tenant), func(string, []byte) {
		select {
		case wake <- struct{}{}:
		default: // the reader has not looked since the last one
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	for ctx.Err() == nil {
		n, last, err := b.step(ctx, t, tenant, from, handle)
		from = last
		wait := lookEvery
		switch {
		case err != nil && ctx.Err() == nil:
			b.opts.Log.Error("reader of the bus failed and tries again", "tenant", tenant, "after", from, "error", err)
			wait = retryWait
			drain(wake)
		case n > 0:
			continue
		}
		pause(ctx, wake, wait)
	}
	return nil
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

func pause(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}

// step hands one group to the handler and returns how many messages it had
// and the sequence that is worked off now.
func (b *Bus) step(ctx context.Context, t *tenantStream, tenant string, from uint64, handle func(context.Context, []Message) error) (int, uint64, error) {
	msgs, err := b.read(ctx, t.name, from+1, false)
	if err != nil || len(msgs) == 0 {
		return 0, from, err
	}
	if first := msgs[0].seq; first != from+1 && from > 0 {
		b.metrics.skipped.Add(float64(first - from - 1))
		b.opts.Log.Error("messages were trimmed before this reader saw them", "tenant", tenant, "from", from+1, "to", first-1)
	}
	group := make([]Message, 0, len(msgs))
	for _, m := range msgs {
		e, err := event.UnmarshalEnvelope(m.data)
		if err != nil {
			if len(group) > 0 {
				break // first what comes before it
			}
			return 0, from, fmt.Errorf("bus: message %d: %w", m.seq, err)
		}
		group = append(group, Message{m.seq, e})
	}
	if err := handle(ctx, group); err != nil {
		return 0, from, err
	}
	return len(group), group[len(group)-1].Sequence, nil
}

// stored is a message as it lies in a stream.
type stored struct {
	seq     uint64
	subject string
	device  string
	last    string
	data    []byte
}

// read returns the messages of a stream from a sequence on that are there,
// bounded in number and size. Unless the stream has holes of its own they are
// without gaps, but for what was trimmed before the first. It leaves no trace
// at the server: a reader needs no state there.
func (b *Bus) read(ctx context.Context, stream string, from uint64, holes bool) ([]stored, error) {
	req, err := json.Marshal(map[string]uint64{"seq": from, "batch": groupMessages, "max_bytes": groupBytes})
	if err != nil {
		return nil, err
	}
	sub, err := b.reads.SubscribeSync(b.reads.NewInbox())
	if err != nil {
		return nil, fmt.Errorf("bus: read: %v: %w", err, picket.Unavailable)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("bus: read: %v: %w", err, picket.Unavailable)
	}
	if err := b.reads.PublishRequest("$JS.API.DIRECT.GET."+stream, sub.Subject, req); err != nil {
		return nil, fmt.Errorf("bus: read: %v: %w", err, picket.Unavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var got []stored
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("bus: read: %v: %w", err, picket.Unavailable)
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204", "404": // the end of the answer; nothing there
			return got, nil
		default:
			return nil, fmt.Errorf("bus: read: server answers %s %s: %w", status, m.Header.Get("Description"), picket.Unavailable)
		}
		s, err := parseStored(m)
		if err != nil {
			return nil, err
		}
		if !holes && len(got) > 0 && s.seq != got[len(got)-1].seq+1 {
			return got, nil // something was lost on the way: it is read again
		}
		got = append(got, s)
	}
}

func parseStored(m *nats.Msg) (stored, error) {
	seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	name := m.Header.Get("Nats-Subject")
	if err != nil || seq == 0 || name == "" {
		return stored{}, fmt.Errorf("bus: read: answer without a place: %w", picket.Internal)
	}
	return stored{seq: seq, subject: name, device: name[strings.LastIndexByte(name, '.')+1:], last: m.Header.Get(lastHeader), data: m.Data}, nil
}
