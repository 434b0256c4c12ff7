// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/picket-edr/picket/bench"
	"github.com/picket-edr/picket/content"
	"github.com/picket-edr/picket/detect"
	"github.com/picket-edr/picket/event"
)

type benchCmd struct {
	Name     string   `arg:"" help:"detect, ingest, store, sensor, compare, day or e2e." enum:"detect,ingest,store,sensor,compare,day,e2e,work"`
	Events   int      `help:"How much to do (default: depends on the benchmark); rounds of compare; seconds of quiet of day."`
	Against  []string `help:"Sensors to compare with: picket, auditd, auditd+laurel, bpftrace (default: those that are installed)." placeholder:"NAME"`
	Workload string   `help:"For work, a part of compare: the workload." hidden:""`
	JSON     bool     `help:"Print one JSON object."`
}

// defaults is how much each benchmark does when it is not told.
var defaults = map[string]int{"detect": 500_000, "ingest": 1_000_000, "store": 500_000, "sensor": 30_000, "e2e": 20, "compare": 5, "day": 120}

// Run measures and prints the result.
func (b *benchCmd) Run(ctx context.Context, c *console) error {
	if b.Events == 0 {
		b.Events = defaults[b.Name]
	}
	host := bench.HostOptions{Server: beside("picketd"), Sensor: beside("picket-sensor"), Events: b.Events}
	var r bench.Result
	var err error
	switch b.Name {
	case "compare":
		return b.compare(ctx, c, host)
	case "day":
		return b.day(ctx, c, host)
	case "work":
		w, err := bench.DoWork(ctx, b.Workload)
		if err != nil {
			return err
		}
		return json.NewEncoder(c.out).Encode(w)
	case "detect":
		r, err = benchDetect(b.Events)
	case "ingest":
		r, err = bench.Ingest(ctx, bench.IngestOptions{Program: host.Server, Events: b.Events, Devices: 20, Rows: 1000})
	case "store":
		r, err = benchStore(ctx, host.Server, b.Events)
	case "sensor":
		r, err = bench.Sensor(ctx, host)
	case "e2e":
		r, err = bench.EndToEnd(ctx, host, content.DetectionTestCommand)
	}
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.out).Encode(r)
	}
	_, err = fmt.Fprintf(c.out, "%s: %d events in %.2f s, %.0f events/s; p50 %.1f ms, p99 %.1f ms; %.2f s of processor; %d MiB of memory; %d lost; %.1f bytes an event\n",
		r.Name, r.Events, r.Seconds, r.EventsPerSecond, r.P50, r.P99, r.CPUSeconds, r.RSS>>20, r.Lost, r.BytesPerEvent)
	return err
}

// compare prints what sensors cost the programs of this host.
func (b *benchCmd) compare(ctx context.Context, c *console, host bench.HostOptions) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, err := bench.Compare(ctx, bench.CompareOptions{HostOptions: host, Self: self, Sensors: b.Against, Rounds: b.Events,
		Log: func(format string, args ...any) { fmt.Fprintf(c.err, format+"\n", args...) }})
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.out).Encode(r)
	}
	fmt.Fprintf(c.out, "%-14s %-8s %12s %8s %8s %14s\n", "sensor", "workload", "cpu us/op", "ratio", "wall", "daemon us/op")
	for _, x := range r.Costs {
		fmt.Fprintf(c.out, "%-14s %-8s %12.1f %8.2f %8.2f %14.1f\n", x.Sensor, x.Workload, x.CPU, x.Ratio, x.Wall, x.Daemon)
	}
	fmt.Fprintf(c.out, "\n%-14s %10s %10s %8s %12s %8s\n", "sensor", "rss MiB", "cpu s", "idle %", "written KiB", "lost")
	for _, f := range r.Footprints {
		fmt.Fprintf(c.out, "%-14s %10.1f %10.2f %8.2f %12d %8d\n", f.Sensor, float64(f.RSS)/(1<<20), f.CPU, f.Idle, f.Written>>10, f.Lost)
	}
	return nil
}

// day prints what a sensor sends in a day.
func (b *benchCmd) day(ctx context.Context, c *console, host bench.HostOptions) error {
	d, err := bench.MeasureDay(ctx, bench.DayOptions{HostOptions: host, Quiet: time.Duration(b.Events) * time.Second,
		Log: func(format string, args ...any) { fmt.Fprintf(c.err, format+"\n", args...) }})
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.out).Encode(d)
	}
	fmt.Fprintf(c.out, "%-30s %10s %6s %6s  %s\n", "part of a day", "wire bytes", "idle", "busy", "events")
	for _, h := range d.Habits {
		fmt.Fprintf(c.out, "%-30s %10.0f %6d %6d  %v\n", h.Name, h.Wire, h.Idle, h.Busy, h.Events)
	}
	fmt.Fprintf(c.out, "idle server: %.2f MB and %d events a day; busy: %.2f MB and %d events; lost %d\n",
		d.IdleWire/1e6, d.IdleEvents, d.BusyWire/1e6, d.BusyEvents, d.Lost)
	return nil
}

// beside is the path of a program in the folder of this one.
func beside(name string) string {
	exe, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(exe), name)
}

// benchStore asks the server's program, which links the engine.
func benchStore(ctx context.Context, server string, events int) (r bench.Result, err error) {
	cmd := exec.CommandContext(ctx, server, "bench-store", fmt.Sprint(events))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("%s bench-store: %w", server, err)
	}
	return r, json.Unmarshal(out, &r)
}

// benchDetect runs the built-in rules over invented rows on one core.
func benchDetect(events int) (bench.Result, error) {
	r := bench.Result{Name: "detect"}
	rules, err := content.Rules()
	if err != nil {
		return r, err
	}
	engine, err := detect.New(rules, detect.Options{Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return r, err
	}
	type fed struct {
		env   event.Envelope
		batch *event.Batch
	}
	var work []fed
	for i := 0; int(r.Events) < events; i++ {
		d := bench.NewDevice(i, event.TimeOf(time.Now()))
		for range 10 {
			b, _, err := d.Batch(1000)
			if err != nil {
				return r, err
			}
			work = append(work, fed{event.Envelope{Tenant: "default", DeviceID: d.ID, DeviceName: d.Name, BootID: b.BootID, Seq: b.Seq, Received: b.Created}, b})
			r.Events += int64(b.Rows())
		}
	}
	began := time.Now()
	for _, w := range work {
		if _, err := engine.Feed(w.env, w.batch); err != nil {
			return r, err
		}
	}
	r.Seconds = time.Since(began).Seconds()
	r.EventsPerSecond = float64(r.Events) / r.Seconds
	return r, nil
}
