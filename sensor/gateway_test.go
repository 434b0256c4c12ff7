// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
	"github.com/picket-edr/picket/wire/wirepb/wirepbconnect"
)

const (
	testTenant = "acme"
	testBoot   = "5ee58b8c-0000-4000-8000-000000000001"
)

var testDevice = strings.Repeat("0123456789", 4)

// fakeGateway is the server's end of the protocol with a memory: it takes
// each number of a boot once and in order, and keeps what it got.
type fakeGateway struct {
	t      testing.TB
	server *httptest.Server
	addr   string
	root   *x509.Certificate
	rootKy crypto.Signer

	mu        sync.Mutex
	last      map[string]uint64
	hash      map[string]event.Hash
	rows      map[string]int // "boot/reportId" to times seen
	actions   map[string]int
	order     []string // boot/seq as taken
	gaps      uint64
	sent      uint64 // batches that arrived, repeats included
	bytes     uint64 // of their payloads
	hellos    []*wirepb.Hello
	healths   []*wirepb.Health
	farewells []string
	answers   []*wirepb.PolicyApplied
	enrolled  []*wirepb.EnrolRequest
	renewals  int
	streams   map[int]context.CancelFunc
	opened    int
	problems  []string

	skew      time.Duration                                       // of the server's clock
	life      time.Duration                                       // of device certificates
	renewLife time.Duration                                       // of renewed ones
	policy    *wirepb.Policy                                      // sent after each welcome
	deny      bool                                                // refuses streams
	mute      bool                                                // takes batches without acknowledging
	verdict   func(b *wirepb.Batch) (*wirepb.Down, bool)          // instead of taking a batch; false: take it
	position  func(durable []*wirepb.Position) []*wirepb.Position // changes the welcome
	changed   chan struct{}                                       // something above changed
}

// newGateway starts a gateway with fresh keys.
func newGateway(t testing.TB) *fakeGateway {
	g := &fakeGateway{
		t: t, last: map[string]uint64{}, hash: map[string]event.Hash{}, rows: map[string]int{}, actions: map[string]int{},
		streams: map[int]context.CancelFunc{}, life: 24 * time.Hour, renewLife: 24 * time.Hour, changed: make(chan struct{}, 1),
	}
	g.rootKy = newSigner(t)
	g.root = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}, nil, g.rootKy.Public(), g.rootKy)
	mux := http.NewServeMux()
	mux.Handle(wirepbconnect.NewEnrolmentHandler(g))
	mux.Handle(wirepbconnect.NewSensorHandler(g))
	g.server = httptest.NewUnstartedServer(mux)
	g.server.EnableHTTP2 = true
	g.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{g.serverCert(g.root, g.rootKy, "127.0.0.1")}, ClientAuth: tls.RequestClientCert,
	}
	g.server.StartTLS()
	g.addr = g.server.Listener.Addr().String()
	t.Cleanup(g.close)
	return g
}

func (g *fakeGateway) close() {
	g.cut()
	g.server.CloseClientConnections()
	g.server.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.problems {
		g.t.Error(p)
	}
}

func newSigner(t testing.TB) crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func issue(t testing.TB, c, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	if parent == nil {
		parent = c
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (g *fakeGateway) serverCert(root *x509.Certificate, key crypto.Signer, names ...string) tls.Certificate {
	leafKey := newSigner(g.t)
	c := &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	leaf := issue(g.t, c, root, leafKey.Public(), key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, root.Raw}, PrivateKey: leafKey}
}

func (g *fakeGateway) deviceCert(pub crypto.PublicKey) [][]byte {
	c := issue(g.t, &x509.Certificate{
		Subject: pkix.Name{CommonName: testDevice}, NotBefore: time.Now().Add(-g.life / 10), NotAfter: time.Now().Add(g.life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, g.root, pub, g.rootKy)
	return [][]byte{c.Raw}
}

// token is a token that pins this gateway.
func (g *fakeGateway) token() string {
	return wire.Token{Tenant: testTenant, Secret: [32]byte{1}, Root: sha256.Sum256(g.root.Raw)}.String()
}

func (g *fakeGateway) Enrol(_ context.Context, req *connect.Request[wirepb.EnrolRequest]) (*connect.Response[wirepb.EnrolResponse], error) {
	token, err := wire.ParseToken(req.Msg.Token)
	if err != nil || token.Secret != [32]byte{1} {
		return nil, connect.NewError(connect.CodePermissionDenied, errors.New("this token is not good"))
	}
	csr, err := x509.ParseCertificateRequest(req.Msg.Csr)
	if err != nil || csr.CheckSignature() != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("bad request"))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.enrolled = append(g.enrolled, req.Msg)
	return connect.NewResponse(&wirepb.EnrolResponse{
		DeviceId: testDevice, Tenant: testTenant, Group: "servers", CertificateChain: g.deviceCert(csr.PublicKey),
		ServerRoots: [][]byte{g.root.Raw}, ServerTimeUs: time.Now().UnixMicro(),
	}), nil
}

func (g *fakeGateway) Renew(_ context.Context, req *connect.Request[wirepb.RenewRequest]) (*connect.Response[wirepb.RenewResponse], error) {
	csr, err := x509.ParseCertificateRequest(req.Msg.Csr)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.renewals++
	g.life = g.renewLife
	g.notify()
	return connect.NewResponse(&wirepb.RenewResponse{CertificateChain: g.deviceCert(csr.PublicKey), ServerRoots: [][]byte{g.root.Raw}}), nil
}

func (g *fakeGateway) notify() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

func (g *fakeGateway) Connect(ctx context.Context, stream *connect.BidiStream[wirepb.Up, wirepb.Down]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m, err := stream.Receive()
	if err != nil {
		return err
	}
	hello := m.GetHello()
	g.mu.Lock()
	if hello == nil {
		g.problems = append(g.problems, fmt.Sprintf("first message is a %T", m.Kind))
	}
	g.hellos = append(g.hellos, hello)
	w := &wirepb.Welcome{DeviceId: testDevice, Tenant: testTenant, Group: "servers", ServerTimeUs: time.Now().Add(g.skew).UnixMicro()}
	for boot, seq := range g.last {
		h := g.hash[boot]
		w.Durable = append(w.Durable, &wirepb.Position{BootId: boot, Seq: seq, Hash: h[:]})
	}
	if g.position != nil {
		w.Durable = g.position(w.Durable)
	}
	deny, policy := g.deny, g.policy
	g.opened++
	id := g.opened
	g.streams[id] = cancel
	g.notify()
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.streams, id)
		g.mu.Unlock()
	}()
	if deny {
		return connect.NewError(connect.CodePermissionDenied, errors.New("this device's identity was revoked"))
	}
	if err := stream.Send(&wirepb.Down{Kind: &wirepb.Down_Welcome{Welcome: w}}); err != nil {
		return err
	}
	if policy != nil {
		if err := stream.Send(&wirepb.Down{Kind: &wirepb.Down_Policy{Policy: policy}}); err != nil {
			return err
		}
	}
	return g.serve(ctx, stream)
}

