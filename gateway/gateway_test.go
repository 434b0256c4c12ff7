// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bench"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		fmt.Fprintln(os.Stderr, serveForever(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// registrar is a Registry and Auditor in memory: it admits whoever has a
// certificate until told otherwise.
type registrar struct {
	keys *pki.Store

	mu      sync.Mutex
	n       int
	uses    int
	revoked map[string]bool
	clashes []string
	audits  []picket.AuditEntry
	gaps    uint64
	health  []*wirepb.Health
	policy  uint64
	arrived []*wirepb.Hello
	left    []picket.Farewell
	remarks bool // on the silence before each arrival
}

func (r *registrar) Enrol(_ context.Context, t wire.Token, key crypto.PublicKey, _ *wirepb.Facts, _ string) (Enrolled, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses == 0 || t.Secret != secret {
		return Enrolled{}, fmt.Errorf("token is used up or unknown: %w", picket.Denied)
	}
	r.uses--
	r.n++
	id := fmt.Sprintf("%040x", r.n)
	_, chain, err := r.keys.IssueDevice(t.Tenant, id, key)
	return Enrolled{DeviceID: id, Group: "g", Chain: chain}, err
}

func (r *registrar) Renew(_ context.Context, id pki.Identity, key crypto.PublicKey) ([][]byte, error) {
	_, chain, err := r.keys.IssueDevice(id.Tenant, id.DeviceID, key)
	return chain, err
}

func (r *registrar) Admit(_ context.Context, id pki.Identity, f *wirepb.Facts, _ string) (Admission, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.revoked[id.DeviceID] {
		return Admission{}, fmt.Errorf("revoked: %w", picket.Denied)
	}
	return Admission{Name: "name-of-the-server", Group: "g", PolicyVersion: r.policy, Policy: []byte(`{}`)}, nil
}

// Health says on the timeline what each note says.
func (r *registrar) Health(_ context.Context, _ pki.Identity, _ uint64, h *wirepb.Health) ([]event.Row, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.health = append(r.health, h)
	var rows []event.Row
	for _, n := range h.Notes {
		rows = append(rows, &event.DeviceEvents{Timestamp: event.Time(n.TimeUs), ActionType: "SensorNote", AdditionalFields: n.Text})
	}
	return rows, nil
}

// Arrived has something to say about silences when the test wants it.
func (r *registrar) Arrived(_ context.Context, _ pki.Identity, h *wirepb.Hello) ([]event.Row, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived = append(r.arrived, h)
	if len(r.arrived) == 1 || !r.remarks {
		return nil, nil
	}
	return []event.Row{&event.DeviceEvents{Timestamp: event.TimeOf(time.Now()), ActionType: "DeviceSilent", AdditionalFields: h.PreviousStop}}, nil
}

func (r *registrar) Left(_ context.Context, _ pki.Identity, _ uint64, why picket.Farewell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = append(r.left, why)
}

func (r *registrar) Received(_ pki.Identity, _ time.Time, gap uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps += gap
}

func (r *registrar) Clash(_ context.Context, id pki.Identity) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clashes = append(r.clashes, id.DeviceID)
	return nil
}

func (r *registrar) Audit(_ context.Context, _ string, e picket.AuditEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.audits = append(r.audits, e)
}

func (r *registrar) audited(action string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.audits {
		if e.Action == action {
			n++
		}
	}
	return n
}

var secret = [32]byte{1, 2, 3}

// world is a gateway with real keys and a real bus.
type world struct {
	t       testing.TB
	g       *Gateway
	bus     *bus.Bus
	reg     *registrar
	keys    *pki.Store
	address string
}

func newWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	keys, err := pki.Open(dir+"/pki", []string{"127.0.0.1"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"default", "other"} {
		if err := keys.EnsureTenant(tenant); err != nil {
			t.Fatal(err)
		}
	}
	b, err := bus.Open(context.Background(), bus.Options{Dir: dir + "/bus", MaxBytes: 1 << 30, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, bus: b, keys: keys, reg: &registrar{keys: keys, uses: 1000, revoked: map[string]bool{}}}
	o := Options{Keys: keys, Registry: w.reg, Presence: w.reg, Publisher: b, Auditor: w.reg, Limits: DefaultLimits, Log: log, Now: time.Now, Metrics: prometheus.NewRegistry()}
	o.Limits.EnrolPerMinute = 1000
	if change != nil {
		change(&o)
	}
	w.g = New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.g.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.Close()
	})
	return w
}

