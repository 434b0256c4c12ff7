// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/spool"
	"github.com/picket-edr/picket/wire/wirepb"
)

// stopped makes an agent that has hold of its folder and does not run.
func stopped(t *testing.T, h *harness) *agent {
	t.Helper()
	h.o.Timing.setDefaults()
	h.o.Notify = NotifySystemd
	h.o.Processes = func() []Process { return []Process{OwnProcess("sensor")} }
	a := &agent{o: h.o, facts: h.o.Facts(), notes: &notes{log: discard()}, intake: newIntake(), usage: newUsage(h.o.Processes), clock: newHostClock(readClocks), lostOnce: map[string]uint64{}}
	lock, err := a.start(t.Context())
	must(t, err)
	t.Cleanup(func() {
		a.spool.Close()
		lock.Close()
	})
	a.notes.take()
	return a
}

// kinds returns the numbers of the notes that wait, and forgets them.
func kinds(a *agent) []uint32 {
	ids := []uint32{}
	for _, n := range a.notes.take() {
		ids = append(ids, n.Id)
	}
	return ids
}

func TestWatcherTellsLosses(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	a := stopped(t, h)
	a.setCollector(h.c, nil)
	w := &watcher{a: a, lost: map[string]uint64{}, lookedAt: time.Now()}
	now := time.Now()
	lose := func(class string, n uint64) {
		h.c.mu.Lock()
		h.c.lost[class] += n
		h.c.mu.Unlock()
	}
	w.look(t.Context(), now)
	equal(t, []uint32{}, kinds(a))
	lose("hash.late", 5) // a detail, not an event
	w.look(t.Context(), now)
	equal(t, []uint32{}, kinds(a))
	lose("ring.file", 5)
	w.look(t.Context(), now)
	equal(t, []uint32{noteOverload.ID}, kinds(a))
	lose("ring.file", 5) // told once
	w.look(t.Context(), now.Add(30*time.Second))
	w.look(t.Context(), now.Add(80*time.Second))
	equal(t, []uint32{}, kinds(a))
	w.look(t.Context(), now.Add(91*time.Second))
	equal(t, []uint32{noteOverloadOver.ID}, kinds(a))
	lose("ring.exec", 1)
	w.look(t.Context(), now.Add(92*time.Second))
	equal(t, []uint32{noteOverload.ID}, kinds(a))
}

// fill appends batches of low value of about 30 KiB until the spool holds a
// share of its limit.
func fill(t *testing.T, a *agent, share float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for n := 0; ; n++ {
		if st := a.spool.Stats(); float64(st.Bytes) >= share*float64(st.Limit) {
			return
		}
		noise := make([]byte, 15<<10)
		for i := range noise {
			noise[i] = byte(r.Uint32())
		}
		var b event.Builder
		b.Add(&event.DeviceFileEvents{ActionType: "FileModified", ReportId: a.spool.NextReportID(), AdditionalFields: fmt.Sprintf("%x", noise)})
		must(t, a.spool.Append(spool.Low, b.Take()))
	}
}

func TestWatcherTellsTheSpool(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	h.o.SpoolLimit = spool.MinLimit
	a := stopped(t, h)
	w := &watcher{a: a, lost: map[string]uint64{}, lookedAt: time.Now()}
	fill(t, a, 0.5)
	w.spool()
	equal(t, []uint32{}, kinds(a))
	fill(t, a, 0.85)
	w.spool()
	w.spool()
	equal(t, []uint32{noteSpoolNear.ID}, kinds(a))
	a.spool.Rewind()
	for {
		b, ok := a.spool.Next()
		if !ok {
			break
		}
		a.spool.Ack(b.Boot, b.Seq)
	}
	w.spool()
	fill(t, a, 0.85) // once more
	w.spool()
	equal(t, []uint32{noteSpoolNear.ID}, kinds(a))
}

func TestWatcherTellsDamage(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	a := stopped(t, h)
	w := &watcher{a: a, lost: map[string]uint64{}, lookedAt: time.Now()}
	fill(t, a, 0.0001)
	segments, err := filepath.Glob(filepath.Join(h.dir, "spool", "*.seg"))
	must(t, err)
	f, err := os.OpenFile(segments[0], os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("rot"), 3000)
	must(t, err)
	must(t, f.Close())
	a.spool.Rewind()
	a.spool.Next()
	w.spool()
	w.spool()
	equal(t, []uint32{noteSpoolDamaged.ID}, kinds(a))
}

