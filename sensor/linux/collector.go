// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/command"
	"github.com/picket-edr/picket/sensor/linux/container"
	"github.com/picket-edr/picket/sensor/linux/facts"
	"github.com/picket-edr/picket/sensor/linux/kernel"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Options say for whom and whereto a Collector works.
type Options struct {
	DeviceID      string                   // part of every process GUID
	BootID        string                   // "": the kernel's
	Log           *slog.Logger             // nil: none
	Sink          func(event.Row) bool     // takes a row; must not block; false counts it as lost
	HashMaxBytes  int64                    // larger images are not hashed; 0: 256 MiB
	ContainerRoot string                   // where runtimes keep their state; "": /
	ExcludePIDs   []int                    // processes whose doings are not collected
	NextReportID  func() int64             // number of the next row within the boot
	Redactor      func() *command.Redactor // the one in force, any time; nil: built-in rules
	ScriptContent func() string            // what is told of scripts, any time, one of command.ScriptLevels; nil: the default
	Rungs         map[string]string        // rung to take by kind of event; empty: the best that works

	root       string // whose files are watched; "": /
	watchSince int64  // Unix time of changes that the baseline leaves out; 0: now
}

// Collector gathers the events of this host.
type Collector struct {
	o      Options
	log    *slog.Logger
	host   string
	hookMu sync.Mutex // guards hooks
	hooks  []picket.Hook
	kernel *kernel.Kernel
	rings  *kernel.Rings

	clock      *clock
	lost, sent *tally
	limited    *tally // left out by limits and shedding
	frugal     *frugal
	meter      *meter
	out        *outbox
	hash       *hasher
	careful    *careful
	proc       *procfs.FS
	users      *users
	containers *container.Cache
	plans      plans
	builtin    *command.Redactor
	cache      *cache
	names      *names
	found      *foundStreams
	streams    *streams
	lately     *record.Lately
	pidNS      uint32 // of the sensor
	logons     *logon.Watcher
	sources    []*source
	scripts    *scripts
	watcher    *watcher
	inbox      chan func() // work that other goroutines leave for the reader

	booted     event.Time // worked out once: it drifts with the clock
	held       map[heldKey]*record.File
	patient    []queued          // rows of the snapshot that wait for their hash
	snapshotAt uint64            // boot clock
	told       map[string]uint64 // losses that a row has told
	lossTimes  lossTimes
	counters   struct {
		last   []kernel.Counter
		missed uint64 // runs of programs that the kernel skipped
	}
	closing   sync.Once
	excluding sync.Mutex
}

// Open probes the host and attaches the best hook that works for each kind of
// event. It fails only when nothing at all can be collected.
func Open(ctx context.Context, o Options) (*Collector, error) {
	if o.Sink == nil || o.NextReportID == nil {
		return nil, fmt.Errorf("collector without sink or report numbers: %w", picket.Invalid)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.BootID == "" {
		o.BootID = facts.BootID()
	}
	c := assemble(o, facts.HostName(), newUsers("/etc/passwd", "/etc/group"), o.ContainerRoot, logon.HostPaths())
	c.pidNS = procfs.OwnPidNamespace()
	c.clock.sync()
	c.booted = event.Time(c.clock.offset.Load() / 1000)
	c.watcher = newWatcher(c, cmp.Or(o.root, "/"), cmp.Or(o.watchSince, time.Now().Unix()-attachSlip))
	if err := c.openKernel(); err != nil {
		c.log.WarnContext(ctx, "kernel events cannot be collected", "error", err)
	}
	c.hooks = append(c.hooks, c.logons.Hook(c.Rung() != "off"))
	c.addSources(sourceList())
	for _, h := range c.hooks {
		c.log.InfoContext(ctx, "hook", "kind", h.Kind, "rung", h.Rung, "attached", h.Attached, "error", h.Error)
	}
	if !slices.ContainsFunc(c.hooks, func(h picket.Hook) bool { return h.Attached }) {
		return nil, errors.Join(fmt.Errorf("no hook works on this host: %w", picket.Unavailable), c.Close())
	}
	debug.FreeOSMemory() // loading took many times what collecting needs
	return c, nil
}

// assemble puts a collector together that is not attached to anything.
func assemble(o Options, host string, u *users, root string, paths logon.Paths) *Collector {
	c := &Collector{o: o, log: o.Log, host: host, clock: &clock{}, lost: newTally(), sent: newTally(), limited: newTally(), frugal: newFrugal(), meter: newMeter(),
		users: u, plans: newPlans(), names: newNames(), found: newFoundStreams(), streams: newStreams(),
		held: map[heldKey]*record.File{}, inbox: make(chan func(), 256)}
	c.lately = &record.Lately{}
	c.builtin = command.Builtin()
	c.cache = newCache(o.DeviceID, o.BootID, c.clock, c.lost)
	c.out = newOutbox(o.Sink, o.NextReportID, c.lost, c.sent)
	c.hash = newHasher(o.HashMaxBytes, c.lost, func() { c.out.flush(false) })
	c.careful = newCareful(c.lost)
	c.containers = container.NewCache(container.Options{Root: root, Guard: func(look func() *container.Info) (*container.Info, bool) {
		return attempt(c.careful, look)
	}})
	c.proc = &procfs.FS{Read: c.careful.read}
	c.logons = newLogons(paths, c)
	c.scripts = newScripts()
	return c
}

func (c *Collector) openKernel() error {
	c.kernel, c.hooks = kernel.Open(c.o.Rungs)
	c.Exclude(c.o.ExcludePIDs)
	c.applyLimits()
	r, err := c.kernel.Rings()
	c.rings = r
	return err
}

// Run takes the snapshot, then follows the host until ctx ends, and passes on
// what is left in the rings before it returns.
func (c *Collector) Run(ctx context.Context) error {
	workers, stop := context.WithCancel(context.WithoutCancel(ctx))
	var hashers sync.WaitGroup
	for _, spare := range []bool{true, false} {
		hashers.Go(func() { c.hash.run(workers, spare) })
	}
	watching, stopWatching := context.WithCancel(workers)
	watched := make(chan struct{})
	go func() {
		c.watcher.run(watching)
		close(watched)
	}()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.logons.Run(gctx) })
	for _, s := range c.sources {
		g.Go(func() error { return c.runSource(gctx, s) })
	}
	g.Go(func() error { return c.inventory(gctx) })
	g.Go(func() error { return c.read(gctx) })
	err := g.Wait()
	c.runInbox() // what was left when the reader had ended
	stopWatching()
	c.await(watched, "a changed file is still being read")
	c.out.flush(true)
	stop()
	done := make(chan struct{})
	go func() {
		hashers.Wait()
		close(done)
	}()
	c.await(done, "a file is still being hashed")
	return err
}

