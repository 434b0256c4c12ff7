// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/picket-edr/picket"
)

// Server is a picketd process of its own on loopback, with its own data
// directory. It is not safe for concurrent use, except for Call.
type Server struct {
	Program string // path of picketd
	Data    string
	Portal  string // host:port
	Gateway string
	Args    []string // further arguments of "picketd run"
	Said    Output   // what the process says

	Password string
	mu       sync.Mutex
	token    string

	cmd    *exec.Cmd
	exited chan struct{}
	usage  *os.ProcessState
}

// readyWithin bounds the start of a server.
const readyWithin = 60 * time.Second

// NewServer prepares a server on free ports. Start runs it.
func NewServer(program, data string, args ...string) (*Server, error) {
	s := &Server{Program: program, Data: data, Args: args}
	for _, to := range []*string{&s.Portal, &s.Gateway} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		*to = l.Addr().String()
	}
	return s, nil
}

// Start runs the process and waits until it is ready.
func (s *Server) Start(ctx context.Context) error {
	args := append([]string{"run", "--data", s.Data, "--listen", s.Portal, "--gateway", s.Gateway}, s.Args...)
	cmd := exec.Command(s.Program, args...)
	cmd.Stdout, cmd.Stderr = &s.Said, &s.Said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	exited := make(chan struct{})
	s.cmd, s.exited = cmd, exited
	go func() {
		_ = cmd.Wait()
		s.usage = cmd.ProcessState
		close(exited)
	}()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := Poll(ctx, 20*time.Millisecond, func() bool { return s.gone() || s.ready(ctx) }); err != nil || s.gone() {
		return fmt.Errorf("server is not ready: %w\n%s", picket.Unavailable, s.Said.Tail(4000))
	}
	if s.Password == "" {
		p, err := os.ReadFile(filepath.Join(s.Data, "admin-password"))
		if err != nil {
			return err
		}
		s.Password = strings.TrimSpace(string(p))
	}
	return nil
}

func (s *Server) gone() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

func (s *Server) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL("/readyz"), nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Poll calls ok until it is true or ctx ends.
func Poll(ctx context.Context, every time.Duration, ok func() bool) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}

// URL is an address of the portal.
func (s *Server) URL(path string) string { return "http://" + s.Portal + path }

// PID is the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Signal sends a signal and waits for the end of the process.
func (s *Server) Signal(sig os.Signal) error {
	if s.cmd == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(sig)
	defer func() { s.cmd = nil }()
	select {
	case <-s.exited:
		return nil
	case <-time.After(60 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("the server does not stop: %w\n%s", picket.Unavailable, s.Said.Tail(4000))
	}
}

// Stop ends the process in order; Kill ends it at once.
func (s *Server) Stop() error { return s.Signal(syscall.SIGTERM) }

// Kill ends the process at once.
func (s *Server) Kill() error { return s.Signal(syscall.SIGKILL) }

// Call does one request of the REST API as the administrator.
func (s *Server) Call(ctx context.Context, method, path string, body, answer any) error {
	token, err := s.bearer(ctx)
	if err != nil {
		return err
	}
	return s.call(ctx, token, method, path, body, answer)
}

func (s *Server) bearer(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != "" {
		return s.token, nil
	}
	var got struct{ Token string }
	err := s.call(ctx, "", http.MethodPost, "/api/portal/tokens", map[string]string{"user": "admin", "password": s.Password}, &got)
	s.token = got.Token
	return s.token, err
}

func (s *Server) call(ctx context.Context, token, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL(path), in)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s: %w", method, path, resp.Status, data, picket.Internal)
	}
	if answer == nil {
		return nil
	}
	if text, ok := answer.(*string); ok {
		*text = string(data)
		return nil
	}
	return json.Unmarshal(data, answer)
}

// EnrolmentToken makes a token for n devices.
func (s *Server) EnrolmentToken(ctx context.Context, n int) (string, error) {
	var got struct{ Token string }
	err := s.Call(ctx, http.MethodPost, "/api/portal/enrolment-tokens", map[string]any{"uses": n, "group": "bench"}, &got)
	return got.Token, err
}

// Metric sums the samples of a Prometheus counter or gauge.
func (s *Server) Metric(ctx context.Context, name string) (float64, error) {
	var text string
	if err := s.call(ctx, "", http.MethodGet, "/metrics", nil, &text); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, line := range strings.Split(text, "\n") {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest != "" && rest[0] != ' ' && rest[0] != '{') {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v); err == nil {
			sum += v
		}
	}
	return sum, nil
}

// Output keeps what a process says.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// Tail returns the last n bytes.
func (o *Output) Tail(n int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.buf.Bytes()
	return string(b[max(0, len(b)-n):])
}

// Line returns the rest of the first line that starts with prefix.
func (o *Output) Line(prefix string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range strings.Split(o.buf.String(), "\n") {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}