func (w *world) token(tenant string) string {
	return wire.Token{Tenant: tenant, Secret: secret, Root: pki.Fingerprint(w.keys.Root())}.String()
}

func (w *world) enrol(tenant string) *bench.Client {
	w.t.Helper()
	c, err := bench.Enrol(context.Background(), w.address, w.token(tenant), &wirepb.Facts{HostName: "host"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) open(c *bench.Client, instance uint64) *bench.Stream {
	w.t.Helper()
	s, err := c.Open(context.Background(), &wirepb.Hello{Instance: instance, TimeUs: time.Now().UnixMicro()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	return s
}

func small(t testing.TB, boot string, seq uint64, prev event.Hash) []byte {
	t.Helper()
	p, err := bench.Small(boot, seq, prev, 3)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// send sends a batch and says what came of it: "ack N" or "reject reason".
func send(t testing.TB, s *bench.Stream, boot string, seq uint64, payload []byte) string {
	t.Helper()
	if err := s.Batch(boot, seq, payload); err != nil {
		t.Fatal(err)
	}
	a, r, err := s.Answer()
	switch {
	case err != nil:
		return "error " + err.Error()
	case r != nil:
		return "reject " + r.Reason
	}
	return fmt.Sprintf("ack %d", a.Seq)
}

func want(t testing.TB, what, got, prefix string) {
	t.Helper()
	if !strings.HasPrefix(got, prefix) {
		t.Errorf("%s: got %q, want %q", what, got, prefix)
	}
}

// stored reads n envelopes of a tenant from the bus.
func (w *world) stored(tenant string, n int) []event.Envelope {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var got []event.Envelope
	if err := w.bus.Consume(ctx, tenant, 0, func(_ context.Context, group []bus.Message) error {
		for _, m := range group {
			got = append(got, m.Envelope)
		}
		if len(got) >= n {
			cancel()
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	if len(got) != n {
		w.t.Fatalf("%d envelopes on the bus, want %d", len(got), n)
	}
	return got
}

func TestBatchesRepeatsGapsAndChain(t *testing.T) {
	w := newWorld(t, nil)
	c := w.enrol("default")
	s := w.open(c, 1)
	one := small(t, "boot", 1, event.Hash{})
	two := small(t, "boot", 2, event.HashOf(one))
	five := small(t, "boot", 5, event.Hash{9}) // 3 and 4 never come
	want(t, "first", send(t, s, "boot", 1, one), "ack 1")
	want(t, "second", send(t, s, "boot", 2, two), "ack 2")
	want(t, "repeat", send(t, s, "boot", 1, one), "ack 2")
	want(t, "fork", send(t, s, "boot", 2, small(t, "boot", 2, event.Hash{7})), "reject another batch")
	want(t, "broken chain", send(t, s, "boot", 3, small(t, "boot", 3, event.Hash{7})), "reject does not follow")
	want(t, "forward jump", send(t, s, "boot", 5, five), "ack 5")
	want(t, "reordered", send(t, s, "boot", 4, small(t, "boot", 4, event.Hash{7})), "ack 5")
	want(t, "other number", send(t, s, "boot", 6, small(t, "boot", 7, event.Hash{})), "reject payload is batch 7")
	want(t, "other boot", send(t, s, "boot", 6, small(t, "boat", 6, event.Hash{})), "reject payload is batch 6 of boot \"boat\"")
	want(t, "boot id", send(t, s, "../boot", 1, small(t, "../boot", 1, event.Hash{})), "reject boot")
	want(t, "garbage", send(t, s, "boot", 6, []byte("garbage")), "reject decode batch")
	want(t, "new boot", send(t, s, "boot2", 1, small(t, "boot2", 1, event.Hash{})), "ack 1")
	got := w.stored("default", 4)
	if got[2].Gap != 2 || got[0].Gap != 0 || got[3].Gap != 0 {
		t.Errorf("gaps %d %d %d", got[0].Gap, got[2].Gap, got[3].Gap)
	}
	for _, e := range got {
		if e.Tenant != "default" || e.DeviceID != c.DeviceID || e.DeviceName != "name-of-the-server" {
			t.Errorf("envelope %+v", e)
		}
	}
	if n := w.reg.audited("batch.refuse"); n != 6 {
		t.Errorf("%d refusals audited, want 6", n)
	}
	if w.reg.gaps != 2 {
		t.Errorf("%d missing batches told, want 2", w.reg.gaps)
	}
}

func TestResumeAfterReconnectAndRestart(t *testing.T) {
	w := newWorld(t, nil)
	c := w.enrol("default")
	s := w.open(c, 1)
	one := small(t, "boot", 1, event.Hash{})
	want(t, "first", send(t, s, "boot", 1, one), "ack 1")
	s.Close()
	s = w.open(c, 1)
	if d := s.Welcome.Durable; len(d) != 1 || d[0].Seq != 1 || d[0].BootId != "boot" {
		t.Errorf("welcome says durable %v", d)
	}
	want(t, "chain goes on", send(t, s, "boot", 2, small(t, "boot", 2, event.HashOf(one))), "ack 2")
	if len(w.reg.clashes) != 0 {
		t.Error("a reconnect is no clash")
	}
}

func TestTokensAndCertificates(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	facts := &wirepb.Facts{HostName: "h"}
	bad := wire.Token{Tenant: "default", Secret: [32]byte{9}, Root: pki.Fingerprint(w.keys.Root())}.String()
	if _, err := bench.Enrol(ctx, w.address, bad, facts); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("unknown secret: %v", err)
	}
	if w.reg.audited("device.enrol") != 1 {
		t.Error("a bad token must be audited")
	}
	wrongRoot := wire.Token{Tenant: "default", Secret: secret}.String()
	if _, err := bench.Enrol(ctx, w.address, wrongRoot, facts); err == nil {
		t.Error("the pin must hold")
	}
	c := w.enrol("default")
	w.reg.mu.Lock()
	w.reg.revoked[c.DeviceID] = true
	w.reg.mu.Unlock()
	if _, err := c.Open(ctx, &wirepb.Hello{}); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("revoked device: %v", err)
	}
	// A certificate that names tenant "other" but is signed by the authority
	// of "default" is nobody's.
	if err := w.keys.EnsureTenant("other"); err != nil {
		t.Fatal(err)
	}
	forged := w.enrol("default")
	if err := forged.Forge(w.keys, "default", "other"); err == nil {
		t.Error("keys must not sign for another tenant")
	}
}

func TestRevokeEndsALiveStream(t *testing.T) {
	w := newWorld(t, nil)
	c := w.enrol("default")
	s := w.open(c, 1)
	w.g.Revoke("default", c.DeviceID)
	if _, _, err := s.Answer(); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("got %v", err)
	}
}

func TestClonedIdentityIsNoticed(t *testing.T) {
	w := newWorld(t, nil)
	c := w.enrol("default")
	w.open(c, 1)
	w.open(c, 2) // a restarted sensor looks like this
	if len(w.reg.clashes) != 0 {
		t.Fatal("one change of instance is a restart")
	}
	w.open(c, 1) // the first run is back: two are alive
	if len(w.reg.clashes) != 1 {
		t.Errorf("%d clashes, want 1", len(w.reg.clashes))
	}
}

func TestHostileClientsDoNotHurtOthers(t *testing.T) {
	w := newWorld(t, nil)
	good := w.enrol("default")
	gs := w.open(good, 1)
	var prev event.Hash
	seq := uint64(0)
	fine := func(after string) {
		t.Helper()
		seq++
		p := small(t, "boot", seq, prev)
		want(t, "honest device after "+after, send(t, gs, "boot", seq, p), fmt.Sprintf("ack %d", seq))
		prev = event.HashOf(p)
	}
	fine("nothing")
	rogue := w.enrol("other")
	rs := w.open(rogue, 1)
	bomb, err := bench.Bomb("boot", 1, 128<<20)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "zip bomb", send(t, rs, "boot", 1, bomb), "reject")
	fine("a zip bomb")
	if err := rs.Batch("boot", 1, make([]byte, 20<<20)); err == nil {
		if _, _, err := rs.Answer(); connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("oversized message: %v", err)
		}
	}
	fine("an oversized message")
	if err := bench.DeclareHuge(w.address, rogue); err != nil {
		t.Error(err)
	}
	fine("a message that claims four gigabytes")
	if err := bench.Garbage(w.address); err != nil {
		t.Error(err)
	}
	fine("garbage instead of TLS")
	future := w.enrol("other")
	fs, err := future.Open(context.Background(), &wirepb.Hello{Instance: 1, TimeUs: time.Now().AddDate(50, 0, 0).UnixMicro()})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	want(t, "clock in the future", send(t, fs, "boot", 1, small(t, "boot", 1, event.Hash{})), "ack 1")
	fine("an impossible clock")
	e := w.stored("other", 1)[0]
	if e.Correct(event.Time(1<<62)) != e.Received || e.ClockOffset >= 0 {
		t.Errorf("clock offset %d", e.ClockOffset)
	}
	fine("everything")
}

func TestFullBusThrottlesAndLosesNothing(t *testing.T) {
	block := &blocker{}
	w := newWorld(t, func(o *Options) { block.Publisher = o.Publisher; o.Publisher = block })
	c := w.enrol("default")
	s := w.open(c, 1)
	block.set(true)
	if err := s.Batch("boot", 1, small(t, "boot", 1, event.Hash{})); err != nil {
		t.Fatal(err)
	}
	down, err := s.Receive()
	if err != nil || down.GetThrottle() == nil {
		t.Fatalf("got %v, %v", down, err)
	}
	block.set(false)
	if a, _, err := s.Answer(); err != nil || a.GetSeq() != 1 {
		t.Errorf("after the bus has room: %v, %v", a, err)
	}
}

// blocker is a bus that is full when told so.
type blocker struct {
	Publisher
	mu   sync.Mutex
	full bool
}

func (b *blocker) set(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = full
}

func (b *blocker) Publish(ctx context.Context, e *event.Envelope, known bus.Last) (bus.Last, error) {
	b.mu.Lock()
	full := b.full
	b.mu.Unlock()
	if full {
		return known, fmt.Errorf("full: %w", picket.Unavailable)
	}
	return b.Publisher.Publish(ctx, e, known)
}

func TestPolicyReachesLiveDevices(t *testing.T) {
	w := newWorld(t, nil)
	c := w.enrol("default")
	s := w.open(c, 1)
	w.reg.mu.Lock()
	w.reg.policy = 7
	w.reg.mu.Unlock()
	w.g.PolicyChanged("default")
	down, err := s.Receive()
	if err != nil || down.GetPolicy().GetVersion() != 7 {
		t.Errorf("got %v, %v", down, err)
	}
}

func TestEnrolmentIsLimitedPerAddress(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.EnrolPerMinute = 2 })
	var last error
	for range 3 {
		c, err := bench.Enrol(context.Background(), w.address, w.token("default"), &wirepb.Facts{})
		if err == nil {
			c.Close()
		}
		last = err
	}
	if connect.CodeOf(last) != connect.CodeResourceExhausted {
		t.Errorf("third attempt: %v", last)
	}
}

func FuzzCheck(f *testing.F) {
	p, err := bench.Small("boot", 1, event.Hash{}, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("boot", uint64(1), p)
	g := &Gateway{Options: Options{Limits: DefaultLimits}}
	f.Fuzz(func(t *testing.T, boot string, seq uint64, payload []byte) {
		s := &session{g: g}
		if rows, gap, err := s.check(&wirepb.Batch{BootId: boot, Seq: seq, Payload: payload}); err == nil && (rows < 0 || gap != seq-1) {
			t.Errorf("rows %d gap %d for the first batch %d", rows, gap, seq)
		}
	})
}

func BenchmarkIngest(b *testing.B) {
	w := newWorld(b, func(o *Options) { o.Limits.BytesPerSecond = 1 << 30 })
	c := w.enrol("default")
	s := w.open(c, 1)
	d := bench.NewDevice(1, event.TimeOf(time.Now()))
	rows := 0
	for b.Loop() {
		batch, payload, err := d.Batch(1000)
		if err != nil {
			b.Fatal(err)
		}
		rows += batch.Rows()
		want(b, "batch", send(b, s, batch.BootID, batch.Seq, payload), "ack")
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
