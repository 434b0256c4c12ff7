// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/redact"
	"github.com/picket-edr/picket/sensor/spool"
	"github.com/picket-edr/picket/wire/wirepb"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t testing.TB, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func testFacts(boot string) func() *wirepb.Facts {
	return func() *wirepb.Facts {
		return &wirepb.Facts{HostName: "host.test", OsPlatform: "Linux", MachineId: "m1", BootId: boot, IpAddresses: []string{"192.0.2.7"}}
	}
}

// scripted is a collector that tests drive.
type scripted struct {
	mu     sync.Mutex
	o      CollectorOptions
	opened int
	events map[string]uint64
	lost   map[string]uint64
	fail   chan error
	ready  chan struct{} // one value for each opening
	closed int
}

func newScripted() *scripted {
	return &scripted{events: map[string]uint64{}, lost: map[string]uint64{}, fail: make(chan error, 1), ready: make(chan struct{}, 16)}
}

func (c *scripted) open(_ context.Context, o CollectorOptions) (Collector, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o = o
	c.opened++
	c.ready <- struct{}{}
	return c, nil
}

func (c *scripted) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-c.fail:
		return err
	}
}

func (c *scripted) Hooks() []picket.Hook {
	return []picket.Hook{{Kind: "process", Rung: "tracepoint", Attached: true}, {Kind: "dns", Rung: "off", Error: "no such hook"}}
}
func (c *scripted) Rung() string { return "tracepoint" }
func (c *scripted) Counters() (events, lost map[string]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := map[string]uint64{}
	for k, v := range c.lost {
		l[k] = v
	}
	return nil, l
}
func (c *scripted) Close() error { c.closed++; return nil }

// emit makes n rows of each of the value classes and returns how many were taken.
func (c *scripted) emit(n int) int {
	taken := 0
	for i := range n {
		for _, r := range []event.Row{
			&event.DeviceProcessEvents{ActionType: "ProcessCreated", ReportId: c.o.NextReportID(), FileName: fmt.Sprint("p", i), FolderPath: "/usr/bin/p"},
			&event.DeviceFileEvents{ActionType: "FileModified", ReportId: c.o.NextReportID(), FileName: fmt.Sprint("f", i), FolderPath: fmt.Sprintf("/data/f%d", i)},
			&event.DeviceNetworkEvents{ActionType: "ConnectionSuccess", ReportId: c.o.NextReportID(), RemoteIP: "192.0.2.1", RemotePort: 443, InitiatingProcessFolderPath: "/usr/bin/curl"},
		} {
			if c.o.Sink(r) {
				taken++
			} else {
				c.mu.Lock()
				c.lost["queue.full"]++
				c.mu.Unlock()
			}
		}
	}
	return taken
}

// harness runs an agent against a gateway.
type harness struct {
	t      *testing.T
	g      *fakeGateway
	dir    string
	c      *scripted
	o      Options
	cancel context.CancelFunc
	done   chan error
}

func enrolled(t *testing.T, g *fakeGateway) *harness {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	_, err := Enrol(t.Context(), EnrolOptions{Dir: dir, Server: g.addr, Token: g.token(), Proxy: ProxyDirect, Facts: testFacts(testBoot)()})
	must(t, err)
	h := &harness{t: t, g: g, dir: dir, c: newScripted()}
	h.o = Options{
		Dir: dir, Proxy: ProxyDirect, Log: discard(), Facts: testFacts(testBoot), Open: h.c.open,
		Timing: Timing{Flush: 5 * time.Millisecond, Health: 20 * time.Millisecond, Backoff: 5 * time.Millisecond, BackoffMax: 20 * time.Millisecond,
			RefusedWait: 5 * time.Millisecond, Drain: 10 * time.Second, Collector: 5 * time.Millisecond, Watch: 5 * time.Millisecond},
	}
	return h
}

func (h *harness) start() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.done = cancel, make(chan error, 1)
	go func() { h.done <- Run(ctx, h.o) }()
	select {
	case <-h.c.ready:
	case err := <-h.done:
		h.t.Fatalf("agent ended: %v", err)
	}
}

func (h *harness) stop() {
	h.t.Helper()
	h.cancel()
	must(h.t, <-h.done)
}

