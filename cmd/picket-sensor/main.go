// SPDX-License-Identifier: Apache-2.0

// Command picket-sensor is the agent on an endpoint. It installs, enrols and
// runs itself, tells how it is doing, and tests the way to its server. It
// wires package sensor and knows nothing else (floor 5).
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
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	debug.SetGCPercent(gcPercent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// gcPercent trades a little processor time for memory: a sensor is a guest on
// its host.
const gcPercent = 50

// commands is the command line.
type commands struct {
	Config   string `help:"Configuration file (default: ${config})." placeholder:"FILE" env:"PICKET_SENSOR_CONFIG"`
	Data     string `help:"Folder of identity, spool and policy (default: ${data})." placeholder:"DIR" env:"PICKET_SENSOR_DATA"`
	Proxy    string `help:"Proxy: auto, direct, http://[USER:PASSWORD@]HOST:PORT or socks5://HOST:PORT (default: auto)." env:"PICKET_SENSOR_PROXY"`
	Trace    string `hidden:"" help:"File that names the data folder of the sensor started last." default:"/run/picket-sensor/data" env:"PICKET_SENSOR_TRACE"`
	LogLevel string `help:"Log level: debug, info, warn or error (default: info)." env:"PICKET_SENSOR_LOG_LEVEL"`

	Install      installCommand      `cmd:"" help:"Copy this program, enrol, and start the sensor as a service."`
	Enrol        enrolCommand        `cmd:"" help:"Exchange a token for an identity."`
	Run          runCommand          `cmd:"" help:"Run the sensor until it is told to stop."`
	Status       statusCommand       `cmd:"" help:"Tell how the running sensor is doing."`
	Top          topCommand          `cmd:"" help:"Show what collecting costs, by kind of event and program."`
	Connectivity connectivityCommand `cmd:"" help:"Test every way to the server and say which step fails."`
	Uninstall    uninstallCommand    `cmd:"" help:"Stop the sensor and remove it from this host."`
	Collector    collectorCommand    `cmd:"" hidden:"" help:"Collect; started by run."`
	Agent        agentCommand        `cmd:"" hidden:"" help:"Keep and send what is collected; started by run."`
	Version      versionCommand      `cmd:"" help:"Tell the version."`
}

// program is what commands work with.
type program struct {
	ctx      context.Context
	config   Config
	path     string // of the configuration
	implicit bool   // nobody named a data folder
	trace    string // names the data folder of the sensor started last, for commands that are not told
	stdout   io.Writer
	stderr   io.Writer
}

// errProblems ends a command that did its work and found problems.
var errProblems = errors.New("problems found")

// run does what the arguments say and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c commands
	exited := -1
	k, err := kong.New(&c,
		kong.Name("picket-sensor"), kong.Description("The sensor of Picket on this host."), kong.Writers(stdout, stderr),
		kong.Vars{"config": defaultConfig(), "data": Default().Data}, kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "picket-sensor:", err)
		return 2
	}
	parsed, err := k.Parse(args)
	if exited >= 0 { // help was asked for
		return exited
	}
	if err == nil {
		var p *program
		if p, err = c.program(ctx, stdout, stderr); err == nil {
			err = parsed.Run(p)
		}
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errProblems):
		return 1
	}
	fmt.Fprintln(stderr, "picket-sensor:", err)
	return 2
}

// program loads the configuration and puts flags over it.
func (c *commands) program(ctx context.Context, stdout, stderr io.Writer) (*program, error) {
	config, err := loadConfig(c.Config)
	if err != nil {
		return nil, err
	}
	p := &program{ctx: ctx, path: c.Config, stdout: stdout, stderr: stderr, trace: c.Trace, implicit: c.Data == "" && config.Data == Default().Data}
	if p.path == "" {
		p.path = defaultConfig()
	}
	for _, o := range []struct {
		to   *string
		from string
	}{{&config.Data, c.Data}, {&config.Proxy, c.Proxy}, {&config.Log.Level, c.LogLevel}} {
		if o.from != "" {
			*o.to = o.from
		}
	}
	p.config = config
	return p, config.check()
}
