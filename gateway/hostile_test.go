// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bench"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/wire/wirepb"
	"github.com/picket-edr/picket/wire/wirepb/wirepbconnect"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// certificate makes a device certificate of a tenant.
func (w *world) certificate(tenant, device string) *tls.Certificate {
	w.t.Helper()
	key := newKey(w.t)
	_, chain, err := w.keys.IssueDevice(tenant, device, key.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key}
}

// raw is an HTTP client that shows a certificate, or none.
func (w *world) raw(cert *tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(w.keys.Root())
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true, DisableCompression: true}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// hail opens a stream with a certificate and says hello.
func (w *world) hail(cert *tls.Certificate) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s := wirepbconnect.NewSensorClient(w.raw(cert), "https://"+w.address).Connect(ctx)
	defer func() { _, _ = s.CloseRequest(), s.CloseResponse() }()
	sendErr := s.Send(&wirepb.Up{Kind: &wirepb.Up_Hello{Hello: &wirepb.Hello{Facts: &wirepb.Facts{}}}})
	down, err := s.Receive()
	if err != nil {
		return errors.Join(err, sendErr)
	}
	if down.GetWelcome() == nil {
		return fmt.Errorf("answer is a %T", down.Kind)
	}
	return nil
}

func TestForgedCertificatesAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	id := strings.Repeat("ab", 20)
	if err := w.hail(w.certificate("default", id)); err != nil {
		t.Fatalf("a good certificate: %v", err)
	}
	link := func(tenant string) []*url.URL {
		return []*url.URL{{Scheme: "picket", Host: "device", Path: "/" + tenant + "/" + id}}
	}
	self := func(change func(*x509.Certificate)) *tls.Certificate {
		key := newKey(t)
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: id}, URIs: link("default"),
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		change(c)
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	// A device of one tenant uses its key to sign for another device, and
	// brings its own certificate along as if it were an authority.
	insider := func(tenant string) *tls.Certificate {
		mine := w.certificate("other", id)
		parent, err := x509.ParseCertificate(mine.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		key := newKey(t)
		c := &x509.Certificate{SerialNumber: big.NewInt(2), URIs: link(tenant), NotBefore: parent.NotBefore, NotAfter: parent.NotAfter, ExtKeyUsage: parent.ExtKeyUsage}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), mine.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Certificate{Certificate: append([][]byte{der}, mine.Certificate...), PrivateKey: key}
	}
	stolen := w.certificate("default", id)
	stolen.PrivateKey = newKey(t) // the certificate without its key
	for name, cert := range map[string]*tls.Certificate{
		"none":                          nil,
		"self-signed":                   self(func(*x509.Certificate) {}),
		"self-signed authority":         self(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }),
		"for an unknown tenant":         self(func(c *x509.Certificate) { c.URIs = link("nobody") }),
		"by a device, for its tenant":   insider("other"),
		"by a device, for another one":  insider("default"),
		"without the key that it names": stolen,
	} {
		if err := w.hail(cert); err == nil {
			t.Errorf("certificate %s: welcome", name)
		}
	}
	if err := w.hail(w.certificate("default", id)); err != nil {
		t.Errorf("a good certificate afterwards: %v", err)
	}
}

// envelope is one message as the Connect protocol frames it in a stream.
func envelope(flags byte, body []byte) []byte {
	out := make([]byte, 5, 5+len(body))
	out[0] = flags
	binary.BigEndian.PutUint32(out[1:], uint32(len(body)))
	return append(out, body...)
}

