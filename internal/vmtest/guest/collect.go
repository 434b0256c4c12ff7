// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux"
)

// Collection is a collector at work in this process and the rows that it told.
type Collection struct {
	mu   sync.Mutex
	rows []event.Row
	more chan struct{}

	c     *linux.Collector
	stop  context.CancelFunc
	ended chan error
}

// Collect starts a collector with rungs by kind of hook, and returns when it
// has told what was there before.
func Collect(ctx context.Context, rungs map[string]string) (*Collection, error) {
	w := &Collection{more: make(chan struct{}, 1), ended: make(chan error, 1)}
	var id atomic.Int64
	var err error
	w.c, err = linux.Open(ctx, linux.Options{DeviceID: strings.Repeat("0", 40), Sink: w.sink, Rungs: rungs,
		Log: slog.New(slog.NewTextHandler(os.Stdout, nil)), NextReportID: func() int64 { return id.Add(1) }})
	if err != nil {
		return nil, fmt.Errorf("open the collector: %w", err)
	}
	ctx, w.stop = context.WithCancel(ctx)
	go func() { w.ended <- w.c.Run(ctx) }()
	w.Wait(patience, func() bool {
		return w.find(func(row event.Row) bool {
			p, ok := row.(*event.DeviceProcessEvents)
			return ok && p.IsSnapshot && p.ProcessId == int64(os.Getpid())
		}) != nil
	})
	return w, nil
}

func (w *Collection) sink(r event.Row) bool {
	w.mu.Lock()
	w.rows = append(w.rows, r)
	w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return true
}

// Since returns the rows told after the first n.
func (w *Collection) Since(n int) []event.Row {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rows[n:len(w.rows):len(w.rows)]
}

func (w *Collection) find(match func(event.Row) bool) event.Row {
	for _, r := range w.Since(0) {
		if match(r) {
			return r
		}
	}
	return nil
}

// Wait returns when f holds, or patience is at its end. It asks again when
// there are new rows.
func (w *Collection) Wait(patience time.Duration, f func() bool) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !f() {
		select {
		case <-w.more:
		case <-deadline.C:
			return
		}
	}
}

// Hooks tells what the collector attached.
func (w *Collection) Hooks() []picket.Hook { return w.c.Hooks() }

// End stops the collector, which passes on whatever the rings hold, and
// returns what it lost.
func (w *Collection) End() (map[string]uint64, error) {
	w.stop()
	err := <-w.ended
	_, lost := w.c.Counters()
	if e := w.c.Close(); err == nil {
		err = e
	}
	return lost, err
}