// await waits for a goroutine, but not for ever: a disk that does not answer
// must not keep the sensor.
func (c *Collector) await(done <-chan struct{}, late string) {
	select {
	case <-done:
	case <-time.After(stopWait):
		c.log.Warn(late)
	}
}

// Hooks tells how each kind of event is collected and what cannot be seen.
func (c *Collector) Hooks() []picket.Hook {
	hooks := c.listHooks()
	for i := range hooks {
		if hooks[i].Kind == "logon" { // logs come and go
			hooks[i] = c.logons.Hook(processRung(hooks) != "off")
		}
	}
	return hooks
}

func (c *Collector) listHooks() []picket.Hook {
	c.hookMu.Lock()
	defer c.hookMu.Unlock()
	return slices.Clone(c.hooks)
}

// Rung names the rung of the hook ladder that processes are collected by.
func (c *Collector) Rung() string { return processRung(c.listHooks()) }

func processRung(hooks []picket.Hook) string {
	for _, h := range hooks {
		if h.Kind == "process" && h.Attached {
			return h.Rung
		}
	}
	return "off"
}

// Counters returns the rows passed on by table and what was lost by class.
func (c *Collector) Counters() (events, lost map[string]uint64) {
	return c.sent.copy(), c.lost.copy()
}

// Close detaches from the kernel. It may be called more than once.
func (c *Collector) Close() error {
	var err error
	c.closing.Do(func() {
		if c.rings != nil {
			err = c.rings.Close()
		}
		if c.kernel != nil {
			err = errors.Join(err, c.kernel.Close())
		}
		err = errors.Join(err, c.watcher.close())
		err = errors.Join(err, c.logons.Close())
	})
	return err
}

// Pace of the reader. The kernel wakes it at most every 10 ms and relies on it
// to look again after that time, see wake_flags in bpf/picket.h.
const (
	lookAgain   = 10 * time.Millisecond
	stayAwake   = 3 * lookAgain
	tick        = 500 * time.Millisecond
	bulkAtOnce  = 512 // bulk records between two looks at the priority ring
	tellLosses  = 5 * time.Second
	syncClock   = 10 * time.Second
	sweepFiles  = 5 * time.Second
	sweepFlows  = 30 * time.Second
	maxInARound = 1 << 16
	readerNice  = -10
	stopWait    = 5 * time.Second
)

// read is the one goroutine that turns records into rows and knows processes.
func (c *Collector) read(ctx context.Context) error {
	if c.rings == nil {
		return c.idle(ctx)
	}
	wake := context.AfterFunc(ctx, c.rings.Interrupt)
	defer wake()
	favour()
	c.snapshot()
	beat := newBeat(c)
	active := time.Now()
	for ctx.Err() == nil {
		c.runInbox()
		n := c.drain()
		now := time.Now()
		beat.at(now)
		switch {
		case n > 0:
			active = now
			time.Sleep(lookAgain)
		case now.Sub(active) < stayAwake || !c.out.idle() || len(c.patient) > 0:
			c.rings.Wait(lookAgain)
			c.out.flush(false)
			c.releasePatient(false)
		default:
			c.rings.Wait(tick)
		}
	}
	return c.finish()
}

