// SPDX-License-Identifier: Apache-2.0

// Command picket is the command line of analysts and engineers.
//
//	picket rules check DIR [--json]
//	picket rules test DIR [--json]
//	picket token --server URL --user U --password-file F
//	picket audit verify FILE
//	picket bench NAME [--json]
//	picket version
//
// With --json, results go to standard output as JSON, one object a line; all
// else goes to standard error. Exit status: 0 did it, 1 did it and found
// problems, 2 could not.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the command line; every command lives in its own file.
type cli struct {
	Rules   rulesCmd   `cmd:"" help:"Work with detection rules."`
	Token   tokenCmd   `cmd:"" help:"Print a bearer token for the REST API."`
	Audit   auditCmd   `cmd:"" help:"Work with exported audit logs."`
	Bench   benchCmd   `cmd:"" help:"Measure; the programs beside this one are run."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// console is where commands write to.
type console struct {
	out io.Writer // results
	err io.Writer // progress and complaints
}

// errFound means that the command worked and found problems.
var errFound = errors.New("problems found")

// errShown means that the parser has told all there is to tell (--help).
var errShown = errors.New("shown")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := execute(ctx, args, stdout, stderr)
	switch {
	case err == nil || errors.Is(err, errShown):
		return 0
	case errors.Is(err, errFound):
		return 1
	}
	fmt.Fprintln(stderr, "picket:", err)
	return 2
}

func execute(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c cli
	shown := false
	k, err := kong.New(&c, kong.Name("picket"), kong.Description("Command line of Picket."), kong.Writers(stdout, stderr),
		kong.Exit(func(int) { shown = true }), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&console{stdout, stderr}))
	if err != nil {
		return err
	}
	parsed, err := k.Parse(args)
	if shown {
		return errShown
	}
	if err != nil {
		return err
	}
	return parsed.Run()
}
