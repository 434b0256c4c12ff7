// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor/linux/facts"
	"github.com/picket-edr/picket/sensor/linux/kernel"
)

// Pauses of the supervisor.
const (
	firstPause = 250 * time.Millisecond // before a child that ended starts again; doubled each time
	lastPause  = time.Minute
	soundAfter = time.Minute            // of running; then pauses begin anew
	linkPause  = 100 * time.Millisecond // so that an agent cannot keep the supervisor busy
	agentEnd   = 19 * time.Second       // to stop before it is killed: what its own waits add up to
	childEnd   = 3 * time.Second
)

// Options are what a supervisor needs.
type Options struct {
	Dir    string          // data folder
	Config json.RawMessage // for the children
	Log    *slog.Logger
	Notify func(state string) error // tells the service manager
}

// child is a process that the supervisor started.
type child struct {
	role    string
	process *os.Process // nil: it does not run
	control *control
	began   time.Time
	pause   time.Duration
	again   *time.Timer // until it starts again
}

func (c *child) runs() bool { return c.process != nil }

// news is something that the supervisor's one goroutine has to know.
type news struct {
	from    *child
	process *os.Process
	message *message         // from the child
	exit    *os.ProcessState // the child has ended
	start   bool             // the pause is over
}

// supervisor keeps collector and agent running and connected to each other.
type supervisor struct {
	o      Options
	user   *account
	folder *os.File
	page   *os.File // of the collector that runs

	events    chan news
	collector child
	agent     child
	relink    *time.Timer // a link is to be made
	ready     bool        // the agent has started in order at least once
	failure   string      // why it did not
	stopping  bool
}

// Run runs the sensor as three processes until ctx ends. The error says why
// the agent could not start; whatever ends later is started again.
func Run(ctx context.Context, o Options) error {
	debug.SetGCPercent(gcPercent)
	s := &supervisor{
		o: o, user: agentAccount(readPasswd()), events: make(chan news, 16), relink: time.NewTimer(time.Hour),
		collector: child{role: RoleCollector, pause: firstPause}, agent: child{role: RoleAgent, pause: firstPause},
	}
	s.relink.Stop()
	kernel.MountTracefs() // the collector may not mount
	if how, err := bound(cgroupRoot, os.Getpid()); err != nil {
		o.Log.Warn("there are no hard limits on processor and memory", "confined", how, "error", err)
	} else if how != "" {
		o.Log.Info("limits on processor and memory are in force", "control groups", how)
	}
	var err error
	if s.folder, err = adopt(o.Dir, *s.user); err != nil {
		return err
	}
	defer s.folder.Close()
	if err := s.start(&s.agent); err != nil {
		return err
	}
	err = s.watch(ctx)
	if s.page != nil {
		err = errors.Join(err, s.page.Close())
	}
	return err
}

// watch works off what happens until both children have ended.
func (s *supervisor) watch(ctx context.Context) error {
	done := ctx.Done()
	late := time.NewTimer(time.Hour)
	late.Stop()
	for {
		select {
		case <-done:
			done, s.stopping = nil, true
			s.halt()
			late.Reset(agentEnd)
		case <-late.C:
			s.kill(&s.agent)
			s.kill(&s.collector)
		case <-s.relink.C:
			s.link()
		case e := <-s.events:
			s.handle(e)
			if e.from == &s.agent && e.exit != nil && s.stopping {
				s.halt()
				late.Reset(childEnd)
			}
		}
		if s.stopping && !s.agent.runs() && !s.collector.runs() {
			if s.failure != "" {
				return errors.New(s.failure)
			}
			return nil
		}
	}
}

// halt tells the children to stop: the agent first, which stops the collector
// and waits for what that has left.
func (s *supervisor) halt() {
	for _, c := range []*child{&s.agent, &s.collector} {
		if c.again != nil {
			c.again.Stop()
		}
		if c.runs() {
			if err := c.control.send(message{Kind: "stop"}); err != nil {
				s.o.Log.Warn("child cannot be told to stop", "role", c.role, "error", err)
				s.kill(c)
			}
			return
		}
	}
}

func (s *supervisor) kill(c *child) {
	if c.runs() {
		if err := c.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.o.Log.Error("child cannot be killed", "role", c.role, "error", err)
		}
	}
}

func (s *supervisor) handle(e news) {
	switch {
	case e.start:
		if !s.stopping && !e.from.runs() {
			s.begin(e.from)
		}
	case e.exit != nil:
		if e.from.process == e.process {
			s.exited(e.from, e.exit)
		}
	case e.from == &s.agent && e.from.process == e.process:
		s.said(e.message)
	}
}

