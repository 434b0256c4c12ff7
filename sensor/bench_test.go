// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
)

// sampleRow is a file event as a collector makes it.
func sampleRow(n int) *event.DeviceFileEvents {
	return &event.DeviceFileEvents{
		ActionType: "FileCreated", Timestamp: event.Time(1764000000000000 + n), ReportId: int64(n), FileName: fmt.Sprintf("file-%d.log", n%500),
		FolderPath: fmt.Sprintf("/var/log/app/file-%d.log", n%500), InitiatingProcessFileName: "app", InitiatingProcessFolderPath: "/usr/bin/app",
		InitiatingProcessId: int64(1000 + n%7), InitiatingProcessCommandLine: "/usr/bin/app --serve", InitiatingProcessAccountName: "www-data",
		InitiatingProcessUniqueId: "0123456789abcdef0123456789abcdef", InitiatingProcessSHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	}
}

// BenchmarkIntake adds rows as a collector does.
func BenchmarkIntake(b *testing.B) {
	q := newIntake()
	row := sampleRow(1)
	for n := 0; b.Loop(); n++ {
		if !q.add(row) {
			b.Fatal("refused")
		}
		if n%batchRows == 0 {
			for _, u := range q.take() {
				q.done(u)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkAgent takes rows from a collector to the acknowledgement of a
// gateway in the same process, which decodes each batch.
func BenchmarkAgent(b *testing.B) {
	g := newGateway(b)
	dir := filepath.Join(b.TempDir(), "data")
	if _, err := Enrol(b.Context(), EnrolOptions{Dir: dir, Server: g.addr, Token: g.token(), Proxy: ProxyDirect, Facts: testFacts(testBoot)()}); err != nil {
		b.Fatal(err)
	}
	c := newScripted()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Dir: dir, Proxy: ProxyDirect, Log: discard(), Facts: testFacts(testBoot), Open: c.open})
	}()
	<-c.ready
	for n := 0; b.Loop(); n++ {
		row := sampleRow(n)
		row.ReportId = c.o.NextReportID()
		for !c.o.Sink(row) {
			time.Sleep(time.Millisecond) // the queue is full: this measures the rest
		}
	}
	g.await("all rows", func() bool { return len(g.rows) == b.N+1 })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	var bytes uint64
	g.set(func() { bytes = g.bytes })
	b.ReportMetric(float64(bytes)/float64(b.N), "B/event")
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
