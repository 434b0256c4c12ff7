// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("PICKET_BUS_WRITER"); dir != "" {
		writeForever(dir)
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*Server).startGoRoutine.func1"))
}

func open(t *testing.T, dir string, maxBytes int64) *Bus {
	t.Helper()
	b, err := Open(context.Background(), Options{Dir: dir, MaxBytes: maxBytes, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func envelope(tenant, device string, seq uint64, payload string) *event.Envelope {
	return &event.Envelope{Tenant: tenant, DeviceID: device, BootID: "boot", Seq: seq, Payload: []byte(payload)}
}

// read collects n messages after a position.
func read(t *testing.T, b *Bus, tenant string, from uint64, n int) []Message {
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
	ctx := context.Background()
	b := open(t, t.TempDir(), 64<<20)
	for i := range uint64(10) {
		if err := b.Publish(ctx, envelope("a", "d1", i+1, fmt.Sprint("p", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Publish(ctx, envelope("a", "d1", 10, "p9")); err != nil { // a repeat is stored once
		t.Fatal(err)
	}
	if err := b.Publish(ctx, envelope("b", "d2", 1, "other tenant")); err != nil {
		t.Fatal(err)
	}
	got := read(t, b, "a", 0, 10)
	for i, m := range got {
		if m.Sequence != uint64(i+1) || string(m.Envelope.Payload) != fmt.Sprint("p", i) {
			t.Errorf("message %d: %d %s", i, m.Sequence, m.Envelope.Payload)
		}
	}
	if rest := read(t, b, "a", 7, 3); rest[0].Sequence != 8 {
		t.Errorf("reading after 7 begins at %d", rest[0].Sequence)
	}
	if err := b.Trim(ctx, "a", 10); err != nil {
		t.Fatal(err)
	}
	st, err := b.State(ctx, "a")
	if err != nil || st.First != 11 || st.Last != 10 || st.Epoch == "" {
		t.Errorf("state after trim: %+v, %v", st, err)
	}
	other, err := b.State(ctx, "b")
	if err != nil || other.Last != 1 || other.Epoch == st.Epoch {
		t.Errorf("other tenant: %+v, %v", other, err)
	}
}

func TestLastSurvivesRestartAndTrim(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	b := open(t, dir, 64<<20)
	want := Last{"boot", 3, event.HashOf([]byte("three"))}
	for i, p := range []string{"one", "two", "three"} {
		if err := b.Publish(ctx, envelope("a", "d1", uint64(i+1), p)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(step string) {
		t.Helper()
		if got, ok, err := b.Last(ctx, "a", "d1"); err != nil || !ok || got != want {
			t.Errorf("%s: %+v %v %v", step, got, ok, err)
		}
	}
	check("in memory")
	b.Close()
	b = open(t, dir, 64<<20)
	check("after a restart")
	if err := b.Publish(ctx, envelope("a", "d1", 4, "four")); err != nil {
		t.Fatal(err)
	}
	want = Last{"boot", 4, event.HashOf([]byte("four"))}
	if err := b.Trim(ctx, "a", 4); err != nil {
		t.Fatal(err)
	}
	b.Close()
	b = open(t, dir, 64<<20)
	check("after trim and restart")
	if _, ok, err := b.Last(ctx, "a", "nobody"); ok || err != nil {
		t.Errorf("unknown device: %v %v", ok, err)
	}
}

func TestFullStreamRefuses(t *testing.T) {
	ctx := context.Background()
	b := open(t, t.TempDir(), 256<<10)
	payload := strings.Repeat("x", 32<<10)
	var err error
	n := uint64(0)
	for err == nil && n < 100 {
		n++
		err = b.Publish(ctx, envelope("a", "d", n, payload))
	}
	if !errors.Is(err, picket.Unavailable) {
		t.Fatalf("after %d messages: %v", n, err)
	}
	if got := read(t, b, "a", 0, int(n-1)); got[0].Sequence != 1 {
		t.Error("an old message was discarded")
	}
	if err := b.Trim(ctx, "a", n-1); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(ctx, envelope("a", "d", n, payload)); err != nil {
		t.Errorf("after trimming: %v", err)
	}
}

func TestHandlerErrorRepeats(t *testing.T) {
	b := open(t, t.TempDir(), 64<<20)
	if err := b.Publish(context.Background(), envelope("a", "d", 1, "p")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	calls := 0
	err := b.Consume(ctx, "a", 0, func(context.Context, []Message) error {
		if calls++; calls == 1 {
			return errors.New("not now")
		}
		cancel()
		return nil
	})
	if err != nil || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestNotify(t *testing.T) {
	b := open(t, t.TempDir(), 64<<20)
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

func TestBadTenant(t *testing.T) {
	b := open(t, t.TempDir(), 64<<20)
	if err := b.Publish(context.Background(), envelope("a.b", "d", 1, "p")); !errors.Is(err, picket.Invalid) {
		t.Errorf("got %v", err)
	}
}

// writeForever publishes and prints each acknowledged number, until killed.
func writeForever(dir string) {
	b, err := Open(context.Background(), Options{Dir: dir, MaxBytes: 1 << 30, Log: slog.Default()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	st, err := b.State(context.Background(), "a")
	if err != nil {
		os.Exit(1)
	}
	for n := st.Last + 1; ; n++ {
		if err := b.Publish(context.Background(), envelope("a", "d", n, strings.Repeat("x", 500))); err != nil {
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// TestKill kills a writing process at six moments: what it acknowledged must
// be there, in order, once.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	var acked uint64
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PICKET_BUS_WRITER="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(out)
		for i := 0; i < 40+round*37 && sc.Scan(); i++ {
			if acked, err = strconv.ParseUint(sc.Text(), 10, 64); err != nil {
				t.Fatalf("%q: %v", sc.Text(), err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for sc.Scan() {
			if n, err := strconv.ParseUint(sc.Text(), 10, 64); err == nil {
				acked = n
			}
		}
		_ = cmd.Wait()
	}
	b := open(t, dir, 1<<30)
	st, err := b.State(context.Background(), "a")
	if err != nil || st.Last < acked {
		t.Fatalf("%d acknowledged, state %+v, %v", acked, st, err)
	}
	for i, m := range read(t, b, "a", 0, int(st.Last)) {
		if m.Envelope.Seq != uint64(i+1) {
			t.Fatalf("message %d carries number %d", i+1, m.Envelope.Seq)
		}
	}
	t.Logf("%d acknowledged, %d kept", acked, st.Last)
}
