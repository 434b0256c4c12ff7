// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
)

// patience is how long a test waits before it takes a row for missing. It is
// long enough for a host that does many other things.
const patience = time.Minute

const testDevice = "00112233445566778899aabbccddeeff00112233"

// live is a collector that runs on this host for the time of a test.
type live struct {
	*Collector
	t    *testing.T
	mu   sync.Mutex
	rows []event.Row
	more chan struct{}
	stop func()
}

// bpfKinds are the kinds that every live test wants.
var bpfKinds = []string{"process", "file", "network", "dns", "attribute", "privilege", "kernel", "image", "socket"}

// startLive attaches to the real kernel. The test is skipped where that is
// not possible.
func startLive(t *testing.T, change func(*Options)) *live {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: kernel programs cannot be loaded")
	}
	if testing.Short() {
		t.Skip("attaches to the running kernel")
	}
	l := &live{t: t, more: make(chan struct{}, 1)}
	var id atomic.Int64
	o := Options{DeviceID: testDevice, NextReportID: func() int64 { return id.Add(1) }, Sink: l.sink}
	if change != nil {
		change(&o)
	}
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	l.Collector = c
	for _, h := range c.Hooks() {
		if slices.Contains(bpfKinds, h.Kind) && !h.Attached {
			c.Close()
			t.Skipf("BPF is not available: %s: %s", h.Kind, h.Error)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	t.Cleanup(l.stop)
	find(l, func(r *event.DeviceProcessEvents) bool { return r.IsSnapshot && r.ProcessId == int64(os.Getpid()) })
	return l
}

func (l *live) sink(r event.Row) bool {
	l.mu.Lock()
	l.rows = append(l.rows, r)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return true
}

// find waits for a row and fails the test when none comes.
func find[R any, P interface {
	*R
	event.Row
}](l *live, match func(P) bool) P {
	l.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for seen := 0; ; {
		l.mu.Lock()
		rows := l.rows[seen:]
		seen = len(l.rows)
		l.mu.Unlock()
		for _, row := range rows {
			if r, ok := row.(P); ok && match(r) {
				return r
			}
		}
		select {
		case <-l.more:
		case <-deadline.C:
			l.t.Fatalf("no such row among %d; lost %v", seen, l.lost.copy())
		}
	}
}

// all returns the rows of a kind that came until now.
func all[R any, P interface {
	*R
	event.Row
}](l *live, match func(P) bool) []P {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []P
	for _, row := range l.rows {
		if r, ok := row.(P); ok && match(r) {
			out = append(out, r)
		}
	}
	return out
}
