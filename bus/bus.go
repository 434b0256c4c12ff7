// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Options configure a bus.
type Options struct {
	Dir      string // where the embedded server keeps its streams
	URL      string // of an existing cluster; empty: embedded
	MaxBytes int64  // bound of each tenant's stream
	Log      *slog.Logger
}

// Bus is a connection to the streams. It is safe for concurrent use.
type Bus struct {
	opts   Options
	server *server.Server // nil for an external cluster
	conn   *nats.Conn
	js     jetstream.JetStream

	mu      sync.Mutex
	tenants map[string]*tenantStream
}

// tenantStream is what is known of one tenant's stream.
type tenantStream struct {
	stream jetstream.Stream
	epoch  string
	mu     sync.Mutex
	last   map[string]Last // by device, of messages since the last trim
}

// maxMessage bounds one message: a batch and its envelope.
const maxMessage = 9 << 20

const (
	positionsStream = "POSITIONS"
	epochKey        = "picket-epoch"
	partitions      = 8
)

// Open starts the embedded server, or connects to the cluster.
func Open(ctx context.Context, o Options) (*Bus, error) {
	b := &Bus{opts: o, tenants: map[string]*tenantStream{}}
	var err error
	if o.URL == "" {
		err = b.embed()
	} else {
		b.conn, err = nats.Connect(o.URL, nats.Name("picketd"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("bus: %w", err)
	}
	if b.js, err = jetstream.New(b.conn, jetstream.WithPublishAsyncMaxPending(4096)); err != nil {
		b.Close()
		return nil, fmt.Errorf("bus: %w", err)
	}
	_, err = b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: positionsStream, Subjects: []string{positionsStream + ".>"}, MaxMsgsPerSubject: 1, Storage: jetstream.FileStorage, AllowDirect: true,
	})
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("bus: stream %s: %w", positionsStream, err)
	}
	return b, nil
}

func (b *Bus) embed() error {
	if err := os.MkdirAll(b.opts.Dir, 0o700); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "picketd", DontListen: true, JetStream: true, StoreDir: filepath.Clean(b.opts.Dir), SyncAlways: true,
		NoSigs: true, NoLog: true, MaxPayload: maxMessage, DisableJetStreamBanner: true,
		// The stream's own bound decides; these only keep the account's from doing so.
		JetStreamMaxStore: 1 << 50, JetStreamMaxMemory: 64 << 20,
	})
	if err != nil {
		return err
	}
	b.server = s
	go s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		return errors.New("the embedded server does not start")
	}
	b.conn, err = nats.Connect("", nats.InProcessServer(s), nats.Name("picketd"))
	return err
}

// Close drains the connection and stops the embedded server.
func (b *Bus) Close() {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// Ready reports whether the streams answer.
func (b *Bus) Ready(ctx context.Context) error {
	if _, err := b.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("bus: %v: %w", err, picket.Unavailable)
	}
	return nil
}

// streamName names a tenant's stream; dashes are legal there.
func streamName(tenant string) string { return "EVENTS_" + tenant }

func subject(tenant, device string) string {
	h := fnv.New32a()
	h.Write([]byte(device))
	return fmt.Sprintf("EVENTS.%s.%d.%s", tenant, h.Sum32()%partitions, device)
}

// tenant returns the stream of a tenant, made at its first use.
func (b *Bus) tenant(ctx context.Context, tenant string) (*tenantStream, error) {
	if err := picket.ValidTenantID(tenant); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.tenants[tenant]; t != nil {
		return t, nil
	}
	s, err := b.js.Stream(ctx, streamName(tenant))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = b.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: streamName(tenant), Subjects: []string{"EVENTS." + tenant + ".>"}, Storage: jetstream.FileStorage,
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxBytes: b.opts.MaxBytes, MaxMsgSize: maxMessage,
			Duplicates: 2 * time.Minute, AllowDirect: true, Metadata: map[string]string{epochKey: rand.Text()},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("bus: stream of tenant %s: %v: %w", tenant, err, picket.Unavailable)
	}
	t := &tenantStream{stream: s, epoch: s.CachedInfo().Config.Metadata[epochKey], last: map[string]Last{}}
	b.tenants[tenant] = t
	return t, nil
}

// Last is the newest batch of a device that is durable here.
type Last struct {
	BootID string     `json:"boot"`
	Seq    uint64     `json:"seq"`
	Hash   event.Hash `json:"hash"`
}

