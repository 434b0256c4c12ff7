// SPDX-License-Identifier: Apache-2.0

// Command picketd is the server: gateway for sensors, bus, event store,
// detection, REST API and portal in one process.
//
//	picketd run [--config FILE] [--data DIR] [--listen HOST:PORT]
//	picketd config check|print
//	picketd backup DIR        of a running server
//	picketd restore DIR       into an empty data directory
//
// Exit status: 0 did it, 1 did it and found problems, 2 could not.
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
	"go.yaml.in/yaml/v3"

	"github.com/picket-edr/picket"
)

// cli is the command line.
type cli struct {
	Config string `help:"Configuration file (YAML)." type:"path" env:"PICKET_CONFIG"`
	Data   string `help:"Data directory." type:"path" env:"PICKET_DATA"`

	Run struct {
		Listen      string `help:"Address of the portal." env:"PICKET_LISTEN"`
		Gateway     string `help:"Address of the gateway for sensors." env:"PICKET_GATEWAY"`
		LocalSensor string `help:"Sensor program to run on this host, enrolled by itself (needs root)." type:"path"`
	} `cmd:"" help:"Run the server in the foreground until it is interrupted."`
	ConfigCmd struct {
		Check struct{} `cmd:"" help:"Check the configuration; exit status 1 when it has mistakes."`
		Print struct{} `cmd:"" help:"Print the configuration in force."`
	} `cmd:"" name:"config" help:"Look at the configuration."`
	Backup struct {
		Dir string `arg:"" help:"Directory to make." type:"path"`
	} `cmd:"" help:"Back up the data directory of the running server."`
	Restore struct {
		Dir string `arg:"" help:"Directory that backup made." type:"existingdir"`
	} `cmd:"" help:"Restore a backup into an empty data directory."`
	BenchStore struct {
		Events int `arg:""`
	} `cmd:"" hidden:"" help:"Measure the event store; picket bench store calls it."`
	Version struct{} `cmd:"" help:"Print the version."`
}

// errFound means that the command worked and found problems.
var errFound = errors.New("problems found")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, errFound):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "picketd:", err)
		os.Exit(2)
	}
}

// run parses the command line and does what it says.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c cli
	exit := -1
	parser, err := kong.New(&c, kong.Name("picketd"), kong.Description("The Picket server."), kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }))
	if err != nil {
		return err
	}
	k, err := parser.Parse(args)
	if exit == 0 {
		return nil // --help
	}
	if err != nil {
		return err
	}
	if k.Command() == "version" {
		_, err := fmt.Fprintln(stdout, picket.Version)
		return err
	}
	if k.Command() == "bench-store <events>" {
		return benchStore(ctx, c.BenchStore.Events, stdout)
	}
	cfg, err := Load(c.Config)
	if err != nil {
		return err
	}
	override(&cfg.Data, c.Data)
	override(&cfg.Portal.Listen, c.Run.Listen)
	override(&cfg.Gateway.Listen, c.Run.Gateway)
	switch k.Command() {
	case "config check":
		if err := cfg.Check(); err != nil {
			fmt.Fprintln(stdout, err)
			return errFound
		}
		_, err := fmt.Fprintln(stdout, "ok")
		return err
	case "config print":
		return yaml.NewEncoder(stdout).Encode(cfg)
	case "backup <dir>":
		return requestBackup(ctx, cfg.Data, c.Backup.Dir)
	case "restore <dir>":
		return restore(c.Restore.Dir, cfg.Data)
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	return serve(ctx, cfg, c.Run.LocalSensor, stdout, stderr)
}

func override(to *string, from string) {
	if from != "" {
		*to = from
	}
}
