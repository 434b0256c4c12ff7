// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/wire/wirepb"
)

// Result is what a benchmark found. Zero fields do not apply to it.
type Result struct {
	Name            string  `json:"name"`
	Events          int64   `json:"events"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	P50             float64 `json:"p50_ms,omitempty"`
	P99             float64 `json:"p99_ms,omitempty"`
	CPUSeconds      float64 `json:"cpu_seconds,omitempty"`
	RSS             int64   `json:"rss_bytes,omitempty"`
	Lost            int64   `json:"lost"`
	BytesPerEvent   float64 `json:"bytes_per_event,omitempty"`
}

func (r *Result) rate() { r.EventsPerSecond = float64(r.Events) / r.Seconds }

// percentiles fills P50 and P99 from durations.
func (r *Result) percentiles(d []time.Duration) {
	if len(d) == 0 {
		return
	}
	slices.Sort(d)
	r.P50 = d[len(d)/2].Seconds() * 1000
	r.P99 = d[len(d)*99/100].Seconds() * 1000
}

// IngestOptions say how much to send.
type IngestOptions struct {
	Program string // path of picketd
	Events  int
	Devices int
	Rows    int // of a batch
}

// sent is one prepared batch.
type sent struct {
	boot    string
	seq     uint64
	payload []byte
}

// Ingest measures the way from a gateway to store and detection: it runs a
// server, enrols devices, sends prepared batches as fast as they are
// acknowledged, and waits until both readers have worked off all of them.
func Ingest(ctx context.Context, o IngestOptions) (Result, error) {
	r := Result{Name: "ingest"}
	dir, err := os.MkdirTemp("", "picket-bench-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	srv, err := NewServer(o.Program, dir)
	if err != nil {
		return r, err
	}
	if err := srv.Start(ctx); err != nil {
		return r, err
	}
	defer func() { _ = srv.Stop() }()
	clients, work, total, err := prepare(ctx, srv, o)
	if err != nil {
		return r, err
	}
	began := time.Now()
	latencies, err := sendAll(ctx, clients, work)
	if err != nil {
		return r, err
	}
	for _, metric := range []string{"picket_store_rows_total", "picket_detect_rows_total"} {
		if err := Poll(ctx, 20*time.Millisecond, func() bool {
			n, err := srv.Metric(ctx, metric)
			return err == nil && n >= float64(total)
		}); err != nil {
			return r, fmt.Errorf("%s does not reach %d: %w", metric, total, err)
		}
	}
	r.Seconds = time.Since(began).Seconds()
	r.Events = int64(total)
	r.rate()
	r.percentiles(latencies)
	r.RSS = peakMemory(srv.PID())
	stored, err := srv.Metric(ctx, "picket_store_rows_total")
	if err != nil {
		return r, err
	}
	r.Lost = int64(total) - int64(stored)
	if err := srv.Stop(); err != nil {
		return r, err
	}
	r.CPUSeconds = (srv.usage.UserTime() + srv.usage.SystemTime()).Seconds()
	size, err := folderSize(filepath.Join(dir, "events"))
	r.BytesPerEvent = float64(size) / float64(total)
	return r, err
}

// prepare enrols the devices and encodes all batches.
func prepare(ctx context.Context, srv *Server, o IngestOptions) (clients []*Client, work [][]sent, total int, err error) {
	token, err := srv.EnrolmentToken(ctx, o.Devices)
	if err != nil {
		return nil, nil, 0, err
	}
	start := event.TimeOf(time.Now().Add(-time.Hour))
	for i := range o.Devices {
		c, err := Enrol(ctx, srv.Gateway, token, &wirepb.Facts{HostName: fmt.Sprintf("bench-%d", i), OsPlatform: "Linux"})
		if err != nil {
			return nil, nil, 0, err
		}
		clients = append(clients, c)
		d := NewDevice(i, start)
		d.ID = c.DeviceID
		var batches []sent
		for n := 0; n < o.Events/o.Devices; {
			b, payload, err := d.Batch(o.Rows)
			if err != nil {
				return nil, nil, 0, err
			}
			batches = append(batches, sent{b.BootID, b.Seq, payload})
			n += b.Rows()
			total += b.Rows()
		}
		work = append(work, batches)
	}
	return clients, work, total, nil
}

// sendAll sends every device's batches on a stream of its own.
func sendAll(ctx context.Context, clients []*Client, work [][]sent) ([]time.Duration, error) {
	var mu sync.Mutex
	var all []time.Duration
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range clients {
		g.Go(func() error {
			took, err := sendOne(ctx, c, work[i])
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			return err
		})
	}
	err := g.Wait()
	return all, err
}

// inFlight is how many batches of a device wait for acknowledgement, as with
// a real sensor.
const inFlight = 4

func sendOne(ctx context.Context, c *Client, work []sent) ([]time.Duration, error) {
	defer c.Close()
	s, err := c.Open(ctx, &wirepb.Hello{Instance: 1, TimeUs: time.Now().UnixMicro()})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	began := make([]time.Time, len(work))
	room := make(chan struct{}, inFlight)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for i, b := range work {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			began[i] = time.Now()
			if err := s.Batch(b.boot, b.seq, b.payload); err != nil {
				return fmt.Errorf("send batch %d: %w", b.seq, err)
			}
		}
		return nil
	})
	var took []time.Duration
	g.Go(func() error {
		for i := range work {
			a, reject, err := s.Answer()
			if err != nil {
				return err
			}
			if reject != nil {
				return fmt.Errorf("batch %d refused: %s: %w", reject.Seq, reject.Reason, picket.Internal)
			}
			if a.Seq != work[i].seq {
				return fmt.Errorf("acknowledged %d, want %d: %w", a.Seq, work[i].seq, picket.Internal)
			}
			took = append(took, time.Since(began[i]))
			<-room
		}
		return nil
	})
	return took, g.Wait()
}

// peakMemory is the largest resident size that a process had.
func peakMemory(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kb int64
			if _, err := fmt.Sscan(rest, &kb); err == nil {
				return kb << 10
			}
		}
	}
	return 0
}

func folderSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		return nil
	})
	return size, err
}
