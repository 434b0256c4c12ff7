// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

// Exclude replaces the processes whose doings are not collected.
func (c *Collector) Exclude(pids []int) {
	c.excluding.Lock()
	defer c.excluding.Unlock()
	c.o.ExcludePIDs = pids
	if c.kernel == nil {
		return
	}
	if err := c.kernel.Exclude(pids); err != nil {
		c.log.Warn("not all processes of the sensor are left out", "error", err)
	}
}
