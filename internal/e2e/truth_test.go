// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picket-edr/picket/bench"
)

// counts are rows of the load with a marker, by kind.
type counts struct{ starts, ends, creates, renames, deletes, connects, accepts, queries, answers int64 }

func (h *history) counts(marker string, port int) counts {
	cmd, path, name := "%"+marker+"-%", "%/"+marker+"-%", marker+"-%"
	process := func(action string) int64 {
		return h.number(`SELECT count(DISTINCT "ProcessUniqueId") FROM events WHERE "ActionType" = ? AND "ProcessCommandLine" LIKE ?`, action, cmd)
	}
	file := func(action, column string) int64 {
		return h.number(`SELECT count(*) FROM events WHERE "ActionType" = ? AND "`+column+`" LIKE ?`, action, path)
	}
	dns := func(action string) int64 {
		return h.number(`SELECT count(*) FROM events WHERE "ActionType" = ? AND "DnsQueryName" LIKE ?`, action, name)
	}
	return counts{
		starts: process("ProcessCreated"), ends: process("ProcessExited"),
		creates: file("FileCreated", "FolderPath"), renames: file("FileRenamed", "PreviousFolderPath"), deletes: file("FileDeleted", "FolderPath"),
		connects: h.number(`SELECT count(*) FROM events WHERE "ActionType" = 'ConnectionSuccess' AND "Protocol" = 'Tcp' AND "RemotePort" = ?`, port),
		accepts:  h.number(`SELECT count(*) FROM events WHERE "ActionType" = 'InboundConnectionAccepted' AND "LocalPort" = ?`, port),
		queries:  dns("DnsQueryRequest"), answers: dns("DnsQueryResponse"),
	}
}

// lost sums what the sensor says it lost, hashes that came too late aside:
// their events are there.
func lost(s sensorStatus) (n int64) {
	for class, x := range s.Lost {
		if len(class) < 5 || class[:5] != "hash." {
			n += int64(x)
		}
	}
	return n
}

// TestGroundTruth does a known number of things at a moderate rate: the events
// that reach the store match one to one.
func TestGroundTruth(t *testing.T) {
	need(t, true)
	s := start(t)
	a := enrolled(t, s, s.Gateway)
	a.start()
	a.connected()
	l := bench.Load{Marker: "truthful", Dir: t.TempDir(), Processes: 2000, Files: 1000, Connections: 1000, Queries: 500, Pause: 5 * time.Millisecond, Parallel: 2}
	truth, err := l.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	last(t, s, a)
	st, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	a.signal(syscall.SIGTERM)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	h := open(t, s)
	h.whole()
	h.causal()
	want := counts{truth.Processes, truth.Processes, truth.Creates, truth.Renames, truth.Deletes, truth.Connections, truth.Connections, truth.Queries, truth.Answers}
	if got := h.counts("truthful", truth.Port); got != want {
		t.Errorf("stored %+v\nin truth %+v\nlost %v", got, want, st.Lost)
	}
	if n := lost(st); n != 0 {
		t.Errorf("%d events lost at a moderate rate: %v", n, st.Lost)
	}
	t.Logf("%+v in %v", want, truth.Ended.Sub(truth.Began).Round(time.Millisecond))
}

// last runs processes and makes files with a mark until both are stored. The
// sensor has a buffer for processes and one for the rest, each in order: all
// that it saw before has arrived then. A flooded sensor may lose some.
func last(t *testing.T, s *bench.Server, a *agent) {
	t.Helper()
	st, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	marker := fmt.Sprintf("last-%d", time.Now().UnixNano())
	l := bench.Load{Marker: marker, Dir: t.TempDir(), Processes: 1, Files: 1}
	eventually(t, 3*time.Minute, "the last process and file are on the timeline", func() bool {
		if _, err := l.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{"cmd:", "path:"} {
			var page struct{ Items []struct{ Table string } }
			get(t, s, "/api/portal/devices/"+st.DeviceID+"/timeline?q="+q+marker, &page)
			if len(page.Items) == 0 {
				return false
			}
		}
		return true
	})
}

