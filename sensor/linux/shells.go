// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor/linux/command"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	maxShells     = 64   // files that are probed at once
	maxShellsSeen = 4096 // images
)

// shellKey names the file of a shell.
type shellKey struct{ dev, ino uint64 }

// shellSeen is a shell that runs.
type shellSeen struct {
	image string
	pid   uint32
	key   shellKey
}

// sawShell hands a shell over to be probed, by its file: one that was replaced
// by an upgrade, or that a container brings along, is another.
func (s *scripts) sawShell(p *process, part record.ImagePart) {
	if !command.Reads(p.path) || part.Ino == 0 {
		return
	}
	key := shellKey{uint64(part.Dev), part.Ino}
	if s.seen[key] {
		return
	}
	if len(s.seen) >= maxShellsSeen {
		clear(s.seen)
	}
	select {
	case s.shells <- shellSeen{p.path, p.key.pid, key}:
		s.seen[key] = true
	default: // the next one that runs it
	}
}

const lineBlind = "lines of shells other than bash and zsh, of shells that are linked without symbols, and those that a shell read " +
	"before it was first seen; input that is no terminal's; lines that a shell reads for a builtin look like commands"

// openShells lets the kernel see what shells read.
func openShells(c *Collector) (*source, error) {
	if c.kernel == nil || !c.missing("script", "uprobe") {
		return nil, nil
	}
	s := &source{hook: picket.Hook{Kind: "script", Rung: "uprobe", BlindSpot: lineBlind}}
	if err := c.kernel.OpenLines(); err != nil {
		return s, err
	}
	pr := &prober{c: c, patient: newCareful(c.lost), probed: map[shellKey]func() error{}}
	pr.patient.wait = probeWait
	for _, name := range command.Shells {
		// Most hosts have only some. But a kernel that wants more powers for
		// probes than the collector has would refuse them all, and that is told.
		if err := pr.probe(name, name, "/"); errors.Is(err, os.ErrPermission) {
			return s, err
		}
	}
	s.run = pr.run
	return s, nil
}

// probeWait is how long the symbols of a shell may take to be read.
const probeWait = 3 * time.Second

// prober probes the files of shells. It belongs to one goroutine.
type prober struct {
	c       *Collector
	patient *careful                  // nobody waits for this goroutine
	probed  map[shellKey]func() error // how to stop
	order   []shellKey                // oldest first
}

func (pr *prober) run(ctx context.Context, emit func(any) bool) error {
	for {
		select {
		case <-ctx.Done():
			return nil // probes end with the kernel programs, when all is read
		case s := <-pr.c.scripts.shells:
			name := fmt.Sprintf("/proc/%d/exe", s.pid)
			err := pr.probe(s.image, name, fmt.Sprintf("/proc/%d/root", s.pid))
			if err == nil {
				continue
			}
			if _, gone := os.Readlink(name); gone != nil || errors.Is(err, os.ErrDeadlineExceeded) {
				// It ended meanwhile (a dead one that nobody waits for still has the
				// link, but it leads nowhere), or the host is busy: the next one.
				emit(func() { delete(pr.c.scripts.seen, s.key) })
				continue
			}
			pr.c.lost.add("proc.unprobed", 1)
			pr.c.log.InfoContext(ctx, "the lines of a shell cannot be seen", "image", s.image, "error", err)
		}
	}
}

// probe attaches to one file unless it is attached to already.
func (pr *prober) probe(image, name, root string) error {
	type result struct {
		target *command.Target
		err    error
	}
	got, inTime := attempt(pr.patient, func() result {
		t, err := command.Find(image, name, root)
		return result{t, err}
	})
	if !inTime {
		return os.ErrDeadlineExceeded
	}
	if got.err != nil {
		return got.err
	}
	t := got.target
	defer t.File.Close()
	key := shellKey{t.Dev, t.Ino}
	if pr.probed[key] != nil {
		return nil
	}
	stop, err := pr.c.kernel.ProbeLines(fmt.Sprintf("/proc/self/fd/%d", t.File.Fd()), t.Function, t.Offset)
	if err != nil {
		return err
	}
	pr.probed[key], pr.order = stop, append(pr.order, key)
	if len(pr.order) > maxShells {
		oldest := pr.order[0]
		pr.order = pr.order[1:]
		err = pr.probed[oldest]()
		delete(pr.probed, oldest)
	}
	return err
}