func (h *harness) status() *Status {
	h.t.Helper()
	s, err := ReadStatus(h.t.Context(), h.dir)
	must(h.t, err)
	return s
}

func (h *harness) rowsAtServer(n int) {
	h.t.Helper()
	h.g.await(fmt.Sprint(n, " rows"), func() bool { return len(h.g.rows) == n })
}

func (h *harness) connected() {
	h.t.Helper()
	h.g.await("connected", func() bool { return h.status().Connected })
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		runChild(dir)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestEventsArriveOnce(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	h.start()
	equal(t, 3000, h.c.emit(1000))
	h.g.await("first rows", func() bool { return h.g.actions["ProcessCreated"] > 0 })
	h.stop()
	h.rowsAtServer(3002)
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	equal(t, map[string]int{"SensorStarted": 1, "SensorStopped": 1, "ProcessCreated": 1000, "FileModified": 1000, "ConnectionSuccess": 1000}, h.g.actions)
	equal(t, uint64(0), h.g.gaps)
	hello := h.g.hellos[0]
	equal(t, []any{testBoot, uint64(1), "host.test", "m1"}, []any{hello.BootId, hello.FirstSeq, hello.Facts.HostName, hello.Facts.MachineId})
	if hello.Instance == 0 {
		t.Error("no instance")
	}
}

func TestStatusAndHealth(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	h.start()
	h.c.emit(10)
	h.rowsAtServer(31)
	h.c.mu.Lock()
	h.c.lost["ring.file"] = 7
	h.c.lost["hash.late"] = 3 // not an event
	h.c.mu.Unlock()
	h.g.await("loss in a report", func() bool {
		n := len(h.g.healths)
		return n > 0 && h.g.healths[n-1].Lost["ring.file"] == 7
	})
	s := h.status()
	want := &Status{
		DeviceID: testDevice, Tenant: testTenant, Group: "servers", Server: h.g.addr, Way: "direct", Connected: true, BootID: testBoot,
		Rung: "tracepoint", Hooks: h.c.Hooks(), Lost: map[string]uint64{"ring.file": 7}, Incomplete: map[string]uint64{"hash.late": 3}, Version: picket.Version, PID: os.Getpid(),
		Events:     map[string]uint64{"DeviceEvents": 1, "DeviceFileEvents": 10, "DeviceNetworkEvents": 10, "DeviceProcessEvents": 10},
		SpoolLimit: spool.DefaultLimit,
	}
	got := *s
	got.Since, got.LastAck, got.Certificate = time.Time{}, time.Time{}, time.Time{}
	got.SpoolBytes, got.CPUPercent, got.RSSBytes, got.UptimeSeconds = 0, 0, 0, 0
	if len(got.Processes) != 1 || got.Processes[0].RSSBytes != s.RSSBytes || got.Processes[0].PID != os.Getpid() {
		t.Errorf("processes: %+v", got.Processes)
	}
	got.Processes, got.Exclusions = nil, nil
	equal(t, want, &got)
	if s.RSSBytes < 1<<20 || s.SpoolBytes == 0 || s.Certificate.IsZero() || s.LastAck.IsZero() || s.Since.IsZero() {
		t.Errorf("%+v", s)
	}
	h.g.mu.Lock()
	first, last := h.g.healths[0], h.g.healths[len(h.g.healths)-1]
	h.g.mu.Unlock()
	equal(t, []any{"tracepoint", "192.0.2.7", "dns", "no such hook", uint64(spool.DefaultLimit)},
		[]any{last.Rung, last.IpAddresses[0], first.Hooks[1].Kind, first.Hooks[1].Error, last.SpoolLimitBytes})
	if len(h.g.healths) > 1 && (!last.HooksUnchanged || len(last.Hooks) > 0) || first.HooksUnchanged {
		t.Errorf("hooks are told again: %v of %v", last.Hooks, first.Hooks)
	}
	info, err := os.Stat(filepath.Join(h.dir, socketName))
	must(t, err)
	equal(t, os.FileMode(0o600), info.Mode().Perm())
	for _, k := range []NoteKind{noteStarted, noteDeviceID, noteContact, noteHookMissing, noteOverload} {
		h.g.await(fmt.Sprint("note ", k.ID), h.g.noted(k))
	}
	h.stop()
	h.g.await("end noted", h.g.noted(noteStopped))
	if _, err := ReadStatus(t.Context(), h.dir); !errors.Is(err, picket.Unavailable) {
		t.Errorf("status without a sensor: %v", err)
	}
}

func TestServerAwayThenBack(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	g.set(func() { g.deny = true })
	h.start()
	h.c.emit(500)
	g.await("tries", func() bool { return len(g.hellos) > 3 })
	if s := h.status(); s.Connected || !strings.Contains(s.LastError, "revoked") {
		t.Errorf("connected %v, last error %q", s.Connected, s.LastError)
	}
	g.set(func() { g.deny = false })
	h.rowsAtServer(1501)
	g.await("refusal noted", g.noted(noteRefused))
	h.stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	count := 0
	for _, id := range g.notesSeen() {
		if id == noteRefused.ID {
			count++
		}
	}
	equal(t, 1, count)
}

func TestCutNetworkLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	h.start()
	for round := range 20 {
		h.c.emit(100)
		g.await("some rows", func() bool { return len(g.rows) > round*300 })
		g.cut()
	}
	h.rowsAtServer(6001)
	h.stop()
	h.rowsAtServer(6002)
	g.set(func() { equal(t, uint64(0), g.gaps) })
}

