// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor"
	"github.com/picket-edr/picket/sensor/redact"
)

const (
	linger     = 5 * time.Millisecond // rows wait so long for company
	statsPace  = time.Second
	drainTime  = 8 * time.Second // to pass on what is left when stopping
	lastFrames = 2 * time.Second // for an agent that lives to end a link that we ended
)

// errAgentGone ends a link.
var errAgentGone = errors.New("the agent has gone")

// CollectOptions are what a collector process needs.
type CollectOptions struct {
	Log   *slog.Logger
	Level *slog.LevelVar
	Open  sensor.OpenCollector // nil: of this platform
}

// station is the collector process: one collector at a time, which outlives
// the agents that it works for.
type station struct {
	o     CollectOptions
	base  slog.Level // as configured
	queue *queue

	stopped   chan error // how the collector ended; one value for each that was opened
	stop      context.CancelFunc
	device    string
	policy    *sensor.Policy // in force
	redactor  atomic.Pointer[redact.Redactor]
	scripts   atomic.Pointer[string] // level of the policy in force
	secret    []byte                 // key of the redactor's markers, for this run alone
	mu        sync.Mutex
	collector sensor.Collector // nil: none is open
	told      map[string]uint64
}

// Collect runs the collector until ctx ends, for one agent after the other.
func (c *Child) Collect(ctx context.Context, o CollectOptions) error {
	if o.Open == nil {
		o.Open = sensor.OpenHost
	}
	s := &station{o: o, told: map[string]uint64{}, secret: make([]byte, 32)}
	rand.Read(s.secret) // never fails
	s.obeyPolicy(nil)
	if o.Level != nil {
		s.base = o.Level.Level()
	}
	for {
		select {
		case <-ctx.Done():
			return s.end()
		case l := <-c.links:
			err := s.serve(ctx, l)
			l.close()
			if err != nil && !errors.Is(err, errAgentGone) {
				return errors.Join(err, s.end())
			}
			if ctx.Err() == nil && s.current() != nil {
				o.Log.Warn("the agent has gone; collecting goes on", "error", err)
			}
		}
	}
}

// end stops a collector for which no agent is left.
func (s *station) end() error {
	if s.current() == nil {
		return nil
	}
	s.stop()
	return <-s.stopped
}

func (s *station) current() sensor.Collector {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.collector
}

// asked is what an agent wants that the station's own goroutine has to do.
type asked struct {
	kind    byte
	payload []byte
}

// serve works for one agent until it has gone or ctx has ended and everything
// was passed on.
func (s *station) serve(ctx context.Context, l *link) error {
	if s.queue == nil {
		p := *l.page // the first page stays; those of later links are the same memory
		s.queue = newQueue(&p)
		l.page = nil
	}
	if e, ok := s.current().(sensor.Excluder); ok {
		e.Exclude(l.pids)
	}
	asks := make(chan asked, 16)
	var reader sync.WaitGroup
	reader.Go(func() { s.read(l, asks) })
	defer func() { // what a dead agent had taken stands in its last frames
		_ = l.conn.CloseWrite()
		_ = l.conn.SetReadDeadline(time.Now().Add(lastFrames))
		reader.Wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return s.end()
		case a, ok := <-asks:
			if !ok {
				return errAgentGone
			}
			if a.kind != kindOpen {
				continue // nothing is open: a policy comes again after the opening
			}
			open, err := s.opening(ctx, l, a.payload)
			if err != nil {
				return err
			}
			if !open {
				continue
			}
			if err := s.pump(ctx, l, asks); err != nil {
				return err
			}
		}
	}
}

// read takes frames of the agent. Acknowledgements are worked off at once, so
// that the agent never waits while this process waits for it.
func (s *station) read(l *link, asks chan<- asked) {
	defer close(asks)
	for {
		kind, payload, err := l.read()
		if err != nil {
			return
		}
		switch kind {
		case kindTake, kindKept:
			n, err := number(payload)
			if err != nil {
				return
			}
			if kind == kindTake {
				s.queue.take(n)
			} else {
				s.queue.keep(n)
			}
			s.queue.signal()
		case kindOpen, kindPolicy, kindStop:
			select {
			case asks <- asked{kind, payload}:
			default:
				return // nobody asks so much
			}
		default:
			return
		}
	}
}

// opening answers an agent that wants the collector. It reports whether one is
// open now.
func (s *station) opening(ctx context.Context, l *link, payload []byte) (bool, error) {
	var o opening
	if err := json.Unmarshal(payload, &o); err != nil || !picket.ValidDeviceID(o.DeviceID) {
		return false, fmt.Errorf("the agent does not say who it is: %w", errAgentGone)
	}
	if s.current() != nil && s.device != o.DeviceID {
		return false, fmt.Errorf("the agent is another device now: %w", picket.Conflict) // the process starts again
	}
	s.obeyPolicy(o.Policy)
	if s.current() == nil {
		if err := s.open(ctx, l, o); err != nil {
			return false, gone(l.writeJSON(kindFailed, ended{Error: err.Error()}))
		}
	}
	lost, first := s.queue.relink()
	if lost > 0 {
		s.queue.add(lossRow("agent.killed", lost, s.queue.losses()))
	}
	st := s.stats()
	st.Lost = maps.Clone(s.told) // what comes on top is for this agent to tell
	if err := l.writeJSON(kindOpened, opened{Stats: st, Next: first}); err != nil {
		return false, gone(err)
	}
	return true, gone(s.tell(l))
}

