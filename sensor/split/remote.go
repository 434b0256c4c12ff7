// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor"
	"github.com/picket-edr/picket/wire/wirepb"
)

// remotes opens the collector of the other process, again and again.
type remotes struct {
	child      *Child
	supervisor int // process

	mu   sync.Mutex
	link *link // in use; nil: the next one is to come
	last []sensor.Process
}

// factsOf adds to the facts of the host what only root can read.
func factsOf(machine string) func() *wirepb.Facts {
	return func() *wirepb.Facts {
		f := sensor.HostFacts()
		f.HardwareUuid = machine
		return f
	}
}

// open waits for a collector process and has it open its collector.
func (r *remotes) open(ctx context.Context, o sensor.CollectorOptions) (sensor.Collector, error) {
	for {
		l, err := r.next(ctx)
		if err != nil {
			return nil, err
		}
		c, err := openRemote(ctx, r, l, o)
		if err == nil || ctx.Err() != nil || errors.Is(err, picket.Unavailable) {
			return c, err
		}
		r.drop(l) // the process has gone: another one will come
	}
}

// next returns the link in use or waits for one.
func (r *remotes) next(ctx context.Context) (*link, error) {
	r.mu.Lock()
	l := r.link
	r.mu.Unlock()
	select {
	case fresh := <-r.child.links:
		if l != nil {
			r.drop(l)
		}
		l = fresh
	default:
	}
	if l == nil {
		select {
		case l = <-r.child.links:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the collector: %w: %w", ctx.Err(), picket.Canceled)
		}
	}
	r.mu.Lock()
	r.link = l
	r.mu.Unlock()
	return l, nil
}

// drop gives a link up and asks for another, for the case that the collector
// process still runs.
func (r *remotes) drop(l *link) {
	l.close()
	_ = r.child.control.send(message{Kind: "relink"}) // a supervisor that has gone ends this process
	r.mu.Lock()
	defer r.mu.Unlock()
	r.link, r.last = nil, nil
}

// processes describes the sensor, the supervisor first.
func (r *remotes) processes() []sensor.Process {
	r.mu.Lock()
	list := append([]sensor.Process(nil), r.last...)
	r.mu.Unlock()
	if len(list) == 0 {
		list = []sensor.Process{sensor.ReadProcess(r.supervisor, roleSupervisor)}
	}
	return append(list, sensor.OwnProcess(RoleAgent))
}

// remote is the collector of another process.
type remote struct {
	r *remotes
	l *link
	o sensor.CollectorOptions

	passed, kept atomic.Uint64 // frames
	unkept       atomic.Int64  // bytes
	wake         chan struct{} // kept has grown

	next uint64 // number of the first row that has not arrived; used by Run only

	mu      sync.Mutex
	stats   stats
	base    map[string]uint64 // losses that an agent before has told
	refused uint64            // rows that this agent refused
	killed  uint64            // rows that the collector had when it was killed
}

// openRemote has the collector open and learns of its hooks.
func openRemote(ctx context.Context, r *remotes, l *link, o sensor.CollectorOptions) (*remote, error) {
	hurry := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer hurry()
	ask := opening{DeviceID: o.DeviceID, BootID: o.BootID}
	if o.Policy != nil {
		var err error
		if ask.Policy, err = json.Marshal(o.Policy); err != nil {
			return nil, fmt.Errorf("open collector: %w", err)
		}
	}
	if err := l.writeJSON(kindOpen, ask); err != nil {
		return nil, err
	}
	kind, payload, err := l.read()
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindOpened:
		var a opened
		if err := json.Unmarshal(payload, &a); err != nil {
			return nil, fmt.Errorf("open collector: %v: %w", err, picket.Invalid)
		}
		c := &remote{r: r, l: l, o: o, wake: make(chan struct{}, 1), next: a.Next, stats: a.Stats, base: a.Stats.Lost}
		c.learn(a.Stats)
		return c, nil
	case kindFailed:
		var a ended
		if err := json.Unmarshal(payload, &a); err != nil {
			return nil, fmt.Errorf("open collector: %v: %w", err, picket.Invalid)
		}
		return nil, fmt.Errorf("%s: %w", a.Error, picket.Unavailable)
	}
	return nil, fmt.Errorf("open collector: unexpected answer %q: %w", kind, picket.Invalid)
}

// Run implements sensor.Collector.
func (c *remote) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = c.l.write(kindStop, nil) }) // when it fails, reading does too
	defer stop()
	var acks sync.WaitGroup
	done := make(chan struct{})
	acks.Go(func() { c.acknowledge(done) })
	err := c.receive()
	close(done)
	acks.Wait()
	var bye *goodbye
	switch {
	case errors.As(err, &bye) && ctx.Err() != nil && bye.reason == "":
		return nil
	case bye != nil:
		return bye
	}
	c.collectorGone()
	return fmt.Errorf("the collector process has gone: %w", err)
}

// goodbye is the end of a collector that has passed on everything.
type goodbye struct{ reason string }

