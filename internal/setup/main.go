// SPDX-License-Identifier: Apache-2.0

// Command setup is the logic behind the Makefile: it installs what a stage
// needs, builds the portal when its sources changed, derives generated code,
// runs the checks and the benchmarks. Run it from the root of the repository.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "setup:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "needs":
		return install(ctx, args[1])
	case len(args) == 1 && args[0] == "web":
		return portal(ctx, "web")
	case len(args) == 1 && args[0] == "generate":
		return all(ctx, generators)
	case len(args) == 1 && args[0] == "check":
		return all(ctx, checks)
	case len(args) == 1 && args[0] == "bench":
		return all(ctx, benchmarks)
	case len(args) == 1 && args[0] == "protocol":
		return protocol(ctx)
	case len(args) == 1 && args[0] == "gofmt":
		return unformatted(ctx)
	case len(args) == 1 && args[0] == "vulnerabilities":
		return vulnerabilities(ctx)
	case len(args) == 1 && args[0] == "generated":
		return regenerated(ctx)
	case len(args) == 1 && args[0] == "package":
		return pack(ctx, os.Getenv("VERSION"))
	}
	return errors.New("usage: setup needs STAGE | web | generate | generated | protocol | gofmt | vulnerabilities | check | bench | package")
}

// step is one command with its working directory and extra environment.
type step struct {
	name string
	dir  string
	env  []string
	args []string
}

// all runs steps in order and names the one that failed.
func all(ctx context.Context, steps []step) error {
	for _, s := range steps {
		fmt.Fprintln(os.Stderr, "==", s.name)
		if err := sh(ctx, s.dir, s.env, s.args[0], s.args[1:]...); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// sh runs a command with the standard streams of this one.
func sh(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}
