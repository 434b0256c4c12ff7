// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"

	"github.com/picket-edr/picket"
)

// runSplit: the sensor is one process here.
func (p *program) runSplit(*slog.Logger) (done bool, err error) { return false, nil }

type collectorCommand struct{}

// Run implements the command.
func (collectorCommand) Run(*program) error { return notHere() }

type agentCommand struct{}

// Run implements the command.
func (agentCommand) Run(*program) error { return notHere() }

func notHere() error {
	return fmt.Errorf("the sensor is one process on this system: %w", picket.Unavailable)
}