// serve takes messages until the stream ends or is cut.
func (g *fakeGateway) serve(ctx context.Context, stream *connect.BidiStream[wirepb.Up, wirepb.Down]) error {
	up := make(chan *wirepb.Up)
	go func() {
		defer close(up)
		for {
			m, err := stream.Receive()
			if err != nil {
				return
			}
			select {
			case up <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return connect.NewError(connect.CodeUnavailable, errors.New("cut"))
		case m, ok := <-up:
			if !ok {
				return nil
			}
			answer := g.take(m)
			if answer == nil {
				continue
			}
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}
}

// take works off one message and returns the answer, nil for none.
func (g *fakeGateway) take(m *wirepb.Up) *wirepb.Down {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.notify()
	switch k := m.Kind.(type) {
	case *wirepb.Up_Farewell:
		g.farewells = append(g.farewells, k.Farewell.Reason)
	case *wirepb.Up_Health:
		g.healths = append(g.healths, k.Health)
	case *wirepb.Up_PolicyApplied:
		g.answers = append(g.answers, k.PolicyApplied)
	case *wirepb.Up_Batch:
		g.sent++
		g.bytes += uint64(len(k.Batch.Payload))
		if g.verdict != nil {
			if d, ok := g.verdict(k.Batch); ok {
				return d
			}
		}
		g.batch(k.Batch)
		if !g.mute {
			return &wirepb.Down{Kind: &wirepb.Down_Ack{Ack: &wirepb.Ack{BootId: k.Batch.BootId, Seq: g.last[k.Batch.BootId]}}}
		}
	default:
		g.problems = append(g.problems, fmt.Sprintf("unexpected %T", m.Kind))
	}
	return nil
}

// batch takes a batch as the real gateway would.
func (g *fakeGateway) batch(b *wirepb.Batch) {
	d, err := event.Decode(b.Payload, event.DefaultLimits)
	if err != nil || d.BootID != b.BootId || d.Seq != b.Seq {
		g.problems = append(g.problems, fmt.Sprintf("batch %s/%d: %v", b.BootId, b.Seq, err))
		return
	}
	last := g.last[b.BootId]
	if b.Seq <= last {
		return
	}
	if b.Seq == last+1 && d.Prev != g.hash[b.BootId] {
		g.problems = append(g.problems, fmt.Sprintf("batch %s/%d does not continue the chain", b.BootId, b.Seq))
	}
	g.gaps += b.Seq - last - 1
	g.last[b.BootId], g.hash[b.BootId] = b.Seq, event.HashOf(b.Payload)
	g.order = append(g.order, fmt.Sprintf("%s/%d", b.BootId, b.Seq))
	for _, blk := range d.Blocks {
		for i := range blk.Rows {
			key := fmt.Sprintf("%s/%d", b.BootId, blk.Int("ReportId", i))
			if g.rows[key]++; g.rows[key] > 1 {
				g.problems = append(g.problems, "row "+key+" twice")
			}
			g.actions[blk.Text("ActionType", i)]++
		}
	}
}

// cut ends all streams as a failing network would.
func (g *fakeGateway) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, cancel := range g.streams {
		cancel()
	}
}

// await waits until a condition on the gateway's memory holds.
func (g *fakeGateway) await(what string, ok func() bool) {
	g.t.Helper()
	late := time.After(30 * time.Second)
	for {
		g.mu.Lock()
		done := ok()
		g.mu.Unlock()
		if done {
			return
		}
		select {
		case <-g.changed:
		case <-time.After(20 * time.Millisecond):
		case <-late:
			g.t.Fatalf("waited too long for: %s", what)
		}
	}
}

func (g *fakeGateway) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// notesSeen returns the numbers of the notes in all reports.
func (g *fakeGateway) notesSeen() []uint32 {
	var ids []uint32
	for _, h := range g.healths {
		for _, n := range h.Notes {
			ids = append(ids, n.Id)
		}
	}
	return ids
}

func (g *fakeGateway) noted(k NoteKind) func() bool {
	return func() bool { return slices.Contains(g.notesSeen(), k.ID) }
}
