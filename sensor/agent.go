// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/redact"
	"github.com/picket-edr/picket/sensor/spool"
	"github.com/picket-edr/picket/wire/wirepb"
)

// Options are what an agent needs.
type Options struct {
	Dir        string // data folder with the identity
	Server     string // host:port; empty: where the sensor enrolled
	Proxy      string // as for ParseProxy
	SpoolLimit int64  // bytes; 0: the spool's default
	Log        *slog.Logger
	Level      *slog.LevelVar           // that Log obeys; nil: policies do not change it
	Facts      func() *wirepb.Facts     // nil: HostFacts
	Root       string                   // of the host's files that tell of a shutdown; empty: /
	Open       OpenCollector            // nil: of this platform
	Notify     func(state string) error // tells the service manager; nil: directly
	Processes  func() []Process         // of the sensor, the one to signal first; nil: this one
	Timing     Timing
}

// Timing is how often and how long. Zero values mean the default.
type Timing struct {
	Flush       time.Duration // longest wait of an event for its batch: 150 ms
	Health      time.Duration // between two reports: 30 s
	Backoff     time.Duration // first pause before connecting again: 500 ms
	BackoffMax  time.Duration // longest such pause: 1 min
	RefusedWait time.Duration // pause after the server refused the device: 1 min
	Stall       time.Duration // without an acknowledgement before connecting again: 2 min
	Drain       time.Duration // time to send what is left when stopping: 3 s
	Stop        time.Duration // for the collector to pass on what it has: 10 s
	Collector   time.Duration // first pause before opening a failed collector again: 5 s
	CollectMax  time.Duration // longest such pause: 5 min
	Renew       time.Duration // between two looks at the certificate: 10 min
	Lock        time.Duration // for another run on the folder to end: 2 s
	Watch       time.Duration // between two looks at losses, spool and certificate: 1 s
}

func (t *Timing) setDefaults() {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&t.Flush, 150 * time.Millisecond}, {&t.Health, 30 * time.Second}, {&t.Backoff, 500 * time.Millisecond},
		{&t.BackoffMax, time.Minute}, {&t.RefusedWait, time.Minute}, {&t.Stall, 2 * time.Minute}, {&t.Drain, 3 * time.Second},
		{&t.Collector, 5 * time.Second}, {&t.CollectMax, 5 * time.Minute}, {&t.Renew, 10 * time.Minute}, {&t.Watch, time.Second}, {&t.Lock, 2 * time.Second}, {&t.Stop, 10 * time.Second},
	} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
}

// agent is one run of the sensor.
type agent struct {
	o      Options
	facts  *wirepb.Facts // at start
	vault  *vault
	notes  *notes
	spool  *spool.Spool
	intake *intake
	uplink *uplink
	usage  *usage
	clock  *hostClock
	since  time.Time

	flushMu   sync.Mutex // held while batches are appended, so that they stay in order
	lastFlush atomic.Int64
	pace      atomic.Int64 // of flushes, nanoseconds
	health    atomic.Int64 // between reports, nanoseconds
	redactor  atomic.Pointer[redact.Redactor]
	scripts   atomic.Pointer[string] // level of the policy in force
	secret    []byte                 // key of the redactor's markers, for this run alone

	mu        sync.Mutex
	collector Collector         // nil: none is open
	hooks     []picket.Hook     // of the last collector, or why there is none
	lostOnce  map[string]uint64 // by collectors that are closed
	policy    uint64            // version in force
	inForce   *Policy
	level     slog.Level // as configured
}

// Run runs the sensor until ctx ends. Then it stops collecting, keeps what is
// left, and gives the server a moment to take it.
func Run(ctx context.Context, o Options) error {
	o.Timing.setDefaults()
	if o.Facts == nil {
		o.Facts = HostFacts
	}
	if o.Open == nil {
		o.Open = OpenHost
	}
	if o.Notify == nil {
		o.Notify = NotifySystemd
	}
	if o.Processes == nil {
		o.Processes = func() []Process { return []Process{OwnProcess("sensor")} }
	}
	a := &agent{o: o, facts: o.Facts(), notes: &notes{log: o.Log}, intake: newIntake(), usage: newUsage(o.Processes), clock: newHostClock(readClocks), since: time.Now(), lostOnce: map[string]uint64{}}
	if o.Level != nil {
		a.level = o.Level.Level()
	}
	lock, err := a.start(ctx)
	if err != nil {
		a.notes.add(noteStartFailed, "the sensor failed to start", "error", err)
		return err
	}
	defer lock.Close()
	a.run(ctx)
	if err := a.spool.Close(); err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}