// lastWord is the body of the last envelope of an answer.
func lastWord(t testing.TB, answer []byte) []byte {
	t.Helper()
	var flags byte
	var body []byte
	for len(answer) >= 5 {
		n := int(binary.BigEndian.Uint32(answer[1:]))
		if n > len(answer)-5 {
			return nil
		}
		flags, body, answer = answer[0], answer[5:5+n], answer[5+n:]
	}
	if flags&1 == 0 {
		return body
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestGarbageStreams sends what no client library would.
func TestGarbageStreams(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.Hello = 2 * time.Second })
	honest := w.open(w.enrol("default"), 1)
	hello, err := proto.Marshal(&wirepb.Up{Kind: &wirepb.Up_Hello{Hello: &wirepb.Hello{Facts: &wirepb.Facts{HostName: "h"}}}})
	if err != nil {
		t.Fatal(err)
	}
	empty, err := proto.Marshal(&wirepb.Up{})
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 100_000)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	huge := envelope(0, nil)
	binary.BigEndian.PutUint32(huge[1:], 1<<32-1)
	bodies := map[string][]byte{
		"nothing":                     nil,
		"half an envelope":            {0, 0, 0},
		"noise":                       noise,
		"noise in an envelope":        envelope(0, noise),
		"no hello":                    envelope(0, empty),
		"a batch first":               envelope(0, []byte{0x12, 0}),
		"two hellos":                  append(envelope(0, hello), envelope(0, hello)...),
		"an empty message":            append(envelope(0, hello), envelope(0, empty)...),
		"four gigabytes at once":      append(huge, noise...),
		"four gigabytes after hello":  append(envelope(0, hello), append(huge, noise...)...),
		"a bomb under the protocol":   envelope(1, zipped(t, make([]byte, 128<<20))),
		"bad compression":             envelope(1, noise),
		"a field of endless length":   envelope(0, []byte{0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}),
		"deeply nested unknown group": envelope(0, bytes.Repeat([]byte{0x0b}, 100_000)),
		"an end-of-stream from below": envelope(2, []byte("{}")),
	}
	cert := w.certificate("other", strings.Repeat("cd", 20))
	var prev event.Hash
	seq := uint64(0)
	for name, body := range bodies {
		req, err := http.NewRequest(http.MethodPost, "https://"+w.address+wirepbconnect.SensorConnectProcedure, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/connect+proto")
		req.Header.Set("Connect-Protocol-Version", "1")
		req.Header.Set("Connect-Content-Encoding", "gzip")
		resp, err := w.raw(cert).Do(req)
		if err == nil {
			answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
			resp.Body.Close()
			if text := lastWord(t, answer); !bytes.Contains(text, []byte(`"error"`)) {
				t.Errorf("%s: answer %q tells no error", name, text)
			}
		}
		seq++
		p := small(t, "boot", seq, prev)
		want(t, "honest device after "+name, send(t, honest, "boot", seq, p), fmt.Sprintf("ack %d", seq))
		prev = event.HashOf(p)
	}
	for name, body := range map[string][]byte{"noise": noise, "a bomb": zipped(t, make([]byte, 64<<20)), "nothing": nil} {
		req, err := http.NewRequest(http.MethodPost, "https://"+w.address+wirepbconnect.EnrolmentEnrolProcedure, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/proto")
		req.Header.Set("Content-Encoding", "gzip")
		if resp, err := w.raw(nil).Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode < 400 {
				t.Errorf("enrolment with %s: status %d", name, resp.StatusCode)
			}
		}
	}
}

// TestSlowCallers hold calls open without saying anything.
func TestSlowCallers(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.Hello = 200 * time.Millisecond })
	stall := func(cert *tls.Certificate, procedure, kind string) error {
		body, feed := io.Pipe()
		defer feed.Close()
		req, err := http.NewRequest(http.MethodPost, "https://"+w.address+procedure, body)
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", kind)
		resp, err := w.raw(cert).Do(req) // the client itself gives up after 30 s
		if err != nil {
			return nil
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err == nil && resp.StatusCode < 400 && !bytes.Contains(lastWord(t, answer), []byte(`"error"`)) {
			return fmt.Errorf("status %d, answer %q", resp.StatusCode, answer)
		}
		return nil
	}
	cert := w.certificate("default", strings.Repeat("ab", 20))
	began := time.Now()
	for _, c := range []struct {
		cert            *tls.Certificate
		procedure, kind string
	}{
		{nil, wirepbconnect.EnrolmentEnrolProcedure, "application/proto"},
		{cert, wirepbconnect.SensorRenewProcedure, "application/proto"},
		{cert, wirepbconnect.SensorConnectProcedure, "application/connect+proto"},
	} {
		one := time.Now()
		if err := stall(c.cert, c.procedure, c.kind); err != nil {
			t.Errorf("%s: %v", c.procedure, err)
		}
		t.Logf("%s: %v", c.procedure, time.Since(one))
	}
	if d := time.Since(began); d > 25*time.Second {
		t.Errorf("the gateway let callers wait for %v", d)
	}
}