func TestRestartsContinue(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	g.set(func() { g.deny = true })
	total := 0
	for range 3 {
		h.start()
		total += h.c.emit(50) + 2
		h.stop()
	}
	h.o.Facts = testFacts("another-boot") // what the boot before left goes first
	h.start()
	total += h.c.emit(50) + 1
	g.set(func() { g.deny = false })
	h.rowsAtServer(total)
	h.stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	first := slices.IndexFunc(g.order, func(s string) bool { return strings.HasPrefix(s, "another-boot/") })
	if first < 1 || slices.ContainsFunc(g.order[first:], func(s string) bool { return strings.HasPrefix(s, testBoot) }) {
		t.Errorf("boots are mixed: %v", g.order)
	}
	equal(t, uint64(0), g.gaps)
	equal(t, testBoot, g.hellos[len(g.hellos)-1].BootId)
}

func TestMissedAcknowledgements(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	g.mute = true
	h.start()
	rows := 1
	for full := false; !full; { // each round is at least one batch
		rows += h.c.emit(5)
		g.await("another batch", func() bool {
			full = g.sent >= windowBatches
			return full || len(g.rows) == rows
		})
	}
	rows += h.c.emit(500)
	g.set(func() {
		equal(t, uint64(windowBatches), g.sent)
		g.mute = false
	})
	g.cut() // the welcome tells what is durable
	h.rowsAtServer(rows)
	h.stop()
}

func TestStalledServerIsLeft(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	g.mute = true
	h.o.Timing.Stall = 30 * time.Millisecond
	h.start()
	h.c.emit(1)
	g.await("a second connection", func() bool { return len(g.hellos) > 1 })
	g.set(func() { g.mute = false })
	h.rowsAtServer(4)
	h.stop()
}

func TestRejectedBatch(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	var lost uint64
	g.verdict = func(b *wirepb.Batch) (*wirepb.Down, bool) {
		if b.Seq != 3 {
			return nil, false
		}
		d, _ := event.Decode(b.Payload, event.DefaultLimits)
		lost = uint64(d.Rows())
		return &wirepb.Down{Kind: &wirepb.Down_Reject{Reject: &wirepb.Reject{BootId: b.BootId, Seq: b.Seq, Reason: "I do not like it"}}}, true
	}
	h.start()
	for range 5 {
		h.c.emit(10)
		g.await("rows", func() bool { return len(g.rows) > 0 })
	}
	g.await("everything else and the account", func() bool { return g.actions["SensorLoss"] == 1 && len(g.rows) == 150-int(lost)+2 })
	equal(t, map[string]uint64{"spool.rejected": lost}, h.status().Lost)
	g.await("note", g.noted(noteRejected))
	g.cut()
	h.connected()
	h.stop()
	kept, err := os.ReadDir(filepath.Join(h.dir, "spool", "rejected"))
	must(t, err)
	equal(t, 1, len(kept))
	g.set(func() { equal(t, uint64(1), g.gaps) })
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	asked := 0
	g.verdict = func(b *wirepb.Batch) (*wirepb.Down, bool) {
		if asked++; asked > 1 {
			return nil, false
		}
		g.batch(b)
		return &wirepb.Down{Kind: &wirepb.Down_Throttle{Throttle: &wirepb.Throttle{WaitMs: 3600_000, Reason: "busy"}}}, true
	}
	h.start()
	g.await("throttled", func() bool { return !h.status().Throttled.IsZero() })
	reports := 0
	g.set(func() { reports = len(g.healths) })
	h.c.emit(500)
	g.await("reports go on", func() bool { return len(g.healths) > reports+3 })
	g.mu.Lock()
	if g.sent > 1 {
		t.Errorf("%d batches in spite of the request to wait", g.sent)
	}
	g.mu.Unlock()
	g.cut() // a new connection starts afresh
	h.rowsAtServer(1501)
	h.stop()
}

