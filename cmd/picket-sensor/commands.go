// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor"
)

// tokenFlags are the ways to hand over an enrolment token. The environment
// and a file keep it out of the list of processes.
type tokenFlags struct {
	Server    string `help:"Gateway of the server, HOST:PORT." env:"PICKET_SENSOR_SERVER"`
	Token     string `help:"Enrolment token." env:"PICKET_TOKEN"`
	TokenFile string `help:"File with the enrolment token." type:"path" placeholder:"FILE"`
}

func (f *tokenFlags) token() (string, error) {
	if f.TokenFile == "" {
		return f.Token, nil
	}
	b, err := os.ReadFile(f.TokenFile)
	if err != nil {
		return "", fmt.Errorf("enrolment token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// enrol enrols into the data folder.
func (p *program) enrol(f *tokenFlags, dir string) error {
	token, err := f.token()
	if err != nil {
		return err
	}
	if token == "" {
		return fmt.Errorf("no enrolment token: use --token, --token-file or PICKET_TOKEN: %w", picket.Invalid)
	}
	server := f.Server
	if server == "" {
		server = p.config.Server
	}
	if server == "" {
		return fmt.Errorf("no server: use --server HOST:PORT: %w", picket.Invalid)
	}
	id, err := sensor.Enrol(p.ctx, sensor.EnrolOptions{Dir: dir, Server: server, Token: token, Proxy: p.config.Proxy, Facts: sensor.HostFacts()})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "enrolled as device %s of tenant %s, group %q\n", id.DeviceID, id.Tenant, id.Group)
	return nil
}

type enrolCommand struct{ tokenFlags }

// Run implements the command.
func (c *enrolCommand) Run(p *program) error { return p.enrol(&c.tokenFlags, p.config.Data) }

type runCommand struct {
	Server  string `help:"Gateway of the server, HOST:PORT (default: where the sensor enrolled)." env:"PICKET_SENSOR_SERVER"`
	NoSplit bool   `help:"Run as one process with all privileges, for debugging."`
}

// Run implements the command.
func (c *runCommand) Run(p *program) error {
	if c.Server != "" {
		p.config.Server = c.Server
	}
	if c.NoSplit {
		p.config.Split = splitOff
	}
	if err := p.config.check(); err != nil {
		return err
	}
	log, level := p.config.logger(p.stderr)
	if err := leaveTrace(p.trace, p.config.Data); err != nil {
		log.Debug("other commands need --data to find this sensor", "error", err)
	}
	if done, err := p.runSplit(log); done {
		return err
	}
	return sensor.Run(p.ctx, p.config.options(log, level))
}

// options are the configuration as the agent takes it.
func (c *Config) options(log *slog.Logger, level *slog.LevelVar) sensor.Options {
	return sensor.Options{Dir: c.Data, Server: c.Server, Proxy: c.Proxy, SpoolLimit: c.Spool.MaxBytes, Log: log, Level: level}
}

func leaveTrace(trace, dir string) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(trace), 0o755); err != nil {
		return err
	}
	return os.WriteFile(trace, []byte(abs), 0o644)
}

// dataOfRunning is the data folder to ask: the configured one, or, when nobody
// said which and none runs there, that of the sensor that started last.
func (p *program) dataOfRunning() string {
	if p.implicit {
		if _, err := sensor.ReadStatus(p.ctx, p.config.Data); errors.Is(err, picket.Unavailable) {
			if b, err := os.ReadFile(p.trace); err == nil {
				return string(b)
			}
		}
	}
	return p.config.Data
}

type statusCommand struct {
	JSON bool `help:"Print one JSON object." name:"json"`
}

// Run implements the command.
func (c *statusCommand) Run(p *program) error {
	s, err := sensor.ReadStatus(p.ctx, p.dataOfRunning())
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(p.stdout).Encode(s)
	} else {
		err = printStatus(p.stdout, s)
	}
	if err == nil && !s.Connected {
		err = errProblems
	}
	return err
}

type connectivityCommand struct {
	tokenFlags
	JSON bool `help:"Print one JSON object for each way." name:"json"`
}