func TestWatcherTellsAFullSpool(t *testing.T) {
	t.Parallel()
	h := enrolled(t, newGateway(t))
	h.o.SpoolLimit = spool.MinLimit
	a := stopped(t, h)
	w := &watcher{a: a, lost: map[string]uint64{}, lookedAt: time.Now()}
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 600<<10) // twice as hexadecimal: never fits
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	big := func(n int) error {
		var b event.Builder
		b.Add(&event.DeviceFileEvents{ActionType: "FileModified", FolderPath: fmt.Sprintf("%x", noise[:n]), AdditionalFields: fmt.Sprintf("%x", noise[n:2*n])})
		return a.spool.Append(spool.Low, b.Take())
	}
	for range 4 { // each of a fifth of the limit and more, none of which may go for a smaller one
		must(t, big(100<<10))
	}
	must(t, os.RemoveAll(filepath.Join(h.dir, "spool")))
	must(t, os.WriteFile(filepath.Join(h.dir, "spool"), nil, 0o600)) // new segments cannot be made
	err := big(150 << 10)
	if !errors.Is(err, spool.ErrFull) {
		t.Fatal(err)
	}
	w.spool()
	w.spool()
	equal(t, []uint32{noteSpoolFull.ID}, kinds(a))
	must(t, os.Remove(filepath.Join(h.dir, "spool"))) // the spool makes its folder again
	must(t, big(10<<10))
	w.spool()
	equal(t, []uint32{noteSpoolOK.ID}, kinds(a))
}

func TestStartAfterAKill(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	h := enrolled(t, g)
	killed(t, h.dir, 3, func() {})
	started := make(chan string, 1)
	g.set(func() {
		g.verdict = func(b *wirepb.Batch) (*wirepb.Down, bool) {
			d, _ := event.Decode(b.Payload, event.DefaultLimits)
			for _, blk := range d.Blocks {
				for i := range blk.Rows {
					if blk.Text("ActionType", i) == "SensorStarted" && strings.Contains(blk.Text("AdditionalFields", i), "unclean") {
						started <- blk.Text("AdditionalFields", i)
					}
				}
			}
			return nil, false
		}
	})
	h.start()
	g.await("note", g.noted(noteUncleanStop))
	var more struct {
		PreviousStop     string
		PreviousReportId int64
	}
	must(t, json.Unmarshal([]byte(<-started), &more))
	equal(t, "unclean", more.PreviousStop)
	if more.PreviousReportId < 1 {
		t.Errorf("the run before is said to have got to event %d", more.PreviousReportId)
	}
	h.stop()
}

func TestUsage(t *testing.T) {
	t.Parallel()
	processes := []Process{{PID: 1, CPU: time.Minute, RSSBytes: 10}, {PID: 2, CPU: time.Hour, RSSBytes: 5}}
	u := newUsage(func() []Process { return slices.Clone(processes) })
	u.at = u.at.Add(-2 * usageSpan) // as if that had passed
	processes[0].CPU += usageSpan
	processes[1] = Process{PID: 3, CPU: time.Second, RSSBytes: 7} // started again: counts from now on
	got, percent, rss := u.now()
	if percent < 40 || percent > 50 || rss != 17 || got[0].CPUPercent != percent || got[1].CPUPercent != 0 {
		t.Errorf("%v %%, %d bytes, %v", percent, rss, got)
	}
	_, again, _ := u.now() // too soon for another figure
	equal(t, percent, again)
}

func TestStatusOnALongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 20), strings.Repeat("x", 100))
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, socketName), []byte("what a killed run left"), 0o600))
	l, done, err := listenStatus(dir)
	must(t, err)
	defer done()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serveStatus(ctx, l, func() Status { return Status{DeviceID: "d"} }) }()
	s, err := ReadStatus(t.Context(), dir)
	must(t, err)
	equal(t, "d", s.DeviceID)
	cancel()
	must(t, <-ended)
}

func TestStatusOfSomethingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, socketName))
	must(t, err)
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprint(c, "hello")
			c.Close()
		}
	}()
	if _, err := ReadStatus(t.Context(), dir); !errors.Is(err, picket.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestServiceManagerIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	all := make(chan []string, 1)
	go func() {
		var told []string
		b := make([]byte, 100)
		for !slices.Contains(told, "STOPPING=1") {
			n, err := l.Read(b)
			if err != nil {
				break
			}
			told = append(told, string(b[:n]))
		}
		all <- told
	}()
	h := enrolled(t, newGateway(t))
	h.start()
	h.connected()
	h.stop()
	told := <-all
	if !slices.Contains(told, "READY=1") || !slices.Contains(told, "WATCHDOG=1") {
		t.Errorf("told %v", told)
	}
	t.Setenv("NOTIFY_SOCKET", "/no/such/socket")
	if err := NotifySystemd("READY=1"); err == nil {
		t.Error("told nobody without an error")
	}
}