func TestPolicyFromServer(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	level := &slog.LevelVar{}
	h.o.Level = level
	g.policy = &wirepb.Policy{Version: 7, Json: []byte(`{"disabledKinds":["network"],"exclude":{"folders":["/data/"]},"logLevel":"debug","healthSeconds":5,"spoolBytes":2097152,"flushMilliseconds":20,"scriptContent":"hashes","redact":{"off":["environment"],"rules":[{"name":"staff","pattern":"staff=(\\d+)"}]}}`)}
	h.start()
	g.await("answer", func() bool { return len(g.answers) == 1 && g.answers[0].Error == "" })
	equal(t, 30, h.c.emit(10))
	g.await("processes", func() bool { return g.actions["ProcessCreated"] == 10 })
	s := h.status()
	equal(t, []any{uint64(7), uint64(20), int64(2 << 20), map[string]uint64{}}, []any{s.Policy, s.Filtered, s.SpoolLimit, s.Lost})
	equal(t, slog.LevelDebug, level.Level())
	equal(t, "hashes", h.c.o.ScriptContent())
	line, rules := h.c.o.Redactor().Text(redact.CommandLine, "tool staff=1 --token x")
	equal(t, []any{"tool staff=[redacted] --token [redacted]", []string{"named-secret", "staff"}}, []any{line, rules})
	line, _ = h.c.o.Redactor().Text(redact.Environment, "token=x")
	equal(t, "token=x", line)

	// A bad one changes nothing, and the server learns why.
	g.set(func() { g.policy = &wirepb.Policy{Version: 8, Json: []byte(`{"teleport":true}`)} })
	g.cut()
	g.await("second answer", func() bool { return len(g.answers) == 2 && strings.Contains(g.answers[1].Error, "teleport") })
	equal(t, uint64(7), h.status().Policy)
	h.stop()

	// The policy outlives the run.
	g.set(func() { g.policy = nil; g.deny = true })
	level.Set(slog.LevelInfo)
	h.start()
	equal(t, 30, h.c.emit(10))
	s = h.status()
	equal(t, []any{uint64(7), uint64(20), int64(2 << 20)}, []any{s.Policy, s.Filtered, s.SpoolLimit})
	h.stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.hellos[len(g.hellos)-1].PolicyVersion; v != 7 {
		t.Errorf("hello tells policy %d", v)
	}
}

func TestStoredPolicyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	must(t, os.WriteFile(filepath.Join(h.dir, "policy.json"), []byte(`{"version":3,"policy":{"flushMilliseconds":1}}`), 0o600))
	h.start()
	g.await("note", g.noted(notePolicyBad))
	equal(t, uint64(0), h.status().Policy)
	h.stop()
}

func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.life = 100 * time.Millisecond // two thirds are over at once
	h := enrolled(t, g)
	before, err := LoadIdentity(h.dir)
	must(t, err)
	h.start()
	g.await("a connection with the new certificate", func() bool { return g.renewals == 1 && len(g.hellos) > 1 })
	h.c.emit(10)
	h.rowsAtServer(31)
	g.await("note", g.noted(noteRenewed))
	h.stop()
	after, err := LoadIdentity(h.dir)
	must(t, err)
	if slices.Equal(before.Key, after.Key) || slices.Equal(before.Chain[0], after.Chain[0]) {
		t.Error("key or certificate is the old one")
	}
	after.Key, after.Chain = before.Key, before.Chain
	equal(t, before, after)
}

