// SPDX-License-Identifier: Apache-2.0

//go:build linux

package procfs

import (
	"context"
	"time"

	"github.com/picket-edr/picket/sensor/linux/record"
)

// PollEvery is the pause between two looks through /proc.
const PollEvery = 200 * time.Millisecond

// Poll finds processes that start and end by looking through /proc. Those that
// come and go between two looks are never seen.
type Poll struct {
	Proc  *FS
	Now   func() uint64 // boot clock, ns
	known map[uint32]seen
}

type seen struct {
	start uint64
	comm  string
}

// Run hands records to emit until ctx ends.
func (p *Poll) Run(ctx context.Context, emit func(any) bool) error {
	p.look(func(any) bool { return true })
	t := time.NewTicker(PollEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			p.look(emit)
		}
	}
}

// look compares what runs with what ran.
func (p *Poll) look(emit func(any) bool) {
	at := p.Now()
	now := map[uint32]seen{}
	for _, pid := range p.Proc.PIDs() {
		s, ok := p.Proc.Stat(pid)
		if !ok || s.State == 'Z' {
			continue
		}
		this := seen{s.StartTicks * tickNs, s.Comm}
		now[pid] = this
		before, known := p.known[pid]
		if known && before.start != this.start {
			p.gone(pid, before, at, emit) // the id has gone to another process
			known = false
		}
		if known && before.comm == this.comm {
			continue
		}
		if !known {
			parent, _ := p.Proc.Start(s.PPID)
			emit(&record.Fork{Header: record.Header{Time: this.start, PID: s.PPID, Start: parent, Flags: record.FlagNoTask}, ChildPID: pid, ChildStart: this.start})
		}
		if r, ok := p.Proc.Exec(pid, at); ok {
			emit(r)
		}
	}
	for pid, before := range p.known {
		if _, ok := now[pid]; !ok {
			p.gone(pid, before, at, emit)
		}
	}
	p.known = now
}

func (p *Poll) gone(pid uint32, s seen, at uint64, emit func(any) bool) {
	h := record.Header{Time: at, PID: pid, TID: pid, Start: s.start, Comm: s.comm, Flags: record.FlagNoTask}
	emit(&record.Exit{Header: h, CodeUnknown: true})
}
