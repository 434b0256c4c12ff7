// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bench"
	"github.com/picket-edr/picket/wire/wirepb"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"empty":       {"", ""},
		"good":        {"portal:\n  listen: 127.0.0.1:1\nlog:\n  format: json\n", ""},
		"unknown key": {"portal:\n  lissten: x\n", "field lissten not found"},
		"not yaml":    {"portal: [", "configuration"},
		"address":     {"gateway:\n  listen: nowhere\n", "gateway.listen"},
		"tls":         {"portal:\n  tls_cert: a\n", "go together"},
		"bus":         {"bus:\n  max_bytes: 5\n", "bus.max_bytes"},
		"store":       {"store:\n  memory_mb: 5\n  threads: 0\n", "store.threads"},
		"log":         {"log:\n  level: loud\n  format: xml\n", "log.level"},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(path)
		if err == nil {
			err = cfg.Check()
		}
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, picket.Invalid)):
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{"127.0.0.1:8443": "http://127.0.0.1:8443", "[::1]:8443": "http://[::1]:8443", "192.0.2.1:8443": "https://192.0.2.1:8443"} {
		c := Default()
		c.Portal.Listen = listen
		if got := c.portalURL(); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
	c := Default()
	c.Portal.Listen = "0.0.0.0:8443"
	if got := c.portalURL(); strings.Contains(got, "0.0.0.0") || !strings.HasPrefix(got, "https://") {
		t.Errorf("a wildcard is no address to type: %s", got)
	}
	c.Gateway.External = "edr.example:443"
	if c.gatewayAddress() != "edr.example:443" || loopback("nonsense") {
		t.Error("external address")
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	do := func(args ...string) (string, error) {
		var out, errs bytes.Buffer
		err := run(context.Background(), args, &out, &errs)
		return out.String(), err
	}
	if out, err := do("version"); err != nil || strings.TrimSpace(out) != picket.Version {
		t.Errorf("version: %q %v", out, err)
	}
	if out, err := do("config", "print"); err != nil || !strings.Contains(out, "listen: 127.0.0.1:8443") {
		t.Errorf("print: %q %v", out, err)
	}
	if out, err := do("config", "check"); err != nil || strings.TrimSpace(out) != "ok" {
		t.Errorf("check: %q %v", out, err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte("store: {memory_mb: 1}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := do("--config", bad, "config", "check"); !errors.Is(err, errFound) || !strings.Contains(out, "memory_mb") {
		t.Errorf("check of a bad file: %q %v", out, err)
	}
	if _, err := do("--data", t.TempDir(), "backup", filepath.Join(t.TempDir(), "b")); !errors.Is(err, picket.Unavailable) {
		t.Errorf("backup without a server: %v", err)
	}
	if _, err := do("restore", t.TempDir()); !errors.Is(err, picket.Invalid) {
		t.Errorf("restore of no backup: %v", err)
	}
	if _, err := do("fly"); err == nil {
		t.Error("unknown commands must fail")
	}
	if out, err := do("--help"); err != nil || !strings.Contains(out, "run") {
		t.Errorf("help: %q %v", out, err)
	}
}

// server runs serve in this process.
type server struct {
	t       *testing.T
	cfg     Config
	stop    context.CancelFunc
	done    chan error
	out     bench.Output
	errs    bench.Output
	address bench.Server // for its client side
}

// free returns n different addresses that nothing listens on.
func free(t *testing.T, n int) (out []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // when all are chosen: one port could be given twice
		out = append(out, l.Addr().String())
	}
	return out
}

func startServer(t *testing.T, data string) *server {
	t.Helper()
	s := &server{t: t, cfg: Default(), done: make(chan error, 1)}
	ports := free(t, 2)
	s.cfg.Data, s.cfg.Portal.Listen, s.cfg.Gateway.Listen = data, ports[0], ports[1]
	s.cfg.Store.MemoryMB = 512
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.done <- serve(ctx, s.cfg, "", &s.out, &s.errs) }()
	s.address.Portal, s.address.Gateway = s.cfg.Portal.Listen, s.cfg.Gateway.Listen
	wait, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	answer := ""
	err := bench.Poll(wait, 20*time.Millisecond, func() bool {
		select {
		case err := <-s.done:
			t.Fatalf("the server ended at its start: %v\n%s", err, s.errs.Tail(3000))
		default:
		}
		resp, err := http.Get("http://" + s.cfg.Portal.Listen + "/readyz")
		if err != nil {
			answer = err.Error()
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		answer = fmt.Sprint(resp.Status, " ", string(text), err)
		return resp.StatusCode == http.StatusOK
	})
	if err != nil {
		stacks := make([]byte, 1<<20)
		t.Fatalf("not ready: %s\n%s\n%s", answer, s.errs.Tail(3000), stacks[:runtime.Stack(stacks, true)])
	}
	password, err := os.ReadFile(filepath.Join(data, passwordFile))
	if err != nil {
		t.Fatal(err)
	}
	s.address.Password = strings.TrimSpace(string(password))
	return s
}

func (s *server) end() {
	s.t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Errorf("server: %v\n%s", err, s.errs.Tail(3000))
	}
}

// TestBackupAndRestoreWhileRunning takes a backup of a running server that
// holds a device with events, restores it elsewhere, and finds both there.
func TestBackupAndRestoreWhileRunning(t *testing.T) {
	ctx := context.Background()
	s := startServer(t, t.TempDir())
	for _, prefix := range []string{"portal: http://127.0.0.1:", "user: admin", "password: ", "detection test: "} {
		if s.out.Line(prefix) == "" && prefix != "user: admin" {
			t.Errorf("nothing printed after %q", prefix)
		}
	}
	token, err := s.address.EnrolmentToken(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bench.Enrol(ctx, s.address.Gateway, token, &wirepb.Facts{HostName: "Web-1.Example"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	st, err := c.Open(ctx, &wirepb.Hello{Instance: 1, TimeUs: time.Now().UnixMicro()})
	if err != nil {
		t.Fatal(err)
	}
	d := bench.NewDevice(1, 1764000000000000)
	_, payload, err := d.Batch(500)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Batch(d.Boot, 1, payload); err != nil {
		t.Fatal(err)
	}
	if a, _, err := st.Answer(); err != nil || a.GetSeq() != 1 {
		t.Fatalf("%v %v", a, err)
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := bench.Poll(wait, 20*time.Millisecond, func() bool {
		n, err := s.address.Metric(ctx, "picket_store_rows_total")
		return err == nil && n >= 500
	}); err != nil {
		t.Fatal(err)
	}
	st.Close()
	copied := filepath.Join(t.TempDir(), "backup")
	if err := requestBackup(ctx, s.cfg.Data, copied); err != nil {
		t.Fatal(err)
	}
	if err := requestBackup(ctx, s.cfg.Data, copied); err == nil {
		t.Error("a backup must not overwrite another")
	}
	if err := serve(ctx, s.cfg, "", &s.out, &s.errs); !errors.Is(err, picket.Conflict) {
		t.Errorf("second server on the same data: %v", err)
	}
	s.end()
	fresh := filepath.Join(t.TempDir(), "restored")
	if err := restore(copied, fresh); err != nil {
		t.Fatal(err)
	}
	if err := restore(copied, fresh); !errors.Is(err, picket.Conflict) {
		t.Errorf("restore over data: %v", err)
	}
	if err := os.WriteFile(filepath.Join(fresh, passwordFile), []byte(s.address.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startServer(t, fresh)
	var page struct {
		Items []struct{ ID, Name string }
	}
	if err := r.address.Call(ctx, http.MethodGet, "/api/portal/devices", nil, &page); err != nil || len(page.Items) != 1 || page.Items[0].Name != "web-1.example" {
		t.Fatalf("devices after restore: %+v, %v", page, err)
	}
	var tl struct{ Items []struct{ Title string } }
	if err := r.address.Call(ctx, http.MethodGet, "/api/portal/devices/"+page.Items[0].ID+"/timeline", nil, &tl); err != nil || len(tl.Items) != 100 {
		t.Errorf("timeline after restore: %d events, %v", len(tl.Items), err)
	}
	r.end()
}
