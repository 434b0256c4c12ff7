// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bench"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/detect"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/state"
)

// message is a batch of a device at a place of the stream.
func message(t *testing.T, place, seq uint64, rest int) bus.Message {
	t.Helper()
	var b event.Builder
	b.Add(&event.DeviceFileEvents{ReportId: int64(seq), ActionType: "FileCreated"})
	payload, err := (&event.Batch{BootID: "b", Seq: seq, Rest: rest, Blocks: b.Take()}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return bus.Message{Sequence: place, Envelope: event.Envelope{Tenant: "default", DeviceID: "d", BootID: "b", Seq: seq, Payload: payload}}
}

// TestPositionStaysBeforeWhatIsHeldBack: what waits for the rest of its moment
// comes again after a crash.
func TestPositionStaysBeforeWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	db, err := state.Open(ctx, state.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "state.db"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.CreateTenant(ctx, picket.Tenant{ID: "default", Name: "d", Retention: picket.DefaultRetention, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	engine, err := newEngine(nil, log)
	if err != nil {
		t.Fatal(err)
	}
	p := &pipeline{tenant: "default", db: db, engine: engine, metrics: newPipelineMetrics(prometheus.NewRegistry()), log: log}
	d := &detection{pipeline: p, reader: "detect@e", gather: &detect.Gather{}}
	at := func() uint64 {
		t.Helper()
		n, err := db.Position(ctx, "default", "detect@e")
		if err != nil && picket.Kind(err) != picket.NotFound {
			t.Fatal(err)
		}
		return n
	}
	take := func(want uint64, group ...bus.Message) {
		t.Helper()
		if err := d.take(ctx, group); err != nil {
			t.Fatal(err)
		}
		if got := at(); got != want {
			t.Errorf("position %d, want %d", got, want)
		}
	}
	take(1, message(t, 1, 1, 0))
	take(1, message(t, 2, 2, 2), message(t, 3, 3, 1))
	take(4, message(t, 4, 4, 0))
	take(5, message(t, 5, 5, 0), message(t, 6, 6, 1))
	stopped, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.watch(stopped) }()
	late, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := bench.Poll(late, 20*time.Millisecond, func() bool { return at() == 6 }); err != nil {
		t.Errorf("the rest that never comes is waited for still: position %d", at())
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// A group that fails is taken again as if it had not come.
	failing, end := context.WithCancel(ctx)
	end()
	group := []bus.Message{message(t, 7, 7, 1), message(t, 8, 8, 0)}
	if err := d.take(failing, group); err == nil {
		t.Error("the position cannot be kept, and no error tells")
	}
	take(8, group...)
}