func TestAnswersComeInOrder(t *testing.T) {
	w := newWorld(t, nil)
	s := w.open(w.enrol("default"), 1)
	var wants []string
	var prev event.Hash
	seq := uint64(0)
	payloads := map[uint64][]byte{}
	push := func(boot string, n uint64, p []byte, answer string) {
		t.Helper()
		if err := s.Batch(boot, n, p); err != nil {
			t.Fatal(err)
		}
		wants = append(wants, answer)
	}
	for range 60 { // far more than wait for the bus at once
		seq++
		payloads[seq] = small(t, "boot", seq, prev)
		prev = event.HashOf(payloads[seq])
		push("boot", seq, payloads[seq], fmt.Sprintf("ack %d", seq))
		switch seq % 5 {
		case 1: // again, while the first may still be on its way to the disk
			push("boot", seq, payloads[seq], fmt.Sprintf("ack %d", seq))
		case 3:
			push("boot", seq+1, []byte("garbage"), "reject decode")
		}
	}
	for i, x := range wants {
		a, r, err := s.Answer()
		got := fmt.Sprintf("ack %d", a.GetSeq())
		if r != nil {
			got = "reject " + r.Reason
		}
		if err != nil || !strings.HasPrefix(got, x) {
			t.Fatalf("answer %d is %q, want %q (%v)", i, got, x, err)
		}
	}
	for i, e := range w.stored("default", int(seq)) {
		if e.Seq != uint64(i+1) || e.Gap != 0 || !bytes.Equal(e.Payload, payloads[e.Seq]) {
			t.Errorf("place %d holds batch %d, gap %d", i, e.Seq, e.Gap)
		}
	}
}

func TestEndlessGarbageEndsTheStream(t *testing.T) {
	w := newWorld(t, nil)
	s := w.open(w.enrol("default"), 1)
	for i := range uint64(maxRefused + 10) {
		if err := s.Batch("boot", i+1, []byte("garbage")); err != nil {
			break
		}
	}
	refusals := 0
	for {
		_, r, err := s.Answer()
		if err != nil {
			if connect.CodeOf(err) != connect.CodeAborted {
				t.Errorf("the stream ends with %v", err)
			}
			break
		}
		if r != nil {
			refusals++
		}
	}
	if refusals > maxRefused {
		t.Errorf("%d refusals, at most %d", refusals, maxRefused)
	}
}

