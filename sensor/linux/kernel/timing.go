// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kernel

import (
	"fmt"
	"io"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Timing is the kernel timing its programs, which slows them a little.
type Timing struct {
	k      *Kernel
	enable io.Closer
	before map[string]time.Duration
}

// StartTiming has the kernel time its programs. It needs Linux 5.8.
func (k *Kernel) StartTiming() (*Timing, error) {
	if k == nil || len(k.programs) == 0 {
		return nil, fmt.Errorf("no programs: %w", ebpf.ErrNotSupported)
	}
	e, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("time the programs: %w", err)
	}
	return &Timing{k, e, k.runtimes()}, nil
}

func (k *Kernel) runtimes() map[string]time.Duration {
	out := map[string]time.Duration{}
	for name, p := range k.programs {
		if s, err := p.Stats(); err == nil {
			out[name] = s.Runtime
		}
	}
	return out
}

// Stop ends the timing and returns what each program took since it began.
func (t *Timing) Stop() map[string]time.Duration {
	now := t.k.runtimes()
	for name := range now {
		now[name] -= t.before[name]
	}
	_ = t.enable.Close() // a descriptor: nothing is left to do
	return now
}
