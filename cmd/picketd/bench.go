// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/picket-edr/picket/bench"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/store"
	"github.com/picket-edr/picket/store/duckdb"
)

// benchStore appends invented rows to an event store, seals them, and reads
// timeline pages: rate and size of the first, latency of the second.
func benchStore(ctx context.Context, events int, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "picket-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := duckdb.Open(ctx, duckdb.Options{Dir: dir, MemoryMB: 1024, Threads: 2, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		return err
	}
	var fleet []*bench.Device
	for i := range 20 {
		fleet = append(fleet, bench.NewDevice(i, event.TimeOf(time.Now().Add(-time.Hour))))
	}
	r := bench.Result{Name: "store"}
	var spent time.Duration
	for n := uint64(1); int(r.Events) < events; n++ {
		d := fleet[int(n)%len(fleet)]
		b, _, err := d.Batch(1000)
		if err != nil {
			return err
		}
		env := event.Envelope{Tenant: "default", DeviceID: d.ID, DeviceName: d.Name, Received: b.Created, BootID: b.BootID, Seq: b.Seq}
		began := time.Now() // inventing rows is not the store's work
		if err := s.Append(ctx, []store.Delivery{{Position: store.Position{Epoch: "bench", Sequence: n}, Envelope: env, Batch: b}}); err != nil {
			return err
		}
		spent += time.Since(began)
		r.Events += int64(b.Rows())
	}
	began := time.Now()
	if err := s.Seal(ctx); err != nil {
		return err
	}
	spent += time.Since(began)
	var took []time.Duration
	for i := range 50 {
		began := time.Now()
		if _, err := store.Timeline(ctx, s, store.TimelineQuery{DeviceID: fleet[i%len(fleet)].ID, Limit: 100}); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	r.P50, r.P99 = took[len(took)/2].Seconds()*1000, took[len(took)*99/100].Seconds()*1000
	r.Seconds = spent.Seconds()
	r.EventsPerSecond = float64(r.Events) / r.Seconds
	if err := s.Close(); err != nil {
		return err
	}
	st := s.Stats()
	r.BytesPerEvent = float64(st.Bytes) / float64(st.Rows)
	return json.NewEncoder(stdout).Encode(r)
}