// Publish stores an envelope and returns once it is on disk. A full stream
// gives picket.Unavailable; the message was not stored then.
func (b *Bus) Publish(ctx context.Context, e *event.Envelope) error {
	t, err := b.tenant(ctx, e.Tenant)
	if err != nil {
		return err
	}
	msg := nats.NewMsg(subject(e.Tenant, e.DeviceID))
	msg.Data = e.Marshal()
	id := fmt.Sprintf("%s/%s/%d", e.DeviceID, e.BootID, e.Seq)
	if _, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id)); err != nil {
		return fmt.Errorf("bus: publish batch %d of %s: %v: %w", e.Seq, e.DeviceID, err, picket.Unavailable)
	}
	t.mu.Lock()
	t.last[e.DeviceID] = Last{e.BootID, e.Seq, event.HashOf(e.Payload)}
	t.mu.Unlock()
	return nil
}

// Last returns the newest durable batch of a device; ok is false when none is
// known.
func (b *Bus) Last(ctx context.Context, tenant, device string) (last Last, ok bool, err error) {
	t, err := b.tenant(ctx, tenant)
	if err != nil {
		return Last{}, false, err
	}
	t.mu.Lock()
	last, ok = t.last[device]
	t.mu.Unlock()
	if ok {
		return last, true, nil
	}
	msg, err := t.stream.GetLastMsgForSubject(ctx, subject(tenant, device))
	if err == nil {
		e, err := event.UnmarshalEnvelope(msg.Data)
		if err != nil {
			return Last{}, false, err
		}
		return Last{e.BootID, e.Seq, event.HashOf(e.Payload)}, true, nil
	}
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return Last{}, false, fmt.Errorf("bus: last batch of %s: %v: %w", device, err, picket.Unavailable)
	}
	return b.saved(ctx, tenant, device)
}

func positionSubject(tenant, device string) string {
	return strings.Join([]string{positionsStream, tenant, device}, ".")
}

// saved reads the position that Trim kept of a device.
func (b *Bus) saved(ctx context.Context, tenant, device string) (last Last, ok bool, err error) {
	s, err := b.js.Stream(ctx, positionsStream)
	if err != nil {
		return last, false, fmt.Errorf("bus: %v: %w", err, picket.Unavailable)
	}
	msg, err := s.GetLastMsgForSubject(ctx, positionSubject(tenant, device))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return last, false, nil
	}
	if err != nil {
		return last, false, fmt.Errorf("bus: position of %s: %v: %w", device, err, picket.Unavailable)
	}
	if err := json.Unmarshal(msg.Data, &last); err != nil {
		return last, false, fmt.Errorf("bus: position of %s: %v: %w", device, err, picket.Internal)
	}
	return last, true, nil
}

// Trim forgets messages up to and including sequence upTo. What devices have
// reached is kept first, so that a device which comes back after a long
// silence is still told where to go on.
func (b *Bus) Trim(ctx context.Context, tenant string, upTo uint64) error {
	t, err := b.tenant(ctx, tenant)
	if err != nil {
		return err
	}
	t.mu.Lock()
	keep := t.last
	t.last = map[string]Last{}
	t.mu.Unlock()
	for device, last := range keep {
		data, err := json.Marshal(last)
		if err != nil {
			return err
		}
		if _, err := b.js.Publish(ctx, positionSubject(tenant, device), data); err != nil {
			return fmt.Errorf("bus: keep position of %s: %v: %w", device, err, picket.Unavailable)
		}
		t.mu.Lock()
		if _, newer := t.last[device]; !newer {
			t.last[device] = last
		}
		t.mu.Unlock()
	}
	if err := t.stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return fmt.Errorf("bus: trim stream of tenant %s: %v: %w", tenant, err, picket.Unavailable)
	}
	return nil
}

// State tells how full a tenant's stream is.
type State struct {
	Epoch string // changes when the stream was made anew: positions of another epoch mean nothing
	First uint64
	Last  uint64
	Bytes uint64
}

// State returns the state of a tenant's stream.
func (b *Bus) State(ctx context.Context, tenant string) (State, error) {
	t, err := b.tenant(ctx, tenant)
	if err != nil {
		return State{}, err
	}
	info, err := t.stream.Info(ctx)
	if err != nil {
		return State{}, fmt.Errorf("bus: stream of tenant %s: %v: %w", tenant, err, picket.Unavailable)
	}
	return State{t.epoch, info.State.FirstSeq, info.State.LastSeq, info.State.Bytes}, nil
}

// Notify tells everybody who listens now; nothing is kept.
func (b *Bus) Notify(subject string, data []byte) error { return b.conn.Publish(subject, data) }

// Subscribe calls f for each notification whose subject matches a pattern
// (with * and > as wildcards), one at a time, until stop is called.
func (b *Bus) Subscribe(pattern string, f func(subject string, data []byte)) (stop func(), err error) {
	sub, err := b.conn.Subscribe(pattern, func(m *nats.Msg) { f(m.Subject, m.Data) })
	if err != nil {
		return nil, fmt.Errorf("bus: subscribe %s: %w", pattern, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}
