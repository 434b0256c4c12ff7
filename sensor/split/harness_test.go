// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"bufio"
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/gateway"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/sensor"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
)

// patience is how long a test waits for what has to come.
const patience = 60 * time.Second

// harness is a real sensor of three processes and a real gateway.
type harness struct {
	t      *testing.T
	dir    string
	script script
	server *server
	cmd    *exec.Cmd
	lines  chan string
}

func newHarness(t *testing.T, s script) *harness {
	t.Helper()
	if err := Possible(); err != nil {
		t.Skip(err)
	}
	h := &harness{t: t, dir: filepath.Join(t.TempDir(), "closed", "data"), script: s}
	// The folders above the data folder are closed to the agent's user.
	if err := os.MkdirAll(filepath.Dir(h.dir), 0o700); err != nil {
		t.Fatal(err)
	}
	h.server = newServer(t)
	token := wire.Token{Tenant: "default", Secret: [32]byte{1}, Root: pki.Fingerprint(h.server.keys.Root())}
	_, err := sensor.Enrol(t.Context(), sensor.EnrolOptions{Dir: h.dir, Server: h.server.addr, Token: token.String(), Proxy: sensor.ProxyDirect, Facts: sensor.HostFacts()})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// start starts the supervisor.
func (h *harness) start() {
	h.t.Helper()
	config, err := json.Marshal(h.script)
	if err != nil {
		h.t.Fatal(err)
	}
	h.cmd = exec.Command(os.Args[0])
	h.cmd.Env = append(os.Environ(), supervised+"="+h.dir, "PICKET_TEST_SCRIPT="+string(config))
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	lines := make(chan string, 1<<16)
	h.lines = lines
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
}

// stop ends the sensor in order.
func (h *harness) stop() {
	h.t.Helper()
	if err := h.cmd.Process.Signal(unix.SIGTERM); err != nil {
		h.t.Error(err)
	}
	h.ended()
}

// ended waits for the end of the sensor and of all its processes.
func (h *harness) ended() {
	h.t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, ok := <-h.lines: // closed when no process has it open
			if ok {
				continue
			}
			if err := h.cmd.Wait(); err != nil && h.cmd.ProcessState.Exited() {
				h.t.Error(err)
			}
			return
		case <-late:
			h.t.Fatal("the sensor does not end")
		}
	}
}

// said waits for a line of any of the processes.
func (h *harness) said(start string) string {
	h.t.Helper()
	late := time.After(patience)
	for {
		select {
		case line, ok := <-h.lines:
			if !ok {
				h.t.Fatalf("the sensor ended without saying %q", start)
			}
			if strings.HasPrefix(line, start) {
				return line
			}
		case <-late:
			h.t.Fatalf("no line %q", start)
		}
	}
}

// until waits for a status.
func (h *harness) until(what string, ok func(*sensor.Status) bool) *sensor.Status {
	h.t.Helper()
	var s *sensor.Status
	h.poll(what, func() bool {
		var err error
		s, err = sensor.ReadStatus(h.t.Context(), h.dir)
		return err == nil && ok(s)
	})
	return s
}

func (h *harness) poll(what string, ok func() bool) {
	h.t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for late := time.After(patience); !ok(); {
		select {
		case <-look.C:
		case <-late:
			h.t.Fatalf("waited too long for: %s", what)
		}
	}
}

// process returns the process that has a role now.
func (h *harness) process(role string) int {
	h.t.Helper()
	s := h.until(role, func(s *sensor.Status) bool { return pidOf(s, role) != 0 })
	return pidOf(s, role)
}

func pidOf(s *sensor.Status, role string) int {
	for _, p := range s.Processes {
		if p.Role == role {
			return p.PID
		}
	}
	return 0
}

func (h *harness) kill(role string, sig unix.Signal) (pid int) {
	h.t.Helper()
	pid = h.process(role)
	h.signal(pid, sig)
	return pid
}

func (h *harness) signal(pid int, sig unix.Signal) {
	h.t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		h.t.Fatalf("signal %d to %d: %v", sig, pid, err)
	}
}

// server is the rest of a server behind a gateway. It remembers rows.
type server struct {
	t    testing.TB
	keys *pki.Store
	addr string

	mu    sync.Mutex
	last  map[string]bus.Last
	rows  map[string]int // file name to times seen
	ids   map[string]bool
	notes []string
	loss  map[string]uint64 // of SensorLoss rows, summed up
	total map[string]uint64 // of SensorLoss rows, the greatest
}