func (g *goodbye) Error() string { return "the collector ended: " + g.reason }

// receive takes frames until the collector ends or its process has gone.
func (c *remote) receive() error {
	for {
		kind, payload, err := c.l.read()
		if err != nil {
			return err
		}
		switch kind {
		case kindRows:
			err = c.rows(payload)
		case kindStats:
			var st stats
			if err = json.Unmarshal(payload, &st); err == nil {
				c.learn(st)
			}
		case kindEnded:
			var end ended
			if err = json.Unmarshal(payload, &end); err == nil {
				c.learn(end.Stats)
				c.o.Flush() // what arrived is safe before the collector forgets it
				return &goodbye{end.Error}
			}
		default:
			err = fmt.Errorf("unexpected frame %q: %w", kind, picket.Invalid)
		}
		if err != nil {
			return err
		}
	}
}

// rows passes on one frame. That it is taken is said first: a frame of which
// that was not said can come again without a row coming twice.
func (c *remote) rows(payload []byte) error {
	h, rest, err := parseRowsHead(payload)
	if err != nil {
		return err
	}
	err = c.l.writeNumber(kindTake, h.number)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return err // a dead collector sends nothing again: its last rows are as good as any
	}
	data := string(rest)
	for range h.rows {
		row, after, err := event.ReadRow(data)
		if err != nil {
			return err
		}
		data = after
		event.Number(row, c.o.NextReportID())
		if !c.o.Sink(row) {
			c.mu.Lock()
			c.refused++
			c.mu.Unlock()
		}
	}
	c.next = h.first + h.rows
	c.passed.Store(h.number)
	if c.unkept.Add(int64(len(payload))) > window/2 {
		c.o.Flush()
	} else {
		c.o.Wake()
	}
	return nil
}

// Passed implements sensor.Keeper.
func (c *remote) Passed() uint64 { return c.passed.Load() }

// Kept implements sensor.Keeper.
func (c *remote) Kept(passed uint64) {
	if passed == c.passed.Load() {
		c.unkept.Store(0)
	}
	c.kept.Store(passed)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// acknowledge tells the collector what is kept, until done is closed.
func (c *remote) acknowledge(done <-chan struct{}) {
	var told uint64
	for over := false; !over; {
		select {
		case <-c.wake:
		case <-done:
			over = true
		}
		if n := c.kept.Load(); n > told {
			told = n
			if c.l.writeNumber(kindKept, n) != nil {
				return // reading fails too
			}
		}
	}
}

// collectorGone counts what a killed collector had accepted and not sent, and
// what it had refused and not told.
func (c *remote) collectorGone() {
	accepted, refused := c.l.page.accepted.Load(), c.l.page.refused.Load()
	c.r.drop(c.l)
	c.mu.Lock()
	if accepted > c.next {
		c.killed = accepted - c.next
	}
	if refused > c.stats.Refused {
		c.refused += refused - c.stats.Refused
	}
	lost := map[string]uint64{}
	if c.killed > 0 {
		lost["collector.killed"] = c.killed
	}
	c.mu.Unlock()
	detail, err := json.Marshal(map[string]any{"Lost": lost, "Reason": "the collector process ended unexpectedly; what happened until it runs again was not seen"})
	if err != nil {
		return // strings and numbers: cannot fail
	}
	c.o.Sink(&event.DeviceEvents{
		Timestamp: event.TimeOf(time.Now()), ActionType: "SensorLoss", ReportId: c.o.NextReportID(),
		InitiatingProcessFileName: "picket-sensor", InitiatingProcessId: int64(os.Getpid()), AdditionalFields: string(detail),
	})
}

func (c *remote) learn(st stats) {
	c.mu.Lock()
	c.stats = st
	c.mu.Unlock()
	c.r.mu.Lock()
	c.r.last = st.Processes
	c.r.mu.Unlock()
}

// SetPolicy implements sensor.PolicyTaker.
func (c *remote) SetPolicy(p *sensor.Policy) {
	b, err := json.Marshal(p)
	if err == nil {
		_ = c.l.write(kindPolicy, b) // when it fails, reading does too, and the next collector gets it
	}
}

// Hooks implements sensor.Collector.
func (c *remote) Hooks() []picket.Hook {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats.Hooks
}

// Usage implements sensor.Accountant.
func (c *remote) Usage() sensor.Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats.Usage
}

// Rung implements sensor.Collector.
func (c *remote) Rung() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats.Rung
}

// Counters implements sensor.Collector.
func (c *remote) Counters() (events, lost map[string]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost = map[string]uint64{}
	for class, n := range c.stats.Lost {
		if n > c.base[class] {
			lost[class] = n - c.base[class]
		}
	}
	if c.refused > 0 {
		lost["queue.full"] += c.refused
	}
	if c.killed > 0 {
		lost["collector.killed"] = c.killed
	}
	return maps.Clone(c.stats.Events), lost
}

// Close implements sensor.Collector. The process goes on.
func (c *remote) Close() error { return nil }