// TestOverload floods the kernel's buffers while the sensor is not scheduled
// (stopped by a signal): what is stored and what is counted as lost together
// are no less than the truth.
func TestOverload(t *testing.T) {
	need(t, true)
	s := start(t)
	a := enrolled(t, s, s.Gateway)
	a.start()
	a.connected()
	l := bench.Load{Marker: "flood", Dir: t.TempDir(), Processes: 6000, Files: 60000, Connections: 10000, Parallel: 8}
	before, err := a.status()
	if err != nil || before.collector() == 0 {
		t.Fatalf("no collector: %+v %v", before, err)
	}
	if err := syscall.Kill(before.collector(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	truth, err := l.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before.collector(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	a.connected()
	last(t, s, a)
	st, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	a.signal(syscall.SIGTERM)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	h := open(t, s)
	h.whole()
	got := h.counts("flood", truth.Port)
	done := 2*truth.Processes + truth.Creates + truth.Renames + truth.Deletes + 2*truth.Connections
	stored := got.starts + got.ends + got.creates + got.renames + got.deletes + got.connects + got.accepts
	t.Logf("%d done in %v, %d stored, %d counted as lost: %v, left out by limits: %v", done, truth.Ended.Sub(truth.Began).Round(time.Millisecond), stored, lost(st), st.Lost, st.Usage.Limited)
	var limited int64
	for _, n := range st.Usage.Limited {
		limited += int64(n)
	}
	if stored == done || stored > done || stored+lost(st)+limited < done {
		t.Errorf("stored %+v, truth %+v, lost %v", got, truth, st.Lost)
	}
}

// wire is a line between sensor and gateway that can be cut.
type wire struct {
	l    net.Listener
	to   string
	mu   sync.Mutex
	cut  bool
	live map[net.Conn]bool
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, to: to, live: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c)
		}
	}()
	t.Cleanup(func() { l.Close(); w.set(true) })
	return w
}

func (w *wire) carry(c net.Conn) {
	defer c.Close()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.live[c] = true
	w.mu.Unlock()
	up, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(c, up)
		c.Close()
	}()
	_, _ = io.Copy(up, c)
}

// set cuts the line, ending what runs over it, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for c := range w.live {
			c.Close()
		}
		clear(w.live)
	}
}

// TestNetworkCut cuts the line for a minute under load: everything arrives
// afterwards, once.
func TestNetworkCut(t *testing.T) {
	need(t, true)
	s := start(t)
	w := newWire(t, s.Gateway)
	a := enrolled(t, s, w.l.Addr().String())
	a.start()
	a.connected()
	stop := load(t, "cut-load", 20*time.Millisecond)
	w.set(true)
	minute := time.NewTimer(time.Minute)
	<-minute.C
	w.set(false)
	truth := stop()
	a.connected()
	last(t, s, a)
	st, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	a.signal(syscall.SIGTERM)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	h := open(t, s)
	h.whole()
	got := h.counts("cut-load", truth.Port)
	// The load is stopped in the middle of things: one of each kind may have
	// been done and not counted.
	if got.starts < truth.Processes || got.creates < truth.Creates || got.starts > truth.Processes+1 {
		t.Errorf("stored %+v, truth %+v, lost %v", got, truth, st.Lost)
	}
	t.Logf("%d processes and %d files during a minute without network, all stored once", got.starts, got.creates)
}

// TestFullSpool cuts the line and makes more than the spool may hold: the
// oldest events of least value go, are counted, and the server knows of each
// missing batch.
func TestFullSpool(t *testing.T) {
	need(t, true)
	s := start(t)
	w := newWire(t, s.Gateway)
	a := enrolled(t, s, w.l.Addr().String())
	config := filepath.Join(a.data, "sensor.yaml")
	if err := os.WriteFile(config, []byte("spool:\n  max_bytes: 1048576\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PICKET_SENSOR_CONFIG", config)
	a.start()
	a.connected()
	w.set(true)
	stop := load(t, "spool-load", 0)
	eventually(t, 3*time.Minute, "the spool is full and events are given up", func() bool {
		st, err := a.status()
		return err == nil && st.Lost["spool.low"]+st.Lost["spool.normal"]+st.Lost["spool.high"] > 1000
	})
	stop()
	w.set(false)
	a.connected()
	last(t, s, a)
	st, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	a.signal(syscall.SIGTERM)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	h := open(t, s)
	h.whole()
	if h.number(`SELECT count(*) FROM events WHERE "ActionType" = 'SensorLoss'`) == 0 {
		t.Error("the timeline does not show the loss")
	}
	t.Logf("lost %v; the server knows of %d missing batches", st.Lost, h.missing())
}