// gone says that an agent cannot be reached.
func gone(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errAgentGone, err)
}

func (s *station) open(ctx context.Context, l *link, o opening) error {
	c, err := s.o.Open(ctx, sensor.CollectorOptions{
		DeviceID: o.DeviceID, BootID: o.BootID, Log: s.o.Log, Sink: s.queue.add,
		NextReportID: func() int64 { return 0 }, // the agent numbers rows when they arrive
		Flush:        func() {}, Wake: func() {}, ExcludePIDs: l.pids, Redactor: s.redactor.Load, Policy: s.policy,
		ScriptContent: func() string { return *s.scripts.Load() },
	})
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.device, s.stop, s.stopped = o.DeviceID, stop, make(chan error, 1)
	s.mu.Lock()
	s.collector = c
	s.mu.Unlock()
	go func() { s.stopped <- errors.Join(c.Run(run), c.Close()) }()
	return nil
}

// lossRow tells the server of rows that were lost between the processes, now
// and in all.
func lossRow(class string, n uint64, total map[string]uint64) event.Row {
	detail, err := json.Marshal(map[string]any{"Lost": map[string]uint64{class: n}, "Total": total})
	if err != nil {
		detail = nil // a map of numbers: cannot fail
	}
	return &event.DeviceEvents{
		Timestamp: event.TimeOf(time.Now()), ActionType: "SensorLoss", InitiatingProcessFileName: "picket-sensor",
		InitiatingProcessId: int64(os.Getpid()), AdditionalFields: string(detail),
	}
}

// pump passes rows to the agent until the collector has ended, which is no
// error, or the agent has gone.
func (s *station) pump(ctx context.Context, l *link, asks <-chan asked) error {
	tick := time.NewTicker(statsPace)
	defer tick.Stop()
	soon := time.NewTimer(linger)
	defer soon.Stop()
	stopped, done := s.stopped, ctx.Done()
	var last *ended
	var late <-chan time.Time
	for {
		if last != nil && s.queue.empty() {
			return s.finish(l, *last)
		}
		var err error
		select {
		case <-done:
			s.stop()
			done, late = nil, time.After(drainTime)
		case <-late:
			return gone(context.DeadlineExceeded)
		case end := <-stopped:
			stopped, last = nil, &ended{}
			if end != nil {
				last.Error = end.Error()
			}
			last.Stats = s.stats()
			s.mu.Lock()
			s.collector = nil
			s.mu.Unlock()
			err = s.send(l)
		case a, ok := <-asks:
			if !ok {
				return errAgentGone
			}
			s.obey(a)
		case <-tick.C:
			err = s.tell(l)
		case <-s.queue.wake:
			if s.queue.full() || last != nil {
				err = s.send(l)
			} else {
				soon.Reset(linger)
			}
		case <-soon.C:
			err = s.send(l)
		}
		if err != nil {
			return gone(err)
		}
	}
}

// send passes on what the agent may have.
func (s *station) send(l *link) error {
	for {
		f, ok := s.queue.pass()
		if !ok {
			return nil
		}
		if err := l.write(kindRows, append(f.append(make([]byte, 0, f.size+30)), f.data...)); err != nil {
			return err
		}
	}
}

// obey does what the agent asks of an open collector.
func (s *station) obey(a asked) {
	switch a.kind {
	case kindStop:
		s.stop()
	case kindPolicy:
		s.obeyPolicy(a.payload)
	}
}

// obeyPolicy puts a policy in force; nothing is the default.
func (s *station) obeyPolicy(text []byte) {
	p, err := sensor.ParsePolicy(text)
	var r *redact.Redactor
	if err == nil {
		r, err = redact.New(p.Redact, s.secret)
	}
	if err != nil {
		s.o.Log.Warn("the agent sent a policy that is none", "error", err)
		return
	}
	s.redactor.Store(r)
	s.policy = p
	level := p.Scripts()
	s.scripts.Store(&level)
	if t, ok := s.current().(sensor.PolicyTaker); ok {
		t.SetPolicy(p)
	}
	if s.o.Level != nil {
		level := s.base
		if p.LogLevel != "" {
			level, _ = sensor.ParseLevel(p.LogLevel) // checked by ParsePolicy
		}
		s.o.Level.Set(level)
	}
}

// stats describes the collector that is open.
func (s *station) stats() stats {
	st := stats{Rung: "off", Refused: s.queue.page.refused.Load(), Processes: []sensor.Process{
		sensor.ReadProcess(os.Getppid(), roleSupervisor), sensor.OwnProcess(RoleCollector),
	}}
	if c := s.current(); c != nil {
		st.Rung, st.Hooks = c.Rung(), c.Hooks()
		st.Events, st.Lost = c.Counters()
		if a, ok := c.(sensor.Accountant); ok {
			st.Usage = a.Usage()
		}
	}
	if st.Lost == nil {
		st.Lost = map[string]uint64{}
	}
	for class, n := range s.queue.losses() {
		st.Lost[class] += n
	}
	return st
}

func (s *station) tell(l *link) error {
	st := s.stats()
	if err := l.writeJSON(kindStats, st); err != nil {
		return err
	}
	s.told = st.Lost
	return nil
}

// finish says that the collector has ended. The next one counts from zero.
func (s *station) finish(l *link, last ended) error {
	s.told = map[string]uint64{}
	s.queue.forget()
	return gone(l.writeJSON(kindEnded, last))
}