func newServer(t *testing.T) *server {
	keys, err := pki.Open(filepath.Join(t.TempDir(), "keys"), []string{"127.0.0.1"}, time.Now)
	if err == nil {
		err = keys.EnsureTenant("default")
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, keys: keys, last: map[string]bus.Last{}, rows: map[string]int{}, ids: map[string]bool{}, loss: map[string]uint64{}, total: map[string]uint64{}}
	g := gateway.New(gateway.Options{
		Keys: keys, Registry: s, Presence: s, Publisher: s, Auditor: s, Limits: gateway.DefaultLimits, Log: slog.New(slog.DiscardHandler), Now: time.Now, Metrics: prometheus.NewRegistry(),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

func (s *server) Enrol(_ context.Context, token wire.Token, key crypto.PublicKey, _ *wirepb.Facts, _ string) (gateway.Enrolled, error) {
	id := strings.Repeat("ab", 20)
	_, chain, err := s.keys.IssueDevice(token.Tenant, id, key)
	return gateway.Enrolled{DeviceID: id, Group: "lab", Chain: chain}, err
}

func (s *server) Renew(_ context.Context, id pki.Identity, key crypto.PublicKey) ([][]byte, error) {
	_, chain, err := s.keys.IssueDevice(id.Tenant, id.DeviceID, key)
	return chain, err
}

func (s *server) Admit(context.Context, pki.Identity, *wirepb.Facts, string) (gateway.Admission, error) {
	return gateway.Admission{Name: "host", Group: "lab"}, nil
}

func (s *server) Health(_ context.Context, _ pki.Identity, _ uint64, h *wirepb.Health) ([]event.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range h.Notes {
		s.notes = append(s.notes, fmt.Sprint(n.Id, " ", n.Text))
	}
	return nil, nil
}
func (s *server) Arrived(context.Context, pki.Identity, *wirepb.Hello) ([]event.Row, error) {
	return nil, nil
}
func (s *server) Left(context.Context, pki.Identity, uint64, picket.Farewell) {}
func (s *server) Received(pki.Identity, time.Time, uint64)                    {}
func (s *server) Clash(context.Context, pki.Identity) error                   { return nil }
func (s *server) Audit(context.Context, string, picket.AuditEntry)            {}
func (s *server) Last(_ context.Context, _, device string) (bus.Last, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[device], nil
}

func (s *server) Publish(_ context.Context, e *event.Envelope, known bus.Last) (bus.Last, error) {
	b, err := event.Decode(e.Payload, event.DefaultLimits)
	if err != nil {
		return known, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.last[e.DeviceID].Position; last.BootID == e.BootID && e.Seq <= last.Seq {
		return s.last[e.DeviceID], nil // a repeat, as the real bus knows it
	}
	for _, blk := range b.Blocks {
		for i := range blk.Rows {
			s.row(b.BootID, blk, i)
		}
	}
	known.Position = bus.Position{BootID: e.BootID, Seq: e.Seq, Hash: event.HashOf(e.Payload)}
	s.last[e.DeviceID] = known
	return known, nil
}

// row remembers one row.
func (s *server) row(boot string, blk *event.Block, i int) {
	id := fmt.Sprint(boot, "/", blk.Int("ReportId", i))
	if s.ids[id] || blk.Int("ReportId", i) == 0 {
		s.t.Errorf("report id %s again", id)
	}
	s.ids[id] = true
	if blk.Text("ActionType", i) == "SensorLoss" {
		var told struct{ Lost, Total map[string]uint64 }
		if json.Unmarshal([]byte(blk.Text("AdditionalFields", i)), &told) != nil {
			s.t.Error("a SensorLoss row tells nothing")
		}
		for class, n := range told.Lost {
			s.loss[class] += n
		}
		for class, n := range told.Total {
			s.total[class] = max(s.total[class], n)
		}
	}
	if blk.Name == "DeviceFileEvents" {
		s.rows[blk.Text("FileName", i)]++
	}
}

// of returns how many rows of a collector process arrived, and fails for rows
// that came twice.
func (s *server) of(pid int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for name, times := range s.rows {
		if times > 1 {
			s.t.Errorf("row %s came %d times", name, times)
		}
		if strings.HasPrefix(name, fmt.Sprint(pid, "/")) {
			n++
		}
	}
	return n
}