// said works off a message of the agent, which is not trusted.
func (s *supervisor) said(m *message) {
	switch m.Kind {
	case "notify":
		if !slices.Contains([]string{"READY=1", "WATCHDOG=1", "STOPPING=1"}, m.Text) {
			return
		}
		if err := s.o.Notify(m.Text); err != nil {
			s.o.Log.Warn("service manager cannot be told", "state", m.Text, "error", err)
		}
		if m.Text == "READY=1" && !s.stopping {
			s.ready, s.failure = true, ""
			if !s.collector.runs() && s.collector.again == nil {
				s.begin(&s.collector)
			}
		}
	case "relink":
		s.relink.Reset(linkPause)
	case "failed":
		s.failure = strings.ToValidUTF8(m.Text, "\uFFFD")
	}
}

// begin starts a child, or tries again later.
func (s *supervisor) begin(c *child) {
	if err := s.start(c); err != nil {
		s.o.Log.Error("child does not start", "role", c.role, "error", err)
		s.later(c)
		return
	}
	s.link()
}

// later has a child started after its pause.
func (s *supervisor) later(c *child) {
	pause := c.pause
	c.pause = min(2*c.pause, lastPause)
	c.again = time.AfterFunc(pause, func() { s.events <- news{from: c, start: true} })
}

// exited notes the end of a child and has it started again.
func (s *supervisor) exited(c *child, state *os.ProcessState) {
	c.control.conn.Close()
	c.process = nil
	if s.stopping {
		return
	}
	if c == &s.agent && !s.ready {
		if s.failure == "" {
			s.failure = "the agent ended before it was ready: " + state.String()
		}
		s.stopping = true
		return
	}
	if time.Since(c.began) > soundAfter {
		c.pause = firstPause
	}
	s.o.Log.Error("child ended and is started again", "role", c.role, "state", state.String(), "in", c.pause)
	s.later(c)
}

// start starts a child and tells it what it has to know.
func (s *supervisor) start(c *child) error {
	l := launch{role: c.role, env: environment()}
	m := message{Kind: "start", Config: s.o.Config}
	if c == &s.agent {
		l.user, l.folder, m.Machine = s.user, s.folder, facts.Read().HardwareUUID
	} else {
		l.keep = mayCollect()
		if err := s.newPage(); err != nil {
			return err
		}
	}
	mine, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return err
	}
	defer theirs.Close()
	l.control = theirs
	if c.control, err = newControl(mine); err != nil {
		return err
	}
	p, err := spawn(l)
	if err != nil {
		return errors.Join(err, c.control.conn.Close())
	}
	c.process, c.began, c.again = p, time.Now(), nil
	s.o.Log.Debug("child started", "role", c.role, "pid", p.Pid)
	go s.listen(c, p, c.control)
	if err := c.control.send(m); err != nil {
		s.o.Log.Warn("child cannot be told what to do", "role", c.role, "error", err) // it ends, or has ended
		s.kill(c)
	}
	return nil
}

func (s *supervisor) newPage() (err error) {
	if s.page != nil {
		s.page.Close()
	}
	s.page, err = newPageFile()
	return err
}

// listen passes on what a child says, and its end.
func (s *supervisor) listen(c *child, p *os.Process, from *control) {
	for {
		m, files, err := from.receive()
		closeAll(files)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				from.conn.Close() // which ends the child
			}
			break
		}
		s.events <- news{from: c, process: p, message: &m}
	}
	state, err := p.Wait()
	if err != nil {
		s.o.Log.Error("child cannot be waited for", "role", c.role, "error", err)
		state = &os.ProcessState{}
	}
	s.events <- news{from: c, process: p, exit: state}
}

// link connects the children when both run.
func (s *supervisor) link() {
	s.relink.Stop()
	if !s.agent.runs() || !s.collector.runs() {
		return
	}
	if err := s.connect(); err != nil {
		s.o.Log.Error("collector and agent cannot be connected", "error", err)
		s.relink.Reset(time.Second)
	}
}

func (s *supervisor) connect() error {
	a, b, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer a.Close()
	defer b.Close()
	m := message{Kind: "link", PIDs: []int{os.Getpid(), s.collector.process.Pid, s.agent.process.Pid}}
	if err := s.collector.control.send(m, a, s.page); err != nil {
		return fmt.Errorf("%w: %w", err, picket.Unavailable)
	}
	return s.agent.control.send(m, b, s.page)
}
