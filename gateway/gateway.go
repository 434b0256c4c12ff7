// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/semaphore"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
	"github.com/picket-edr/picket/wire/wirepb/wirepbconnect"
)

// Registry knows tokens, devices and certificates.
type Registry interface {
	// Enrol redeems a token and makes a device for the key. An error that
	// wraps picket.Denied says that the token is not good.
	Enrol(ctx context.Context, token wire.Token, key crypto.PublicKey, facts *wirepb.Facts, addr string) (Enrolled, error)
	// Renew issues a fresh certificate to a device that is still admitted.
	Renew(ctx context.Context, id pki.Identity, key crypto.PublicKey) ([][]byte, error)
	// Admit lets a device in, or says why not (picket.Denied), and notes what
	// it says about itself.
	Admit(ctx context.Context, id pki.Identity, facts *wirepb.Facts, addr string) (Admission, error)
	// Health takes a device's report about itself, and returns what of it
	// belongs on the device's timeline, with times of the server.
	Health(ctx context.Context, id pki.Identity, instance uint64, h *wirepb.Health) ([]event.Row, error)
	// Received notes that a batch of a device is durable, and what is missing before it.
	Received(id pki.Identity, at time.Time, gap uint64)
	// Clash notes that two hosts use one identity.
	Clash(ctx context.Context, id pki.Identity) error
}

// Presence keeps track of which devices are connected.
type Presence interface {
	// Arrived notes that a device is connected, and returns what its timeline
	// shall say about the time before, with times of the server.
	Arrived(ctx context.Context, id pki.Identity, h *wirepb.Hello) ([]event.Row, error)
	// Left notes that the connection of a run of the sensor ended, and why.
	Left(ctx context.Context, id pki.Identity, instance uint64, why picket.Farewell)
}

// Enrolled is a new identity.
type Enrolled struct {
	DeviceID string
	Group    string
	Chain    [][]byte // DER, leaf first
}

// Admission is what the server says about an admitted device.
type Admission struct {
	Name          string
	Group         string
	PolicyVersion uint64
	Policy        []byte // JSON
}

// Publisher stores envelopes durably.
type Publisher interface {
	// Publish stores an envelope on top of what is known of the device and
	// returns what is known then. Of one device only one is under way.
	Publish(ctx context.Context, e *event.Envelope, known bus.Last) (bus.Last, error)
	// Last returns how far a device has come.
	Last(ctx context.Context, tenant, device string) (bus.Last, error)
}

// Auditor keeps entries of the audit log.
type Auditor interface {
	Audit(ctx context.Context, tenant string, e picket.AuditEntry)
}

// Limits bound what one device, tenant or address may take, so that a rogue
// one cannot hurt the others. A batch counts by its bytes as sent and an eighth
// of its bytes after decompression.
type Limits struct {
	Batch                event.Limits
	BytesPerSecond       int           // per device; burst is eight seconds' worth
	BatchesPerSecond     int           // per device; burst is five seconds' worth
	TenantBytesPerSecond int           // burst is eight seconds' worth
	TenantInFlight       int64         // bytes of a tenant that are received and not durable yet
	Decoding             int64         // bytes after decompression of all batches being checked at once
	EnrolPerMinute       int           // attempts per address; all addresses together fifty times that
	Connections          int           // of all devices
	Hello                time.Duration // until a new stream or call must have said what it wants
	Idle                 time.Duration // without a message before the stream is closed
}

// DefaultLimits suit a server with some thousands of devices.
var DefaultLimits = Limits{
	Batch: event.DefaultLimits, BytesPerSecond: 8 << 20, BatchesPerSecond: 200, TenantBytesPerSecond: 128 << 20,
	TenantInFlight: 64 << 20, Decoding: 256 << 20, EnrolPerMinute: 30, Connections: 20_000, Hello: 15 * time.Second, Idle: 3 * time.Minute,
}

// Options are everything that a gateway needs from outside.
type Options struct {
	Keys      *pki.Store
	Registry  Registry
	Presence  Presence
	Publisher Publisher
	Auditor   Auditor
	Limits    Limits
	Log       *slog.Logger
	Now       func() time.Time
	Metrics   prometheus.Registerer
}

// Gateway serves sensors.
type Gateway struct {
	Options
	sessions *sessions
	enrols   *addressLimiter
	shares   *shares
	decoding *semaphore.Weighted
	metrics  *metrics
	server   *http.Server
	ctx      context.Context // ends streams when the gateway stops
	cancel   context.CancelFunc
}