// TestFloodIsHeldUp lets one device send as fast as it can; another one of
// the same tenant hardly notices.
func TestFloodIsHeldUp(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.BatchesPerSecond = 10 })
	honest, rogue := w.open(w.enrol("default"), 1), w.open(w.enrol("default"), 1)
	throttled := make(chan struct{})
	var group sync.WaitGroup
	group.Add(2)
	stop := make(chan struct{})
	go func() { // sends without a look at the answers
		defer group.Done()
		var prev event.Hash
		for n := uint64(1); ; n++ {
			p, err := bench.Small("boot", n, prev, 1)
			if err != nil || rogue.Batch("boot", n, p) != nil {
				return
			}
			prev = event.HashOf(p)
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	go func() {
		defer group.Done()
		once := sync.OnceFunc(func() { close(throttled) })
		for {
			down, err := rogue.Receive()
			if err != nil {
				return
			}
			if down.GetThrottle() != nil {
				once()
			}
		}
	}()
	select {
	case <-throttled:
	case <-time.After(30 * time.Second):
		t.Error("the flood is not held up")
	}
	var prev event.Hash
	for n := range uint64(20) {
		p := small(t, "boot", n+1, prev)
		want(t, "honest device", send(t, honest, "boot", n+1, p), fmt.Sprintf("ack %d", n+1))
		prev = event.HashOf(p)
	}
	close(stop)
	w.g.Revoke("default", rogue.Welcome.DeviceId)
	group.Wait()
}

// TestTalkIsHeldUp floods with reports, each as large as can be.
func TestTalkIsHeldUp(t *testing.T) {
	w := newWorld(t, nil)
	s := w.open(w.enrol("default"), 1)
	lost := map[string]uint64{}
	for i := range 2000 {
		lost[fmt.Sprintf("%04d", i)] = 1 << 63
	}
	for range 5 {
		h := &wirepb.Health{TimeUs: time.Now().UnixMicro(), Lost: lost, Rung: strings.Repeat("é\x1b[31m", 1000)}
		if err := s.Send(&wirepb.Up{Kind: &wirepb.Up_Health{Health: h}}); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "a batch after them", send(t, s, "boot", 1, small(t, "boot", 1, event.Hash{})), "ack 1")
	w.reg.mu.Lock()
	defer w.reg.mu.Unlock()
	for _, h := range w.reg.health {
		if len(h.Lost) != maxEntries || h.Lost["0000"] != maxCount || len(h.Rung) > maxName || strings.ContainsRune(h.Rung, 0x1b) {
			t.Errorf("report with %d counts, rung of %d bytes", len(h.Lost), len(h.Rung))
		}
	}
}

func TestClocks(t *testing.T) {
	w := newWorld(t, nil)
	now := time.Now()
	far := event.TimeOf(now)
	for name, c := range map[string]struct {
		sensor int64
		near   bool // the offset is left alone
	}{
		"right":         {now.UnixMicro(), true},
		"a second off":  {now.Add(-time.Second).UnixMicro(), true},
		"an hour off":   {now.Add(time.Hour).UnixMicro(), false},
		"none":          {0, true},
		"negative":      {-1 << 63, true},
		"1970":          {1, false},
		"end of time":   {1<<63 - 1, false},
		"in fifty year": {now.AddDate(50, 0, 0).UnixMicro(), false},
	} {
		s := &session{g: w.g}
		s.clock(c.sensor)
		if (s.offset == 0) != c.near {
			t.Errorf("%s: offset %d", name, s.offset)
		}
		e := event.Envelope{Received: far, ClockOffset: s.offset}
		for _, row := range []event.Time{1, event.Time(max(c.sensor, 1)), 1<<63 - 1, -1 << 63, far} {
			if got := e.Correct(row); got > far+event.Time(2*time.Minute.Microseconds()) || got < far-event.Time((200*24*time.Hour).Microseconds()) {
				t.Errorf("%s: a row of %d lands at %d", name, row, got)
			}
		}
	}
}

func TestOlderBootAgain(t *testing.T) {
	w := newWorld(t, nil)
	c := w.enrol("default")
	s := w.open(c, 1)
	a1 := small(t, "boot-a", 1, event.Hash{})
	a2 := small(t, "boot-a", 2, event.HashOf(a1))
	b1 := small(t, "boot-b", 1, event.Hash{})
	want(t, "first boot", send(t, s, "boot-a", 1, a1), "ack 1")
	want(t, "first boot", send(t, s, "boot-a", 2, a2), "ack 2")
	want(t, "second boot", send(t, s, "boot-b", 1, b1), "ack 1")
	s.Close()
	s = w.open(c, 1) // the acknowledgements were lost on the way
	got := map[string]uint64{}
	for _, p := range s.Welcome.Durable {
		got[p.BootId] = p.Seq
	}
	if got["boot-a"] != 2 || got["boot-b"] != 1 {
		t.Errorf("welcome says %v", got)
	}
	want(t, "repeat of the first boot", send(t, s, "boot-a", 2, a2), "ack 2")
	want(t, "fork of the first boot", send(t, s, "boot-a", 2, small(t, "boot-a", 2, event.Hash{9})), "reject another")
	if len(w.reg.clashes) != 0 {
		t.Error("repeats are no clash")
	}
	// Two hosts, each in its own boot, use the identity in turn.
	a3 := small(t, "boot-a", 3, event.HashOf(a2))
	want(t, "the first boot goes on", send(t, s, "boot-a", 3, a3), "ack 3")
	if len(w.reg.clashes) != 1 || w.reg.audited("device.clash") != 1 {
		t.Errorf("%d clashes, %d audited", len(w.reg.clashes), w.reg.audited("device.clash"))
	}
	w.stored("default", 4)
}

func TestImpossibleNumbers(t *testing.T) {
	w := newWorld(t, nil)
	s := w.open(w.enrol("default"), 1)
	for _, n := range []uint64{0, 1<<33 + 5, 1 << 48, 1<<48 + 1, 1<<64 - 1} {
		want(t, fmt.Sprint(n), send(t, s, "boot", n, small(t, "boot", n, event.Hash{})), "reject")
	}
	want(t, "and then a good one", send(t, s, "boot", 1, small(t, "boot", 1, event.Hash{})), "ack 1")
}

// gate is a bus that takes its time.
type gate struct {
	Publisher
	mu      sync.Mutex
	tenant  string // whose batches are held back
	held    chan struct{}
	release chan struct{}
}

func (g *gate) Publish(ctx context.Context, e *event.Envelope, known bus.Last) (bus.Last, error) {
	g.mu.Lock()
	wait := g.tenant == e.Tenant
	g.mu.Unlock()
	if wait {
		select {
		case g.held <- struct{}{}:
		default:
		}
		<-g.release
		ctx = context.WithoutCancel(ctx) // it was on its way already
	}
	return g.Publisher.Publish(ctx, e, known)
}

// TestHandOver reconnects while a batch is being made durable.
func TestHandOver(t *testing.T) {
	hold := &gate{tenant: "default", held: make(chan struct{}, 1), release: make(chan struct{})}
	w := newWorld(t, func(o *Options) { hold.Publisher = o.Publisher; o.Publisher = hold })
	c := w.enrol("default")
	first := w.open(c, 1)
	one := small(t, "boot", 1, event.Hash{})
	if err := first.Batch("boot", 1, one); err != nil {
		t.Fatal(err)
	}
	<-hold.held
	live := func() *liveSession {
		w.g.sessions.mu.Lock()
		defer w.g.sessions.mu.Unlock()
		return w.g.sessions.live[sessionKey("default", c.DeviceID)]
	}
	before := live()
	opened := make(chan *bench.Stream)
	go func() {
		s, err := c.Open(context.Background(), &wirepb.Hello{Instance: 1})
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := bench.Poll(ctx, time.Millisecond, func() bool { return live() != before }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-before.ended:
		t.Error("the old session ended with a batch under way")
	default:
	}
	close(hold.release)
	s := <-opened
	if s == nil {
		t.Fatal("no second session")
	}
	defer s.Close()
	if d := s.Welcome.Durable; len(d) != 1 || d[0].Seq != 1 {
		t.Errorf("the new session does not know of the batch: %v", d)
	}
	want(t, "goes on", send(t, s, "boot", 2, small(t, "boot", 2, event.HashOf(one))), "ack 2")
	w.stored("default", 2)
}

// TestStuckTenant fills one tenant's share of the gateway while its stream is
// full; another tenant goes on.
func TestStuckTenant(t *testing.T) {
	hold := &gate{tenant: "other", held: make(chan struct{}, 1), release: make(chan struct{})}
	w := newWorld(t, func(o *Options) {
		hold.Publisher = o.Publisher
		o.Publisher = hold
		o.Limits.TenantInFlight = 16 << 10
	})
	free := sync.OnceFunc(func() { close(hold.release) })
	t.Cleanup(free)
	var stuck []*bench.Stream
	for range 8 {
		s := w.open(w.enrol("other"), 1)
		stuck = append(stuck, s)
		var prev event.Hash
		for n := range uint64(8) {
			p := small(t, "boot", n+1, prev)
			if err := s.Batch("boot", n+1, p); err != nil {
				t.Fatal(err)
			}
			prev = event.HashOf(p)
		}
	}
	<-hold.held
	s := w.open(w.enrol("default"), 1)
	var prev event.Hash
	for n := range uint64(20) {
		p := small(t, "boot", n+1, prev)
		want(t, "the other tenant", send(t, s, "boot", n+1, p), fmt.Sprintf("ack %d", n+1))
		prev = event.HashOf(p)
	}
	hold.mu.Lock()
	hold.tenant = ""
	hold.mu.Unlock()
	free()
	for _, s := range stuck {
		for n := range uint64(8) {
			if a, r, err := s.Answer(); err != nil || a.GetSeq() != n+1 {
				t.Fatalf("after the stop: %v %v %v", a, r, err)
			}
		}
	}
}

func TestRenew(t *testing.T) {
	w := newWorld(t, nil)
	id := strings.Repeat("ab", 20)
	cert := w.certificate("default", id)
	key := newKey(t)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "another device"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	resp, err := wirepbconnect.NewSensorClient(w.raw(cert), "https://"+w.address).Renew(ctx, connect.NewRequest(&wirepb.RenewRequest{Csr: csr}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.keys.VerifyDevice(resp.Msg.CertificateChain)
	if err != nil || got.DeviceID != id || got.Tenant != "default" {
		t.Errorf("renewed for %+v, %v", got, err)
	}
	if err := w.hail(&tls.Certificate{Certificate: resp.Msg.CertificateChain, PrivateKey: key}); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
	for name, c := range map[string]struct {
		cert *tls.Certificate
		csr  []byte
		code connect.Code
	}{
		"without a certificate": {nil, csr, connect.CodeUnauthenticated},
		"with a bad request":    {cert, []byte("rubbish"), connect.CodeInvalidArgument},
	} {
		_, err := wirepbconnect.NewSensorClient(w.raw(c.cert), "https://"+w.address).Renew(ctx, connect.NewRequest(&wirepb.RenewRequest{Csr: c.csr}))
		if connect.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}

func TestTokensOfNobody(t *testing.T) {
	w := newWorld(t, nil)
	for name, token := range map[string]string{
		"garbage":              "garbage",
		"of an unknown tenant": w.token("nobody"),
		"of a path":            strings.Replace(w.token("nobody"), "nobody", "../x", 1),
		"empty":                "",
		"enormous":             strings.Repeat("x", 100<<10),
	} {
		_, err := wirepbconnect.NewEnrolmentClient(w.raw(nil), "https://"+w.address).Enrol(context.Background(), connect.NewRequest(&wirepb.EnrolRequest{Token: token}))
		if c := connect.CodeOf(err); c != connect.CodeInvalidArgument && c != connect.CodePermissionDenied {
			t.Errorf("token %s: %v", name, err)
		}
	}
	if n := w.reg.audited("device.enrol"); n != 5 {
		t.Errorf("%d of 5 audited", n)
	}
	if w.keys.HasTenant("nobody") {
		t.Error("a token made a tenant")
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for addr, same := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"2001:db8:1:2::7":      "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::1": "2001:db8:1:2::/64",
		"fe80::1%eth0":         "fe80::/64",
		"::ffff:192.0.2.7":     "::ffff:192.0.2.7",
		"no address":           "no address",
	} {
		if got := network(addr); got != same {
			t.Errorf("network(%s) = %s, want %s", addr, got, same)
		}
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"short", 10, "short"}, {"", 0, ""}, {"abc", 2, "ab"}, {"aé", 2, "a"}, {"éé", 3, "é"}, {"a\nb\x00c\u0085d", 20, "a b c d"},
	} {
		if got := clip(c.in, c.n); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
	h := &wirepb.Health{Hooks: []*wirepb.Hook{nil, {Kind: "file"}}, Notes: make([]*wirepb.Note, 500), SpoolBytes: 1 << 63}
	clipHealth(h)
	if len(h.Hooks) != 1 || len(h.Notes) != 0 || h.SpoolBytes != maxCount {
		t.Errorf("clipped to %v", h)
	}
}

// FuzzSession checks batches on top of a device that has come some way: what
// is accepted moves forward and nothing else.
func FuzzSession(f *testing.F) {
	one, err := bench.Small("boot", 1, event.Hash{}, 2)
	if err != nil {
		f.Fatal(err)
	}
	two, err := bench.Small("boot", 2, event.HashOf(one), 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("boot", uint64(2), two)
	f.Add("boot", uint64(1), one)
	f.Add("b", uint64(1<<63), two)
	g := &Gateway{Options: Options{Limits: DefaultLimits}}
	f.Fuzz(func(t *testing.T, boot string, seq uint64, payload []byte) {
		s := &session{g: g}
		s.seen = s.seen.After(bus.Position{BootID: "boot", Seq: 1, Hash: event.HashOf(one)})
		rows, gap, err := s.check(&wirepb.Batch{BootId: boot, Seq: seq, Payload: payload})
		if err != nil {
			if k := picket.Kind(err); k != picket.Invalid && k != picket.TooLarge && k != picket.Conflict {
				t.Errorf("error without a kind: %v", err)
			}
			return
		}
		last, _ := s.seen.Of(boot)
		if (rows < 0) != (seq <= last.Seq) || (rows >= 0 && seq != last.Seq+1+gap) {
			t.Errorf("boot %q batch %d after %d: rows %d, gap %d", boot, seq, last.Seq, rows, gap)
		}
	})
}
