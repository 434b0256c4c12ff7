// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("PICKET_BUS_WRITER"); dir != "" {
		writeForever(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, o Options) *Bus {
	t.Helper()
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	b, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// writer publishes batches of one device, one on top of the other.
type writer struct {
	t      testing.TB
	bus    *Bus
	tenant string
	device string
	boot   string
	last   Last
}

func newWriter(t testing.TB, b *Bus, tenant, device string) *writer {
	t.Helper()
	last, err := b.Last(context.Background(), tenant, device)
	if err != nil {
		t.Fatal(err)
	}
	return &writer{t, b, tenant, device, "boot", last}
}

func (w *writer) envelope(seq uint64, payload string) *event.Envelope {
	return &event.Envelope{Tenant: w.tenant, DeviceID: w.device, BootID: w.boot, Seq: seq, Payload: []byte(payload)}
}

func (w *writer) try(seq uint64, payload string) error {
	last, err := w.bus.Publish(context.Background(), w.envelope(seq, payload), w.last)
	w.last = last
	return err
}

func (w *writer) put(seq uint64, payload string) {
	w.t.Helper()
	if err := w.try(seq, payload); err != nil {
		w.t.Fatal(err)
	}
}

// read collects n messages after a position.
func read(t testing.TB, b *Bus, tenant string, from uint64, n int) []Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var got []Message
	if err := b.Consume(ctx, tenant, from, func(_ context.Context, group []Message) error {
		if got = append(got, group...); len(got) >= n {
			cancel()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != n {
		t.Fatalf("got %d messages, want %d", len(got), n)
	}
	return got
}

func TestPublishConsumeTrim(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := open(t, Options{Dir: t.TempDir()})
	w := newWriter(t, b, "a", "d1")
	for i := range uint64(600) { // more than one group
		w.put(i+1, fmt.Sprint("p", i))
	}
	newWriter(t, b, "b", "d2").put(1, "other tenant")
	for i, m := range read(t, b, "a", 0, 600) {
		if m.Sequence != uint64(i+1) || string(m.Envelope.Payload) != fmt.Sprint("p", i) || m.Envelope.Tenant != "a" {
			t.Fatalf("message %d: %d %s", i, m.Sequence, m.Envelope.Payload)
		}
	}
	if rest := read(t, b, "a", 597, 3); rest[0].Sequence != 598 {
		t.Errorf("reading after 597 begins at %d", rest[0].Sequence)
	}
	if err := b.Trim(ctx, "a", 600); err != nil {
		t.Fatal(err)
	}
	st, err := b.State(ctx, "a")
	if err != nil || st.First != 601 || st.Last != 600 || st.Epoch == "" {
		t.Errorf("state after trim: %+v, %v", st, err)
	}
	other, err := b.State(ctx, "b")
	if err != nil || other.Last != 1 || other.Epoch == st.Epoch {
		t.Errorf("other tenant: %+v, %v", other, err)
	}
	if err := b.Trim(ctx, "a", 601); !errors.Is(err, picket.Conflict) {
		t.Errorf("trimming beyond the end: %v", err)
	}
	if err := b.Trim(ctx, "a", 3); err != nil {
		t.Errorf("trimming again: %v", err)
	}
	w.put(601, "next")
	if m := read(t, b, "a", 600, 1)[0]; m.Sequence != 601 {
		t.Errorf("numbers go on at %d", m.Sequence)
	}
}

func TestLastSurvivesRestartAndTrim(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	check := func(step string, b *Bus, want Last) {
		t.Helper()
		got, err := b.Last(ctx, "a", "d1")
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Last{})); diff != "" || err != nil {
			t.Errorf("%s: %v %s", step, err, diff)
		}
	}
	reopen := func() {
		b.Close()
		b = open(t, Options{Dir: dir})
	}
	check("nothing", b, Last{})
	w := newWriter(t, b, "a", "d1")
	w.put(1, "one")
	w.put(2, "two")
	w.boot = "next-boot"
	w.put(1, "uno")
	newWriter(t, b, "a", "d2").put(1, "later")
	want := Last{
		Position: Position{"next-boot", 1, event.HashOf([]byte("uno"))},
		Past:     []Position{{"boot", 2, event.HashOf([]byte("two"))}},
	}
	check("in this process", b, want)
	reopen()
	check("after a restart", b, want)
	// Nothing was published by this process: what is trimmed must be kept
	// all the same.
	if err := b.Trim(ctx, "a", 4); err != nil {
		t.Fatal(err)
	}
	check("after trimming", b, want)
	reopen()
	check("after trimming and a restart", b, want)
	w = newWriter(t, b, "a", "d1")
	w.boot = "next-boot"
	w.put(2, "due")
	want.Position = Position{"next-boot", 2, event.HashOf([]byte("due"))}
	check("going on", b, want)
	if st, err := b.State(ctx, "a"); err != nil || st.Last != 5 {
		t.Errorf("state %+v, %v", st, err)
	}
	if got, err := b.Last(ctx, "a", "nobody"); err != nil || got.BootID != "" {
		t.Errorf("unknown device: %v %v", got, err)
	}
}

// TestTrimWhileWriting trims under the feet of a writer that knows nothing of
// it.
func TestTrimWhileWriting(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	w := newWriter(t, b, "a", "d1")
	for i := range uint64(5) {
		w.put(i+1, fmt.Sprint(i))
		if err := b.Trim(context.Background(), "a", i+1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRepeatsAndRivals(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	w := newWriter(t, b, "a", "d1")
	w.put(1, "one")
	before := w.last
	w.put(2, "two")
	after := w.last

	// The answer was lost: the same again changes nothing.
	w.last = before
	w.put(2, "two")
	if w.last.Position != after.Position {
		t.Errorf("a repeat leads to %+v", w.last)
	}
	// A second writer that does not know of number 2.
	rival := &writer{t, b, "a", "d1", "boot", before}
	if err := rival.try(2, "zwei"); !errors.Is(err, picket.Conflict) {
		t.Errorf("a fork: %v", err)
	}
	rival.boot = "other-boot"
	if err := rival.try(1, "eins"); !errors.Is(err, picket.Conflict) {
		t.Errorf("another boot on old knowledge: %v", err)
	}
	if got := read(t, b, "a", 0, 2); string(got[1].Envelope.Payload) != "two" {
		t.Errorf("stored %q", got[1].Envelope.Payload)
	}
	if st, err := b.State(context.Background(), "a"); err != nil || st.Last != 2 {
		t.Errorf("state %+v, %v", st, err)
	}
	w.put(3, "three")
}

func TestFullStreamRefuses(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir(), MaxBytes: 256 << 10})
	payload := strings.Repeat("x", 32<<10)
	w := newWriter(t, b, "a", "d")
	other := newWriter(t, b, "b", "d")
	n := uint64(0)
	var err error
	for err == nil && n < 100 {
		n++
		err = w.try(n, payload)
	}
	if !errors.Is(err, picket.Unavailable) {
		t.Fatalf("after %d messages: %v", n, err)
	}
	other.put(1, payload) // another tenant is not touched
	if got := read(t, b, "a", 0, int(n-1)); got[0].Sequence != 1 {
		t.Error("an old message was discarded")
	}
	if err := b.Trim(context.Background(), "a", n-1); err != nil {
		t.Fatal(err)
	}
	w.put(n, payload)
}

func TestFullDiskRefuses(t *testing.T) {
	t.Parallel()
	free := int64(1 << 20)
	b := open(t, Options{Dir: t.TempDir()})
	b.disk = &disk{dir: "/x", reserve: 1 << 21, free: func(string) (int64, error) { return free, nil }}
	w := newWriter(t, b, "a", "d")
	if err := w.try(1, "one"); !errors.Is(err, picket.Unavailable) {
		t.Errorf("publish: %v", err)
	}
	if err := b.Ready(context.Background()); !errors.Is(err, picket.Unavailable) {
		t.Errorf("ready: %v", err)
	}
	b.disk = &disk{dir: "/x", free: func(string) (int64, error) { return 0, errors.New("gone") }}
	if err := w.try(1, "one"); !errors.Is(err, picket.Unavailable) {
		t.Errorf("disk that cannot be looked at: %v", err)
	}
	b.disk = &disk{dir: "/x", reserve: 1, free: func(string) (int64, error) { return free, nil }}
	w.put(1, "one")
}

func TestSettingsOfAStreamFollow(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	b := open(t, Options{Dir: dir, MaxBytes: 64 << 10})
	w := newWriter(t, b, "a", "d")
	before, err := b.State(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.try(1, strings.Repeat("x", 100<<10)); !errors.Is(err, picket.Unavailable) {
		t.Fatalf("too much for the stream: %v", err)
	}
	b.Close()
	b = open(t, Options{Dir: dir, MaxBytes: 1 << 20})
	newWriter(t, b, "a", "d").put(1, strings.Repeat("x", 100<<10))
	if after, err := b.State(ctx, "a"); err != nil || after.Epoch != before.Epoch {
		t.Errorf("epoch %q became %q, %v", before.Epoch, after.Epoch, err)
	}
}

func TestHandlerErrorRepeats(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := open(t, Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	w := newWriter(t, b, "a", "d")
	w.put(1, "one")
	w.put(2, "two")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var got []string
	calls := 0
	err := b.Consume(ctx, "a", 0, func(_ context.Context, group []Message) error {
		calls++
		for _, m := range group {
			got = append(got, string(m.Envelope.Payload))
		}
		if calls == 1 {
			return errors.New("not now")
		}
		cancel()
		return nil
	})
	if diff := cmp.Diff([]string{"one", "two", "one", "two"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if !strings.Contains(log.String(), "not now") {
		t.Errorf("log: %s", &log)
	}
}

func TestReaderIsWoken(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	w := newWriter(t, b, "a", "d")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	seen := make(chan uint64)
	done := make(chan error, 1)
	go func() {
		done <- b.Consume(ctx, "a", 0, func(_ context.Context, group []Message) error {
			for _, m := range group {
				seen <- m.Sequence
			}
			return nil
		})
	}()
	for i := range uint64(20) { // looking once a second alone would take the 20 seconds
		w.put(i+1, "x")
		select {
		case n := <-seen:
			if n != i+1 {
				t.Fatalf("message %d, want %d", n, i+1)
			}
		case <-ctx.Done():
			t.Fatal("a reader slept through a message")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPositionOfAnotherStream(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	newWriter(t, b, "a", "d").put(1, "x")
	err := b.Consume(context.Background(), "a", 2, func(context.Context, []Message) error { return nil })
	if !errors.Is(err, picket.Conflict) {
		t.Errorf("reading after the end: %v", err)
	}
}

func TestReaderBehindTheTrim(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := open(t, Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	w := newWriter(t, b, "a", "d")
	for i := range uint64(5) {
		w.put(i+1, "x")
	}
	if err := b.Trim(context.Background(), "a", 3); err != nil {
		t.Fatal(err)
	}
	if got := read(t, b, "a", 1, 2); got[0].Sequence != 4 {
		t.Errorf("reading goes on at %d", got[0].Sequence)
	}
	if !strings.Contains(log.String(), "trimmed before this reader") {
		t.Errorf("the loss is not told: %s", &log)
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: t.TempDir()})
	got := make(chan string, 1)
	stop, err := b.Subscribe("health.>", func(s string, d []byte) { got <- s + " " + string(d) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := b.Notify("health.a.d", []byte("ok")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "health.a.d ok" {
		t.Errorf("got %q", s)
	}
	if err := b.Ready(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestNamesAreChecked(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := open(t, Options{Dir: t.TempDir()})
	for _, e := range []event.Envelope{
		{Tenant: "a.b", DeviceID: "d", BootID: "b", Seq: 1},
		{Tenant: "a", DeviceID: "d.>", BootID: "b", Seq: 1},
		{Tenant: "a", DeviceID: "", BootID: "b", Seq: 1},
		{Tenant: "a", DeviceID: "d", BootID: "b b", Seq: 1},
		{Tenant: "a", DeviceID: "d", BootID: "b\r\nX: y", Seq: 1},
	} {
		if _, err := b.Publish(ctx, &e, Last{}); !errors.Is(err, picket.Invalid) {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if _, err := b.Last(ctx, "a", "*"); !errors.Is(err, picket.Invalid) {
		t.Errorf("last of *: %v", err)
	}
	big := event.Envelope{Tenant: "a", DeviceID: "d", BootID: "b", Seq: 1, Payload: make([]byte, 10<<20)}
	if _, err := b.Publish(ctx, &big, Last{}); !errors.Is(err, picket.TooLarge) {
		t.Errorf("10 MiB: %v", err)
	}
	big.Payload = make([]byte, event.DefaultLimits.Compressed)
	if _, err := b.Publish(ctx, &big, Last{}); err != nil {
		t.Errorf("the largest batch: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	b := open(t, Options{Dir: t.TempDir(), Metrics: reg})
	newWriter(t, b, "a", "d").put(1, "12345")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.Metric[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	for name, want := range map[string]float64{
		"picket_bus_published_total": 1, "picket_bus_published_bytes_total": 5, "picket_bus_refused_total": 0,
		"picket_bus_stream_messages": 1, "picket_bus_stream_last": 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %v %v, want %v", name, v, ok, want)
		}
	}
}

// TestCluster speaks to a server of its own process over TCP, as to a
// cluster.
func TestCluster(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, MaxPayload: maxMessage,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	b := open(t, Options{URL: s.ClientURL()})
	w := newWriter(t, b, "a", "d")
	w.put(1, "one")
	if got := read(t, b, "a", 0, 1); string(got[0].Envelope.Payload) != "one" {
		t.Errorf("read %q", got[0].Envelope.Payload)
	}
	if err := b.Ready(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Options{Dir: file}); err == nil {
		t.Error("a file as folder passed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Options{URL: "nats://127.0.0.1:1"}); !errors.Is(err, picket.Unavailable) {
		t.Errorf("a cluster that is not there: %v", err)
	}
}

func TestLastText(t *testing.T) {
	t.Parallel()
	var l Last
	for i, boot := range []string{"b1", "b2", "b3", "b4", "b5", "b6", "b2"} {
		l = l.After(Position{boot, uint64(i + 1), event.HashOf([]byte(boot))})
	}
	got, err := parseLast(l.text())
	if err != nil || !got.same(&l) {
		t.Errorf("%+v became %+v, %v", l, got, err)
	}
	var boots []string
	for _, p := range got.Positions() {
		boots = append(boots, fmt.Sprint(p.BootID, "=", p.Seq))
	}
	if diff := cmp.Diff([]string{"b2=7", "b6=6", "b5=5", "b4=4", "b3=3"}, boots); diff != "" {
		t.Error(diff)
	}
	if _, ok := got.Of("b1"); ok {
		t.Error("the oldest boot is still known")
	}
	if p, ok := got.Of("b4"); !ok || p.Seq != 4 {
		t.Errorf("b4 is at %+v", p)
	}
	if _, ok := (&Last{}).Of(""); ok {
		t.Error("nothing has a boot")
	}
}

func FuzzParseLast(f *testing.F) {
	l := (&Last{}).After(Position{"boot", 7, event.Hash{1}})
	l = l.After(Position{"next", 1, event.Hash{2}})
	f.Add(l.text())
	f.Add(" :: ")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLast(text)
		if err != nil {
			return
		}
		again, err := parseLast(l.text())
		if err != nil || !again.same(&l) {
			t.Errorf("%q became %q, %v", text, l.text(), err)
		}
	})
}
