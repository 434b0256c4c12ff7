// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor"
	"github.com/picket-edr/picket/sensor/split"
)

// runSplit runs the sensor as three processes where that is wanted and
// possible, and reports whether it did.
func (p *program) runSplit(log *slog.Logger) (done bool, err error) {
	if p.config.Split == splitOff {
		err := split.Reclaim(p.config.Data)
		return err != nil, err
	}
	if err := split.Possible(); err != nil {
		log.Warn("the sensor runs as one process", "error", err)
		return false, nil
	}
	config, err := json.Marshal(p.config)
	if err != nil {
		return true, err
	}
	return true, split.Run(p.ctx, split.Options{Dir: p.config.Data, Config: config, Log: log, Notify: sensor.NotifySystemd})
}

// join is what a child of the supervisor starts with.
func (p *program) join(role string) (*split.Child, *slog.Logger, *slog.LevelVar, error) {
	child, ctx, err := split.Join(p.ctx, role)
	if err != nil {
		return nil, nil, nil, err
	}
	p.ctx = ctx
	if err := json.Unmarshal(child.Config, &p.config); err != nil {
		return nil, nil, nil, fmt.Errorf("configuration: %v: %w", err, picket.Invalid)
	}
	log, level := p.config.logger(p.stderr)
	return child, log, level, nil
}

type collectorCommand struct{}

// Run implements the command.
func (collectorCommand) Run(p *program) error {
	child, log, level, err := p.join(split.RoleCollector)
	if err != nil {
		return err
	}
	return child.Collect(p.ctx, split.CollectOptions{Log: log, Level: level})
}

type agentCommand struct{}

// Run implements the command. The supervisor tells of an agent that cannot
// start.
func (agentCommand) Run(p *program) error {
	child, log, level, err := p.join(split.RoleAgent)
	if err != nil {
		return err
	}
	if child.Agent(p.ctx, p.config.options(log, level)) != nil {
		return errProblems
	}
	return nil
}