// New makes a gateway. Call Serve to run it.
func New(o Options) *Gateway {
	g := &Gateway{
		Options: o, sessions: newSessions(), enrols: newAddressLimiter(o.Limits.EnrolPerMinute), metrics: newMetrics(o.Metrics),
		shares: &shares{limits: o.Limits, all: map[string]*share{}}, decoding: semaphore.NewWeighted(o.Limits.Decoding),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	limit := connect.WithReadMaxBytes(o.Limits.Batch.Compressed + 64<<10)
	mux := http.NewServeMux()
	path, enrolment := wirepbconnect.NewEnrolmentHandler(g, connect.WithReadMaxBytes(maxUnary))
	mux.Handle(path, g.bounded(enrolment))
	path, sensors := wirepbconnect.NewSensorHandler(g, limit)
	mux.Handle(path, g.authenticated(g.bounded(sensors)))
	g.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       o.Limits.Idle,
		MaxHeaderBytes:    64 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 16, MaxReadFrameSize: 1 << 20,
			// A peer that vanished without a word is noticed by both ends.
			SendPingTimeout: time.Minute, PingTimeout: 20 * time.Second, WriteByteTimeout: 30 * time.Second,
		},
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return g
}

// TLS is the configuration of the listener: TLS 1.3, and a client certificate
// that is either absent (to enrol) or good.
func (g *Gateway) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: g.Keys.ServerCertificate,
		ClientAuth:     tls.RequestClientCert,
		VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
			if len(chain) == 0 {
				return nil
			}
			_, err := g.Keys.VerifyDevice(chain)
			return err
		},
	}
}

// Serve answers on l until ctx ends, then lets streams finish what they are
// about to acknowledge.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		g.cancel()
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if g.server.Shutdown(wait) != nil {
			g.server.Close()
		}
	})
	defer stop()
	err := g.server.Serve(tls.NewListener(netutil.LimitListener(l, g.Limits.Connections), g.TLS()))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Revoke closes the live stream of a device.
func (g *Gateway) Revoke(tenant, device string) { g.sessions.close(tenant, device, errRevoked) }

// PolicyChanged sends a tenant's devices their policy again.
func (g *Gateway) PolicyChanged(tenant string) { g.sessions.refresh(tenant) }

// Connected returns how many devices have a live stream.
func (g *Gateway) Connected() int { return g.sessions.count() }

// maxUnary bounds a call that is not a stream.
const maxUnary = 256 << 10

// bounded cuts the bodies of single calls off, since the protocol's own bound
// reads what is too long to its end, and bounds how long a call may take to
// say what it wants and to read the answer. Streams live long; they are bounded
// by message.
func (g *Gateway) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != wirepbconnect.SensorConnectProcedure {
			c := http.NewResponseController(w)
			now := time.Now()
			if err := errors.Join(c.SetReadDeadline(now.Add(g.Limits.Hello)), c.SetWriteDeadline(now.Add(2*g.Limits.Hello))); err != nil {
				g.Log.Error("call without a deadline", "error", err)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxUnary)
		}
		next.ServeHTTP(w, r)
	})
}

type callerKey struct{}

// caller is who calls, by certificate, and the means to limit how long a call
// takes.
type caller struct {
	id      pki.Identity
	control *http.ResponseController
}

// authenticated lets only requests with a good device certificate through.
func (g *Gateway) authenticated(next http.Handler) http.Handler {
	refuse := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var chain [][]byte
		if r.TLS != nil {
			for _, c := range r.TLS.PeerCertificates {
				chain = append(chain, c.Raw)
			}
		}
		id, err := g.Keys.VerifyDevice(chain)
		if err != nil {
			g.metrics.refused.WithLabelValues("certificate").Inc()
			_ = refuse.Write(w, r, connect.NewError(connect.CodeUnauthenticated, errors.New("a device certificate is needed")))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller{id, http.NewResponseController(w)})))
	})
}

// code translates an error's kind for the wire. Details of internal errors
// stay here.
func (g *Gateway) code(err error) error {
	var wireError *connect.Error
	if errors.As(err, &wireError) {
		return err // by the protocol itself: a message too large, a peer gone
	}
	codes := map[error]connect.Code{
		picket.NotFound: connect.CodeNotFound, picket.Invalid: connect.CodeInvalidArgument, picket.Denied: connect.CodePermissionDenied,
		picket.Conflict: connect.CodeAborted, picket.TooLarge: connect.CodeResourceExhausted, picket.Unavailable: connect.CodeUnavailable,
		picket.Canceled: connect.CodeCanceled,
	}
	if c, ok := codes[picket.Kind(err)]; ok {
		return connect.NewError(c, err)
	}
	if errors.Is(err, context.Canceled) { // the peer is gone, as when a sensor is killed
		g.Log.Debug("the peer ended the connection", "error", err)
		return connect.NewError(connect.CodeCanceled, errors.New("the connection ended"))
	}
	g.Log.Error("internal error", "error", err)
	return connect.NewError(connect.CodeInternal, errors.New("internal error"))
}
