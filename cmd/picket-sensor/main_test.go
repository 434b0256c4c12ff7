// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"errors"
	"flag"
	"io"
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
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bus"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/gateway"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"picket-sensor": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PICKET_SENSOR_CONFIG", "")
			e.Setenv("PICKET_SENSOR_TRACE", filepath.Join(e.WorkDir, "trace"))
			e.Setenv("PICKET_SENSOR_DATA", filepath.Join(e.WorkDir, "data"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"gateway": startGateway, "await": await, "exits": exits},
	})
}

// exits runs a command and expects an exit status: exits 2 picket-sensor run
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	var e *exec.ExitError
	if errors.As(err, &e) {
		code = strings.TrimPrefix(e.ProcessState.String(), "exit status ")
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("exit status %s, want %s", code, args[0])
	}
}

// await repeats a command until it succeeds.
func await(ts *testscript.TestScript, _ bool, args []string) {
	end := time.Now().Add(60 * time.Second)
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s never succeeds: %v", strings.Join(args, " "), err)
		}
		time.Sleep(50 * time.Millisecond) // between two looks at another process
	}
}

// startGateway starts a real gateway and sets GATEWAY and TOKEN, and TOKEN2
// which is used up.
func startGateway(ts *testscript.TestScript, _ bool, _ []string) {
	now := time.Now
	keys, err := pki.Open(ts.MkAbs("gateway"), []string{"127.0.0.1"}, now)
	ts.Check(err)
	ts.Check(keys.EnsureTenant("default"))
	server := &server{keys: keys, last: map[string]bus.Last{}}
	log := slog.New(slog.DiscardHandler)
	g := gateway.New(gateway.Options{
		Keys: keys, Registry: server, Presence: server, Publisher: server, Auditor: server, Limits: gateway.DefaultLimits, Log: log, Now: now, Metrics: prometheus.NewRegistry(),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, l) }()
	ts.Defer(func() {
		cancel()
		<-done
	})
	token := wire.Token{Tenant: "default", Secret: [32]byte{1}, Root: pki.Fingerprint(keys.Root())}
	ts.Setenv("GATEWAY", l.Addr().String())
	ts.Setenv("TOKEN", token.String())
	token.Secret[0] = 2
	ts.Setenv("TOKEN2", token.String())
	ts.Check(os.WriteFile(ts.MkAbs("token"), []byte(ts.Getenv("TOKEN")+"\n"), 0o600))
}

// server is the rest of a server behind the gateway.
type server struct {
	keys *pki.Store

	mu   sync.Mutex
	last map[string]bus.Last
}

func (s *server) Enrol(_ context.Context, token wire.Token, key crypto.PublicKey, _ *wirepb.Facts, _ string) (gateway.Enrolled, error) {
	if token.Secret[0] != 1 {
		return gateway.Enrolled{}, errors.Join(errors.New("this token is used up"), picket.Denied)
	}
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
func (s *server) Health(context.Context, pki.Identity, uint64, *wirepb.Health) ([]event.Row, error) {
	return nil, nil
}
func (s *server) Arrived(context.Context, pki.Identity, *wirepb.Hello) ([]event.Row, error) {
	return nil, nil
}
func (s *server) Left(context.Context, pki.Identity, uint64, picket.Farewell) {}
func (s *server) Received(pki.Identity, time.Time, uint64)                    {}
func (s *server) Clash(context.Context, pki.Identity) error                   { return nil }
func (s *server) Audit(context.Context, string, picket.AuditEntry)            {}

func (s *server) Publish(_ context.Context, e *event.Envelope, known bus.Last) (bus.Last, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known.Position = bus.Position{BootID: e.BootID, Seq: e.Seq, Hash: event.HashOf(e.Payload)}
	s.last[e.DeviceID] = known
	return known, nil
}

func (s *server) Last(_ context.Context, _, device string) (bus.Last, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[device], nil
}

func TestConfigFile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":            "",
		"# nothing\n": "",
		"data: /x\nproxy: direct\nspool: {max_bytes: 2097152}\nlog: {level: warn, format: json}\n": "",
		"dtaa: /x\n":              "field dtaa not found",
		"data: ''\n":              "no data folder",
		"proxy: ftp://x\n":        "proxy",
		"server: 'a:b:c'\n":       "server",
		"spool: {max_bytes: 5}\n": "max_bytes",
		"log: {level: loud}\n":    "log level",
		"log: {format: xml}\n":    "log.format",
		"data: [1]\n":             "cannot unmarshal",
	} {
		file := filepath.Join(t.TempDir(), "sensor.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadConfig(file)
		if err == nil {
			err = c.check()
		}
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := loadConfig("/no/such/file"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a named file that is not there: %v", err)
	}
}

func TestFlagsComeBeforeFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sensor.yaml")
	if err := os.WriteFile(file, []byte("data: /from/file\nproxy: direct\nlog: {level: warn}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := commands{Config: file, Data: "/from/flag", LogLevel: "debug"}
	p, err := c.program(t.Context(), io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{p.config.Data, p.config.Proxy, p.config.Log.Level, p.path, p.implicit}
	for i, want := range []any{"/from/flag", "direct", "debug", file, false} {
		if got[i] != want {
			t.Errorf("value %d is %v, want %v", i, got[i], want)
		}
	}
}
