// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// childDir names the data folder in the environment of a child process.
const childDir = "PICKET_TEST_SENSOR"

// flood is a collector that makes events as fast as they are taken.
type flood struct {
	o CollectorOptions
}

func (f *flood) Run(ctx context.Context) error {
	for n := 0; ctx.Err() == nil; n++ {
		row := &event.DeviceFileEvents{ActionType: "FileCreated", ReportId: f.o.NextReportID(), FileName: fmt.Sprint(n), FolderPath: strings.Repeat("x", n%2000)}
		if n%3 == 0 {
			row.ActionType = "FileModified"
		}
		for !f.o.Sink(row) { // wait for room: this test is about being killed
			sleep(ctx, time.Millisecond)
			if ctx.Err() != nil {
				return nil
			}
		}
		if n%1000 == 0 {
			fmt.Println(n) // so that the parent knows that there is load
			sleep(ctx, time.Millisecond)
		}
	}
	return nil
}
func (f *flood) Hooks() []picket.Hook { return nil }
func (f *flood) Rung() string         { return "flood" }
func (f *flood) Counters() (events, lost map[string]uint64) {
	return nil, nil
}
func (f *flood) Close() error { return nil }

// runChild is a whole sensor under load, until it is killed.
func runChild(dir string) {
	err := Run(context.Background(), Options{
		Dir: dir, Proxy: ProxyDirect, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), Facts: testFacts(testBoot),
		Open:   func(_ context.Context, o CollectorOptions) (Collector, error) { return &flood{o: o}, nil },
		Timing: Timing{Flush: 5 * time.Millisecond, Backoff: time.Millisecond, Health: 50 * time.Millisecond},
	})
	fmt.Fprintln(os.Stderr, "child ended:", err)
	os.Exit(1)
}

// TestKilledSensor kills a real sensor process under load again and again,
// and cuts its connection now and then. The gateway checks numbers, chain and
// repeats; here: nothing is missing between what it got.
func TestKilledSensor(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	for range 12 {
		killed(t, h.dir, rand.IntN(20), func() {
			if rand.IntN(3) == 0 {
				g.cut()
			}
		})
	}
	h.start() // sends the rest
	h.connected()
	h.stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gaps != 0 {
		t.Errorf("%d batches are missing", g.gaps)
	}
	if len(g.rows) < 1000 {
		t.Errorf("only %d rows arrived: no load", len(g.rows))
	}
	if n := g.actions["SensorStarted"]; n < 1 || n > 13 {
		t.Errorf("%d starts told by 13 runs", n)
	}
	equal(t, 1, g.actions["SensorStopped"])
}

// killed runs a child until it has told of its load n times, and kills it.
func killed(t *testing.T, dir string, n int, before func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for range n + 1 {
		if !lines.Scan() {
			break
		}
	}
	before()
	must(t, cmd.Process.Kill())
	for lines.Scan() {
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("child ended by itself: %v", err)
	}
}
