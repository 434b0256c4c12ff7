// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/picket-edr/picket"
)

// Options configure a bus.
type Options struct {
	Dir      string // where the embedded server keeps its streams
	URL      string // of an existing cluster; empty: embedded
	MaxBytes int64  // bound of each tenant's stream
	Log      *slog.Logger

	Metrics     prometheus.Registerer // nil: no metrics
	Reserve     int64                 // bytes of the disk that the embedded server leaves free; 0: DefaultReserve
	Replicas    int                   // of each stream in a cluster; 0: one
	Credentials string                // file that a cluster asks for; empty: none
}

// DefaultReserve is the space on the disk that the bus never takes.
const DefaultReserve = 256 << 20

// Bus is a connection to the streams. It is safe for concurrent use.
type Bus struct {
	opts   Options
	server *server.Server // nil for an external cluster
	// Reading a stream occupies its connection, so writing has one of its own.
	conn, reads *nats.Conn
	js          jetstream.JetStream
	disk        *disk
	metrics     *metrics

	mu      sync.Mutex
	tenants map[string]*tenantStream
}

// tenantStream is what is known of one tenant's stream.
type tenantStream struct {
	name   string
	stream jetstream.Stream
	epoch  string

	trimming sync.Mutex
	mu       sync.Mutex
	newest   map[string]uint64 // by device, sequence of what this process published last
}

// maxMessage bounds one message: a batch and its envelope.
const maxMessage = 9 << 20

const (
	positionsStream = "POSITIONS"
	epochKey        = "picket-epoch"
	partitions      = 8
	callTimeout     = 10 * time.Second
)

// Open starts the embedded server, or connects to the cluster.
func Open(ctx context.Context, o Options) (*Bus, error) {
	if o.Reserve == 0 {
		o.Reserve = DefaultReserve
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bus{opts: o, tenants: map[string]*tenantStream{}}
	if err := b.open(ctx); err != nil {
		b.Close()
		return nil, fmt.Errorf("bus: %w", err)
	}
	return b, nil
}

func (b *Bus) open(ctx context.Context) error {
	var err error
	if b.opts.URL == "" {
		err = b.embed()
	} else {
		err = b.connect()
	}
	if err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.conn, jetstream.WithDefaultTimeout(callTimeout)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err = b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: positionsStream, Subjects: []string{positionsStream + ".>"}, MaxMsgsPerSubject: 1,
		Storage: jetstream.FileStorage, Replicas: b.opts.Replicas, AllowDirect: true,
	}); err != nil {
		return fmt.Errorf("stream %s: %v: %w", positionsStream, err, picket.Unavailable)
	}
	if b.metrics, err = newMetrics(b); err != nil {
		return err
	}
	return b.takeIn(ctx)
}

// connect opens the connections to a cluster. They find their way back by
// themselves.
func (b *Bus) connect() error {
	var conns []*nats.Conn
	for _, name := range []string{"picketd write", "picketd read"} {
		opts := []nats.Option{nats.Name(name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ErrorHandler(b.complain)}
		if b.opts.Credentials != "" {
			opts = append(opts, nats.UserCredentials(b.opts.Credentials))
		}
		c, err := nats.Connect(b.opts.URL, opts...)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return fmt.Errorf("connect to %s: %v: %w", b.opts.URL, err, picket.Unavailable)
		}
		conns = append(conns, c)
	}
	b.conn, b.reads = conns[0], conns[1]
	return nil
}

// complain logs what goes wrong beside any call, such as a slow subscriber
// that lost notifications.
func (b *Bus) complain(_ *nats.Conn, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	b.opts.Log.Warn("bus connection", "subject", subject, "error", err)
}

// Close sends what is under way, drops the connections and stops the embedded
// server. It is called once.
func (b *Bus) Close() {
	if b.metrics != nil {
		b.metrics.unregister(b.opts.Metrics)
	}
	for _, c := range []*nats.Conn{b.conn, b.reads} {
		if c == nil {
			continue
		}
		if c.IsConnected() {
			if err := c.FlushTimeout(time.Second); err != nil {
				b.opts.Log.Warn("bus closes with messages unsent", "error", err)
			}
		}
		c.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// Ready reports whether the streams answer and the disk has room.
func (b *Bus) Ready(ctx context.Context) error {
	if err := b.disk.room(); err != nil {
		return err
	}
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

// storedSubject is where readers are woken.
func storedSubject(tenant string) string { return "STORED." + tenant }

func (b *Bus) streamConfig(tenant string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName(tenant), Subjects: []string{"EVENTS." + tenant + ".>"},
		Storage: jetstream.FileStorage, Replicas: max(b.opts.Replicas, 1),
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxBytes: b.opts.MaxBytes, MaxMsgSize: maxMessage,
		Duplicates: 2 * time.Minute, AllowDirect: true, Metadata: map[string]string{},
	}
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
	s, err := b.ensure(ctx, b.streamConfig(tenant))
	if err != nil {
		return nil, fmt.Errorf("bus: stream of tenant %s: %v: %w", tenant, err, picket.Unavailable)
	}
	t := &tenantStream{name: streamName(tenant), stream: s, epoch: s.CachedInfo().Config.Metadata[epochKey], newest: map[string]uint64{}}
	b.tenants[tenant] = t
	return t, nil
}

// ensure makes a stream, or brings the settings of one that is there up to
// date. Only a new stream gets a new epoch.
func (b *Bus) ensure(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := b.js.Stream(ctx, c.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		c.Metadata[epochKey] = rand.Text()
		return b.js.CreateStream(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	have := s.CachedInfo().Config
	if have.MaxBytes == c.MaxBytes && have.Replicas == c.Replicas && have.AllowDirect {
		return s, nil
	}
	have.MaxBytes, have.Replicas, have.AllowDirect = c.MaxBytes, c.Replicas, true
	return b.js.UpdateStream(ctx, have)
}

// known returns the tenants whose streams were used.
func (b *Bus) known() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.tenants))
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
func (b *Bus) Notify(subject string, data []byte) error {
	if err := b.conn.Publish(subject, data); err != nil {
		return fmt.Errorf("bus: notify %s: %v: %w", subject, err, picket.Unavailable)
	}
	return nil
}

// Subscribe calls f for each notification whose subject matches a pattern
// (with * and > as wildcards), one at a time, until stop is called.
func (b *Bus) Subscribe(pattern string, f func(subject string, data []byte)) (stop func(), err error) {
	sub, err := b.conn.Subscribe(pattern, func(m *nats.Msg) { f(m.Subject, m.Data) })
	if err != nil {
		return nil, fmt.Errorf("bus: subscribe %s: %w", pattern, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}
