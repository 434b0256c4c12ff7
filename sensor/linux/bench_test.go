// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
)

// BenchmarkHandle measures what one record of each kind costs from the ring's
// bytes to the row.
func BenchmarkHandle(b *testing.B) {
	names, records := captured(b)
	done := map[string]bool{}
	for i, name := range names {
		kind := name[4 : len(name)-4]
		if done[kind] {
			continue
		}
		done[kind] = true
		b.Run(kind, func(b *testing.B) {
			f := newOffline(b, logon.Paths{})
			for _, r := range records {
				f.handle(r)
			}
			f.o.Sink = nil
			f.out.sink = func(event.Row) bool { return true }
			b.ReportAllocs()
			for b.Loop() {
				if kind == "exit" {
					for _, p := range f.cache.byKey {
						p.exited = false
					}
					f.cache.ended = f.cache.ended[:0]
				}
				f.handle(records[i])
				f.out.flush(true)
				clear(f.held)
			}
		})
	}
}

// BenchmarkLatency measures the time from the start of a process to its row.
func BenchmarkLatency(b *testing.B) {
	l := &live{more: make(chan struct{}, 1)}
	var id int64
	at := make(chan time.Time, 1)
	want := 0
	sink := func(r event.Row) bool {
		if p, ok := r.(*event.DeviceProcessEvents); ok && p.ActionType == "ProcessCreated" && p.ProcessCommandLine == "/bin/true latency" {
			want++
			at <- time.Now()
		}
		return true
	}
	c, err := Open(b.Context(), Options{DeviceID: testDevice, NextReportID: func() int64 { id++; return id }, Sink: sink})
	if err != nil || c.Rung() == "off" {
		b.Skipf("no kernel events here: %v", err)
	}
	l.Collector = c
	defer c.Close()
	done := make(chan error, 1)
	go func() { done <- c.Run(b.Context()) }()
	var all []time.Duration
	for b.Loop() {
		cmd := exec.Command("/bin/true", "latency")
		began := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		all = append(all, (<-at).Sub(began))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2])/1e6, "ms-median")
	b.ReportMetric(float64(all[len(all)*95/100])/1e6, "ms-p95")
}
