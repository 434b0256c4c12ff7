// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"strings"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// onKernelFile tells what a write to a file of the kernel does beside changing
// a file: it sets how the kernel works, or reaches into another process.
func (c *Collector) onKernelFile(r *record.File, p *process) {
	if pid, ok := procfs.MemoryOf(r.Path); ok && r.Image.Sup == procMagic {
		if p == nil || pid != p.key.pid {
			c.memoryWritten(r, p, pid)
		}
		return
	}
	name, ok := procfs.Setting(r.Path)
	if !ok {
		return
	}
	row := &event.DeviceEvents{Timestamp: c.clock.time(r.Time), ActionType: "KernelSettingChanged"}
	c.plans.fill(row, c.describe(p))
	row.FolderPath, row.FileName = r.Path, baseName(r.Path)
	extra := map[string]any{"Setting": name}
	if strings.HasPrefix(r.Path, "/proc/sys/") && (p == nil || p.container == "") {
		extra["Value"] = c.valueOf(r.Path)
	}
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, nil, actorImage(p), false)
}

// memoryWritten tells that the memory of another process was open for writing.
func (c *Collector) memoryWritten(r *record.File, p *process, pid uint32) {
	a := &record.Action{Header: r.Header, Kind: record.MemWrite, TargetPID: pid, Base: r.Path}
	told, ok := record.Explain(a)
	if !ok {
		return
	}
	c.actionRow(a, told, p, c.target(a, told, p))
}
