// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor"
)

// The roles of the sensor's processes, which are also the hidden commands by
// which the supervisor starts the program again.
const (
	roleSupervisor = "supervisor"
	RoleCollector  = "collector"
	RoleAgent      = "agent"
)

// Goals for the Go heaps: beyond them memory is given back eagerly.
const (
	gcPercent     = 50
	agentMemory   = 96 << 20
	collectMemory = 96 << 20
)

// processName is what the children are called in a list of processes, where
// 15 letters are seen.
var processName = map[string]string{RoleCollector: "picket-collect", RoleAgent: "picket-agent"}

// Child is a process that a supervisor started.
type Child struct {
	Config json.RawMessage // as the supervisor was given it

	role    string
	machine string
	control *control
	links   chan *link // the newest; holds at most one
}

// Join meets the supervisor and takes this process's powers away. The context
// ends when the supervisor says so, or has gone.
func Join(ctx context.Context, role string) (*Child, context.Context, error) {
	if err := checkControl(); err != nil {
		return nil, nil, err
	}
	unix.CloseOnExec(controlFD)
	c, err := newControl(os.NewFile(controlFD, "control"))
	if err != nil {
		return nil, nil, err
	}
	m, files, err := c.receive()
	closeAll(files)
	if err != nil {
		return nil, nil, err
	}
	debug.SetGCPercent(gcPercent)
	// The kernel has named the process after the link by which it was started.
	_ = os.WriteFile("/proc/self/comm", []byte(processName[role]), 0o600) // only a name
	rules, memory := agentRules, int64(agentMemory)
	if role == RoleCollector {
		rules, memory = collectorRules, collectMemory
	}
	debug.SetMemoryLimit(memory)
	if err := confine(rules(unix.Getpid())); err != nil {
		return nil, nil, err
	}
	child := &Child{Config: m.Config, role: role, machine: m.Machine, control: c, links: make(chan *link, 1)}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		child.listen()
	}()
	return child, ctx, nil
}

// checkControl refuses to run without a supervisor.
func checkControl() error {
	kind, err := unix.GetsockoptInt(controlFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return fmt.Errorf("only `picket-sensor run` starts this: %w", picket.Invalid)
	}
	return nil
}

// listen takes messages of the supervisor until it says to stop or has gone.
func (c *Child) listen() {
	for {
		m, files, err := c.control.receive()
		if err != nil {
			return
		}
		if m.Kind == "stop" {
			closeAll(files)
			return
		}
		if m.Kind != "link" || len(files) != 2 {
			closeAll(files)
			continue
		}
		l, err := c.link(files[0], files[1], m.PIDs)
		if err != nil {
			continue // the other end sees that this one is closed
		}
		select {
		case old := <-c.links:
			old.close()
		default:
		}
		c.links <- l
	}
}

// link makes a link of what the supervisor sent.
func (c *Child) link(socket, memory *os.File, pids []int) (*link, error) {
	limit := maxRowsFrame
	if c.role == RoleCollector {
		limit = maxAgentFrame
	}
	p, err := mapPage(memory, c.role == RoleCollector)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	conn, err := unixConn(socket)
	if err != nil {
		p.close()
		return nil, err
	}
	return newLink(conn, limit, p, pids), nil
}

// Agent runs the part that has no powers: everything but collecting.
func (c *Child) Agent(ctx context.Context, o sensor.Options) error {
	r := &remotes{child: c, supervisor: os.Getppid()}
	o.Dir, o.Open, o.Processes = ".", r.open, r.processes
	o.Notify = func(state string) error { return c.control.send(message{Kind: "notify", Text: state}) }
	o.Facts = sensor.HostFacts
	if c.machine != "" {
		o.Facts = factsOf(c.machine)
	}
	o.Timing.Collector = 250 * time.Millisecond // the supervisor makes pauses between processes
	o.Timing.CollectMax = o.Timing.Collector
	err := sensor.Run(ctx, o)
	if err != nil {
		text := []rune(err.Error())
		err = errors.Join(err, c.control.send(message{Kind: "failed", Text: string(text[:min(len(text), 4096)])}))
	}
	return err
}