func TestCollectorFailsAndIsOpenedAgain(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	h.start()
	h.c.mu.Lock()
	h.c.lost["ring.exec"] = 5
	h.c.mu.Unlock()
	h.c.fail <- errors.New("ring is gone")
	<-h.c.ready
	equal(t, uint64(10), h.status().Lost["ring.exec"]) // both lives of the same counters
	g.await("note", g.noted(noteStepFailed))
	h.stop()
	equal(t, 2, h.c.closed)
}

func TestCollectorThatDoesNotStop(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	release := make(chan struct{})
	ended := make(chan struct{})
	h.o.Timing.Stop = 10 * time.Millisecond
	h.o.Open = func(ctx context.Context, o CollectorOptions) (Collector, error) {
		_, err := h.c.open(ctx, o)
		return &stubborn{h.c, release, ended}, err
	}
	h.start()
	h.connected()
	h.stop()
	g.await("note", g.noted(noteStepFailed))
	close(release)
	<-ended
}

// stubborn is a collector that ends when it likes.
type stubborn struct {
	*scripted
	release, ended chan struct{}
}

func (c *stubborn) Run(context.Context) error {
	<-c.release
	return nil
}

func (c *stubborn) Close() error {
	close(c.ended)
	return nil
}

func TestWithoutCollector(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	h.o.Open = func(context.Context, CollectorOptions) (Collector, error) {
		h.c.ready <- struct{}{}
		return nil, fmt.Errorf("not root: %w", picket.Denied)
	}
	h.start()
	g.await("report without hooks", func() bool {
		n := len(g.healths)
		return n > 0 && len(g.healths[n-1].Hooks) == len(Kinds) && g.healths[n-1].Hooks[0].Error == "not root: denied"
	})
	equal(t, "off", h.status().Rung)
	g.await("note", g.noted(noteNoCollector))
	h.stop()
}

func TestSpoolOfAnotherLife(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	h.start()
	h.c.emit(10)
	h.rowsAtServer(31)
	h.stop()
	h.rowsAtServer(32)
	must(t, os.RemoveAll(filepath.Join(h.dir, "spool")))
	g.set(func() { g.rows = map[string]int{} })
	h.start()
	h.c.emit(10)
	h.rowsAtServer(31)
	g.await("note", g.noted(noteRenumbered))
	h.stop()
	g.set(func() { equal(t, uint64(0), g.gaps) })
}

func TestClockDifference(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, time.Hour, -24 * time.Hour} {
		g := newGateway(t)
		g.skew = skew
		h := enrolled(t, g)
		h.start()
		g.await("contact noted", g.noted(noteContact))
		h.stop()
		g.await("end noted", g.noted(noteStopped))
		g.mu.Lock()
		equal(t, skew != 0, slices.Contains(g.notesSeen(), noteClock.ID))
		g.mu.Unlock()
	}
}

func TestCopiedHost(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	h.o.Facts = func() *wirepb.Facts {
		f := testFacts(testBoot)()
		f.MachineId = "m2"
		return f
	}
	h.start()
	g.await("note", g.noted(noteCopied))
	h.stop()
}

func TestOneAgentPerFolder(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	h.start()
	if err := Run(t.Context(), h.o); !errors.Is(err, picket.Conflict) {
		t.Errorf("second agent: %v", err)
	}
	h.stop()
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for name, c := range map[string]struct {
		spoil func(h *harness)
		want  error
	}{
		"not enrolled":    {func(h *harness) { os.Remove(filepath.Join(h.dir, identityFile)) }, picket.NotFound},
		"broken identity": {func(h *harness) { os.WriteFile(filepath.Join(h.dir, identityFile), []byte("{}"), 0o600) }, picket.Invalid},
		"bad server":      {func(h *harness) { h.o.Server = "x:y:z" }, picket.Invalid},
		"bad proxy":       {func(h *harness) { h.o.Proxy = "ftp://x" }, picket.Invalid},
		"bad boot id":     {func(h *harness) { h.o.Facts = testFacts("") }, picket.Invalid},
		"spool is no dir": {func(h *harness) { os.WriteFile(filepath.Join(h.dir, "spool"), nil, 0o600) }, nil},
	} {
		h := enrolled(t, g)
		c.spoil(h)
		err := Run(t.Context(), h.o)
		if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