// favour binds the calling goroutine to its thread and puts that before others
// of the host: a reader that waits behind a busy host loses what happens there.
// The thread ends with the goroutine. Where it is not permitted nothing changes.
func favour() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), readerNice)
}

// idle serves the other sources when the kernel gives nothing.
func (c *Collector) idle(ctx context.Context) error {
	favour()
	if c.Rung() != "off" {
		c.snapshot()
	}
	beat := newBeat(c)
	t := time.NewTicker(lookAgain)
	defer t.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case f := <-c.inbox:
			f()
		case now := <-t.C:
			beat.at(now)
			c.out.flush(false)
		}
	}
	c.runInbox()
	c.releasePatient(true)
	c.tellLosses()
	return nil
}

// finish detaches and empties the rings, so that all that was counted as
// produced has come out.
func (c *Collector) finish() error {
	c.kernel.WatchFiles(false)
	c.drainAll()
	c.releaseHeld(c.clock.now(), true)
	c.sweepOpenFiles(true) // while closes are still seen: a file is told once
	err := c.kernel.Detach()
	c.drainAll()
	c.runInbox()
	c.endStreams()
	c.releasePatient(true)
	c.releaseHeld(c.clock.now(), true)
	c.tellLimited()
	c.countLosses()
	c.tellLosses()
	if err != nil {
		return fmt.Errorf("detach from the kernel: %w", err)
	}
	return nil
}

func (c *Collector) drainAll() {
	for range maxInARound {
		if c.drain() == 0 {
			return
		}
	}
}

func (c *Collector) runInbox() {
	for {
		select {
		case f := <-c.inbox:
			f()
		default:
			return
		}
	}
}

// do leaves work for the reader's goroutine, which owns all process state.
// It reports whether there was room.
func (c *Collector) do(f func()) bool {
	select {
	case c.inbox <- f:
	default:
		return false
	}
	if c.rings != nil {
		c.rings.Interrupt()
	}
	return true
}

// drain passes on what the rings hold and returns how many records it saw.
// What a process did is never told before its start: after each batch of bulk
// records, which is set aside first, the priority ring is emptied.
func (c *Collector) drain() int {
	total := 0
	for total < maxInARound {
		batch := c.rings.TakeBulk(bulkAtOnce)
		n := c.rings.EachPriority(c.handle)
		for _, b := range batch {
			c.handle(b)
		}
		if n += len(batch); n == 0 {
			break
		}
		total += n
	}
	return total
}

// handle turns one record into rows.
func (c *Collector) handle(b []byte) {
	rec, err := record.Decode(b)
	if err != nil {
		c.lost.add("decode", 1)
		return
	}
	c.onRecord(rec)
}

// onRecord turns one decoded record, whoever made it, into rows.
func (c *Collector) onRecord(rec any) {
	if done := c.meter.note(rec); done != nil {
		defer done()
	}
	switch r := rec.(type) {
	case *record.Exec:
		c.onExec(r)
	case *record.Fork:
		c.onFork(r)
	case *record.Exit:
		c.onExit(r)
	case *record.File:
		c.onFile(r)
	case *record.PathOp:
		c.onPathOp(r)
	case *record.Net:
		c.onNet(r)
	case *record.Stream:
		c.onStream(r)
	case *record.Payload:
		c.onPayload(r)
	case *record.DNS:
		c.onDNS(r)
	case *record.Action:
		c.onAction(r)
	case *record.Line:
		c.onLine(r)
	}
}

// beat does what is due from time to time.
type beat struct {
	c                          *Collector
	tick, losses, clock, sweep time.Time
	flows                      time.Time
	limited                    time.Time
}

func newBeat(c *Collector) *beat {
	now := time.Now()
	return &beat{c: c, tick: now, losses: now, clock: now, sweep: now, flows: now}
}

func (b *beat) at(now time.Time) {
	if now.Sub(b.tick) >= tick {
		b.tick = now
		b.c.countLosses()
		b.c.govern(now)
		if now.Sub(b.limited) >= summarize {
			b.limited = now
			b.c.tellLimited()
			b.c.measure(now)
			b.c.publish()
		}
		b.c.users.refresh()
		b.c.cache.expire(b.c.clock.now())
		b.c.releaseHeld(b.c.clock.now(), false)
		b.c.releasePatient(false)
	}
	if now.Sub(b.losses) >= tellLosses {
		b.losses = now
		b.c.tellLosses()
	}
	if now.Sub(b.clock) >= syncClock {
		b.clock = now
		b.c.clock.sync()
	}
	if now.Sub(b.sweep) >= sweepFiles {
		b.sweep = now
		b.c.sweepOpenFiles(false)
	}
	if now.Sub(b.flows) >= sweepFlows {
		b.flows = now
		b.c.sweepFlows()
	}
}
