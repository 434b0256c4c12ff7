// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import "github.com/picket-edr/picket/sensor/linux/record"

// onAction tells what else a process did.
func (c *Collector) onAction(r *record.Action) {
	switch r.Kind {
	case record.Firewall:
		c.onTable(r)
	default:
		c.lost.add("decode", 1)
	}
}