// Run implements the command.
func (c *connectivityCommand) Run(p *program) error {
	token, err := c.token()
	if err != nil {
		return err
	}
	o := sensor.ConnectivityOptions{Server: c.Server, Proxy: p.config.Proxy, Token: token}
	o.Identity, err = sensor.LoadIdentity(p.config.Data)
	if err != nil && !errors.Is(err, picket.NotFound) {
		fmt.Fprintln(p.stderr, "picket-sensor: testing without the identity:", err)
	}
	if o.Server == "" {
		o.Server = p.config.Server
	}
	if o.Server == "" && o.Identity != nil {
		o.Server = o.Identity.Server
	}
	if o.Server == "" {
		return fmt.Errorf("no server: use --server HOST:PORT: %w", picket.Invalid)
	}
	ways, err := sensor.TestConnectivity(p.ctx, o)
	if err != nil {
		return err
	}
	good := false
	for _, w := range ways {
		good = good || w.OK
		if c.JSON {
			err = json.NewEncoder(p.stdout).Encode(w)
		} else {
			err = printConnectivity(p.stdout, &w)
		}
		if err != nil {
			return err
		}
	}
	if !good {
		return errProblems
	}
	return nil
}

type installCommand struct {
	tokenFlags
	Program string `help:"Where the copy of this program goes." default:"/usr/local/bin/picket-sensor" placeholder:"FILE"`
	Root    string `help:"Install below this folder instead of on this host; does not start anything." placeholder:"DIR"`
	NoEnrol bool   `help:"Do not enrol: for images, whose copies each enrol at their first start."`
}

// Run implements the command.
func (c *installCommand) Run(p *program) error {
	i := &sensor.Installation{Root: c.Root, Program: c.Program, Config: p.path, Data: p.config.Data}
	for _, path := range []string{i.Program, i.Config, i.Data} {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("install: %s is not an absolute path: %w", path, picket.Invalid)
		}
	}
	dir := filepath.Join(c.Root, p.config.Data)
	old, err := sensor.LoadIdentity(dir)
	switch {
	case err == nil && c.Server != "" && !sameServer(c.Server, old.Server):
		return fmt.Errorf("install: enrolled already at %s; uninstall first to enrol at %s: %w", old.Server, c.Server, picket.Conflict)
	case err == nil:
		fmt.Fprintf(p.stderr, "enrolled already as device %s of tenant %s at %s\n", old.DeviceID, old.Tenant, old.Server)
	case !errors.Is(err, picket.NotFound):
		return err
	case !c.NoEnrol:
		if err := p.enrol(&c.tokenFlags, dir); err != nil {
			return err
		}
	}
	settings, err := c.settings(p)
	if err != nil {
		return err
	}
	if err := i.Install(settings); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "installed %s, %s and %s\n", i.Program, i.Config, sensor.UnitName)
	started, err := i.Start(p.ctx)
	switch {
	case err != nil:
		return err
	case started:
		fmt.Fprintln(p.stderr, "the service is enabled and started; see `picket-sensor status`")
	case c.Root == "":
		fmt.Fprintf(p.stderr, "systemd does not run here; start the sensor with:\n  %s --config %s --data %s run\n", i.Program, i.Config, i.Data)
	}
	return nil
}

func sameServer(a, b string) bool {
	a, err := sensor.ParseServer(a)
	return err == nil && a == b
}

// settings is the configuration file of a new installation.
func (c *installCommand) settings(p *program) ([]byte, error) {
	s := map[string]any{}
	if p.config.Proxy != sensor.ProxyAuto {
		s["proxy"] = p.config.Proxy
	}
	if c.NoEnrol && c.Server != "" {
		s["server"] = c.Server
	}
	head := []byte("# Configuration of the Picket sensor; see docs/picket-sensor.md. Unknown keys are refused.\n")
	if len(s) == 0 {
		return head, nil
	}
	b, err := yaml.Marshal(s)
	return append(head, b...), err
}

type uninstallCommand struct {
	Program  string `help:"Where the copy of this program is." default:"/usr/local/bin/picket-sensor" placeholder:"FILE"`
	Root     string `help:"Uninstall below this folder instead of on this host." placeholder:"DIR"`
	KeepData bool   `help:"Keep the data folder with the identity and the events not sent yet."`
}

// Run implements the command.
func (c *uninstallCommand) Run(p *program) error {
	i := &sensor.Installation{Root: c.Root, Program: c.Program, Config: p.path, Data: p.config.Data}
	removed, err := i.Uninstall(p.ctx, c.KeepData)
	for _, path := range removed {
		fmt.Fprintln(p.stderr, "removed", path)
	}
	if err == nil && len(removed) == 0 {
		return fmt.Errorf("uninstall: no sensor is installed here: %w", picket.NotFound)
	}
	return err
}

type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run(p *program) error {
	_, err := fmt.Fprintf(p.stdout, "picket-sensor %s %s/%s\n", picket.Version, runtime.GOOS, runtime.GOARCH)
	return err
}
