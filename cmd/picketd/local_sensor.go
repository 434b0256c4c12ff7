// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// localSensor runs the sensor of this host as a child, enrolling it first
// when it has no identity. It starts the child again when it ends, with a
// pause, until ctx ends.
type localSensor struct {
	program string
	data    string // of the server; the sensor keeps its own below it
	gateway string
	token   func(context.Context) (string, error) // makes a one-use enrolment token
	log     *slog.Logger
	stderr  io.Writer
}

func (s *localSensor) dir() string { return filepath.Join(s.data, "sensor") }

func (s *localSensor) run(ctx context.Context) error {
	if os.Geteuid() != 0 {
		s.log.Warn("not root: the sensor of this host is not started")
		return nil
	}
	const pause = 3 * time.Second
	for ctx.Err() == nil {
		if err := s.once(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("sensor of this host stopped", "error", err, "again_in", pause)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// once enrols when needed and runs the child until it ends.
func (s *localSensor) once(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.dir(), "identity")); os.IsNotExist(err) {
		token, err := s.token(ctx)
		if err != nil {
			return fmt.Errorf("enrolment token: %w", err)
		}
		cmd := s.command(ctx, "enrol", "--server", s.gateway)
		cmd.Env = append(cmd.Environ(), "PICKET_TOKEN="+token)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("enrol: %w", err)
		}
	}
	return s.command(ctx, "run").Run()
}

func (s *localSensor) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.program, append([]string{"--data", s.dir()}, args...)...)
	cmd.Stdout, cmd.Stderr = s.stderr, s.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	return cmd
}