// start takes hold of the data folder and opens what lies in it.
func (a *agent) start(ctx context.Context) (lock *os.File, err error) {
	id, err := LoadIdentity(a.o.Dir)
	switch {
	case errors.Is(err, picket.NotFound):
		a.notes.add(noteNotEnrolled, "the sensor is not enrolled", "data", a.o.Dir)
		return nil, err
	case err != nil:
		a.notes.add(noteIdentityBad, "the identity cannot be read", "error", err)
		return nil, err
	}
	if lock, err = a.lock(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if a.vault, err = newVault(a.o.Dir, id); err != nil {
		return nil, err
	}
	server := id.Server
	if a.o.Server != "" {
		server = a.o.Server
	}
	if server, err = ParseServer(server); err != nil {
		return nil, err
	}
	ways, err := Ways(a.o.Proxy, server)
	if err != nil {
		return nil, err
	}
	a.notes.add(noteStarted, "the sensor started, version "+picket.Version, "server", server)
	a.notes.add(noteDeviceID, "device id "+id.DeviceID, "tenant", id.Tenant)
	if m := a.facts.MachineId; m != "" && id.MachineID != "" && m != id.MachineID {
		a.notes.add(noteCopied, "the identity was made on another machine", "made_on", id.MachineID, "runs_on", m)
	}
	a.spool, err = spool.Open(spool.Options{
		Dir: filepath.Join(a.o.Dir, "spool"), BootID: a.facts.BootId, Limit: a.o.SpoolLimit, Log: a.o.Log,
	})
	if err != nil {
		return nil, err
	}
	takeFarewell(a.o.Dir) // it was meant for the run before
	a.uplink = newUplink(a, server, ways)
	a.lastFlush.Store(time.Now().UnixNano())
	a.pace.Store(int64(a.o.Timing.Flush))
	a.health.Store(int64(a.o.Timing.Health))
	a.secret = make([]byte, 32)
	rand.Read(a.secret) // never fails
	a.setRedactor(redact.Policy{})
	level := (&Policy{}).Scripts()
	a.scripts.Store(&level)
	a.loadPolicy()
	return lock, nil
}

// lock takes the data folder. A run that is just ending gets a moment.
func (a *agent) lock(ctx context.Context) (*os.File, error) {
	for end := time.Now().Add(a.o.Timing.Lock); ; sleep(ctx, 20*time.Millisecond) {
		f, err := lockDir(a.o.Dir)
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return f, err
		}
	}
}

// run works until ctx ends. Its parts end in this order: collector, batches,
// connection.
func (a *agent) run(ctx context.Context) {
	rest, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var parts errgroup.Group
	parts.Go(func() error { a.batch(rest); return nil })
	parts.Go(func() error { a.uplink.run(rest); return nil })
	parts.Go(func() error { a.watch(rest); return nil })
	if l, done, err := listenStatus(a.o.Dir); err != nil {
		a.notes.add(noteStepFailed, "status for local commands is not available: "+err.Error())
	} else {
		defer done()
		parts.Go(func() error { return serveStatus(rest, l, a.status) })
	}
	a.sayStarted()
	a.systemd("READY=1")
	a.collectUntil(ctx)
	why := a.goodbye(rest)
	a.notes.add(noteStopped, "the sensor stopped", "reason", why)
	lost, _ := a.losses()
	a.say("SensorStopped", map[string]any{"Version": picket.Version, "Reason": why, "Lost": lost})
	a.flush()
	a.spool.TellLosses()
	a.drain()
	a.uplink.farewell(why)
	stop()
	if err := parts.Wait(); err != nil {
		a.o.Log.Error("a part of the sensor failed", "error", err)
	}
}

func (a *agent) systemd(state string) {
	if err := a.o.Notify(state); err != nil {
		a.o.Log.Warn("service manager cannot be told", "state", state, "error", err)
	}
}

// previousStop says how the run before ended.
func (a *agent) previousStop() string {
	switch r := a.spool.Recovery(); {
	case r.Unclean && r.SameBoot:
		return "unclean"
	case r.Unclean:
		return "unclean before a boot"
	}
	return "clean"
}

// sayStarted tells the server that this run begins and how the last one ended.
func (a *agent) sayStarted() {
	r := a.spool.Recovery()
	switch {
	case r.Unclean && r.SameBoot:
		a.notes.add(noteUncleanStop, fmt.Sprintf("the run before did not stop in order; events after number %d may be missing", r.LastReport))
	case r.Unclean:
		a.notes.add(noteUncleanStop, "the run before the boot did not stop in order; its last events may be missing")
	}
	if r.Batches > 0 {
		a.notes.add(noteSpoolDamaged, fmt.Sprintf("%d damaged places in the spool, at least %d events lost", r.Batches, r.Damaged))
	}
	more := map[string]any{"Version": picket.Version, "PreviousStop": a.previousStop()}
	if r.SameBoot {
		more["PreviousReportId"] = r.LastReport
	}
	a.say("SensorStarted", more)
}

// say makes a row about the sensor itself.
func (a *agent) say(action string, more map[string]any) {
	a.sayAt(event.TimeOf(time.Now()), action, more)
}

