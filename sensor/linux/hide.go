// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"slices"

	"github.com/picket-edr/picket/sensor/linux/command"
)

// redactor is the one in force.
func (c *Collector) redactor() *command.Redactor {
	if c.o.Redactor == nil {
		return c.builtin
	}
	return c.o.Redactor()
}

// setArguments takes the command line of a process, without its secrets: all
// that is made of it later, children's rows too, has none.
func (c *Collector) setArguments(p *process, args []byte) {
	p.cmdline, p.hiddenInLine = command.Line(c.redactor(), args)
}

// setEnvironment takes the kept variables of a process, without secrets, and
// returns the address that its session comes from.
func (c *Collector) setEnvironment(p *process, env []byte) (remoteIP string) {
	p.env, remoteIP, p.hiddenInEnv = command.Environment(c.redactor(), env)
	return remoteIP
}

// noteHidden says in a row about a process by which rules something was hidden
// in it: who wonders why a rule of detection does not match shall find out. In
// rows of other tables the command line of the acting process shows the marker.
func noteHidden(extra map[string]any, p *process) {
	rules := slices.Concat(p.hiddenInLine, p.hiddenInEnv)
	if p.parent != nil {
		rules = append(rules, p.parent.hiddenInLine...)
	}
	if len(rules) > 0 {
		slices.Sort(rules)
		extra["Redacted"] = slices.Compact(rules)
	}
}