// sayAt makes a row about the sensor itself or its host.
func (a *agent) sayAt(at event.Time, action string, more map[string]any) {
	detail, err := json.Marshal(more)
	if err != nil {
		a.o.Log.Error("describe the sensor", "error", err)
		return
	}
	a.intake.add(&event.DeviceEvents{
		Timestamp: at, ActionType: action, ReportId: a.spool.NextReportID(),
		InitiatingProcessFileName: "picket-sensor", InitiatingProcessId: int64(os.Getpid()), AdditionalFields: string(detail),
	})
}

// batch appends what came in to the spool, until ctx ends.
func (a *agent) batch(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			a.flush()
			return
		case <-a.intake.wake:
		}
		timer.Reset(time.Duration(a.pace.Load()))
		for waiting := !a.intake.full(); waiting; {
			select {
			case <-ctx.Done():
				waiting = false
			case <-timer.C:
				waiting = false
			case <-a.intake.wake:
				waiting = !a.intake.full()
			}
		}
		a.flush()
	}
}

// flush appends everything that waits.
func (a *agent) flush() {
	a.flushMu.Lock()
	defer a.flushMu.Unlock()
	a.mu.Lock()
	keeper, _ := a.collector.(Keeper)
	a.mu.Unlock()
	var passed uint64
	if keeper != nil {
		passed = keeper.Passed()
	}
	for _, u := range a.intake.take() {
		if err := a.spool.AppendPart(u.class, u.blocks, u.rest); err != nil {
			a.o.Log.Debug("batch not kept", "class", u.class.String(), "rows", u.rows, "error", err) // the spool counts it
		}
		a.intake.done(u)
	}
	if keeper != nil {
		keeper.Kept(passed)
	}
	a.lastFlush.Store(time.Now().UnixNano())
}

// drain gives the server a moment to take what is left.
func (a *agent) drain() {
	end := time.NewTimer(a.o.Timing.Drain)
	defer end.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	a.uplink.reportSoon()
	for (a.spool.Pending() || !a.notes.none()) && a.uplink.connected() {
		select {
		case <-end.C:
			return
		case <-look.C:
		}
	}
}

// collectUntil keeps a collector open until ctx ends. A collector that has too
// much left to pass on is not waited for.
func (a *agent) collectUntil(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.supervise(ctx)
	}()
	<-ctx.Done()
	a.systemd("STOPPING=1")
	late := time.NewTimer(a.o.Timing.Stop)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		a.notes.add(noteStepFailed, fmt.Sprintf("the collector did not stop within %v; what it has not passed on is lost", a.o.Timing.Stop))
	}
}

// supervise keeps a collector open until ctx ends.
func (a *agent) supervise(ctx context.Context) {
	for pause := a.o.Timing.Collector; ctx.Err() == nil; pause = min(2*pause, a.o.Timing.CollectMax) {
		began := time.Now()
		err := a.collect(ctx)
		if ctx.Err() != nil {
			if err != nil {
				a.notes.add(noteStepFailed, "the collector did not stop in order", "error", err)
			}
			return
		}
		a.notes.add(noteStepFailed, "the collector stopped and is opened again", "error", err, "in", pause)
		if time.Since(began) > 10*time.Minute {
			pause = a.o.Timing.Collector
		}
		sleep(ctx, pause)
	}
}

// collect opens a collector and runs it until it or ctx ends.
func (a *agent) collect(ctx context.Context) error {
	id, _ := a.vault.get()
	a.mu.Lock()
	p := a.inForce
	a.mu.Unlock()
	c, err := a.o.Open(ctx, CollectorOptions{
		DeviceID: id.DeviceID, BootID: a.facts.BootId, Log: a.o.Log, Sink: a.intake.add, NextReportID: a.spool.NextReportID,
		Redactor: a.redactor.Load, ScriptContent: func() string { return *a.scripts.Load() },
		Policy: p, Flush: a.flush, Wake: a.intake.signal,
	})
	if err != nil {
		a.notes.add(noteNoCollector, "no events are collected: "+err.Error())
		a.setCollector(nil, offHooks(err))
		return fmt.Errorf("open collector: %w", err)
	}
	hooks := c.Hooks()
	for _, h := range hooks {
		if !h.Attached {
			a.notes.add(noteHookMissing, fmt.Sprintf("%s events are not collected: %s", h.Kind, h.Error))
		}
	}
	a.setCollector(c, hooks)
	a.mu.Lock()
	p = a.inForce
	a.mu.Unlock()
	if t, ok := c.(PolicyTaker); ok && p != nil {
		t.SetPolicy(p)
	}
	err = c.Run(ctx)
	_, lost := c.Counters()
	a.mu.Lock()
	for class, n := range lost {
		a.lostOnce[class] += n
	}
	a.collector = nil
	a.mu.Unlock()
	return errors.Join(err, c.Close())
}

func (a *agent) setCollector(c Collector, hooks []picket.Hook) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.collector, a.hooks = c, hooks
}

// offHooks says that no kind of event is collected.
func offHooks(err error) []picket.Hook {
	var hooks []picket.Hook
	for _, k := range Kinds {
		hooks = append(hooks, picket.Hook{Kind: k, Rung: "off", Error: err.Error()})
	}
	return hooks
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
