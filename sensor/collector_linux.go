// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"os"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor/linux"
	"github.com/picket-edr/picket/sensor/linux/budget"
	"github.com/picket-edr/picket/sensor/linux/facts"
	"github.com/picket-edr/picket/wire/wirepb"
)

// OpenHost opens the collector of this platform. The sensor's own doings are
// left out: its spool would feed itself.
func OpenHost(ctx context.Context, o CollectorOptions) (Collector, error) {
	if o.ExcludePIDs == nil {
		o.ExcludePIDs = []int{os.Getpid()}
	}
	c, err := linux.Open(ctx, linux.Options{
		DeviceID: o.DeviceID, BootID: o.BootID, Log: o.Log, Sink: o.Sink, NextReportID: o.NextReportID, ExcludePIDs: o.ExcludePIDs,
		Redactor: o.Redactor, ScriptContent: o.ScriptContent,
	})
	if err != nil {
		return nil, err
	}
	h := &hostCollector{c}
	h.SetPolicy(o.Policy)
	return h, nil
}

// hostCollector obeys policies and tells costs in the agent's terms.
type hostCollector struct{ *linux.Collector }

// SetPolicy implements PolicyTaker.
func (h *hostCollector) SetPolicy(p *Policy) {
	if p == nil {
		p = &Policy{}
	}
	h.SetBudget(linux.Budget{Limits: budget.Default().With(p.Limits), Ceiling: p.Ceiling.or(budget.DefaultCeiling)})
}

// Usage implements Accountant.
func (h *hostCollector) Usage() Usage {
	u := h.Collector.Usage()
	out := Usage{Kinds: []KindUsage{}, Processes: []ProcessUsage{}, Limited: h.Limited(), Shed: u.Shed}
	for _, k := range u.Kinds {
		out.Kinds = append(out.Kinds, KindUsage{k.Kind, k.Records, k.User, k.KernelPercent})
	}
	for _, p := range u.Processes {
		out.Processes = append(out.Processes, ProcessUsage{p.Path, p.PID, p.Records})
	}
	return out
}

// HostFacts describes this host.
func HostFacts() *wirepb.Facts {
	f := facts.Read()
	return &wirepb.Facts{
		HostName: f.HostName, OsPlatform: f.OSPlatform, OsDistribution: f.Distribution, OsVersion: f.OSVersion,
		Architecture: f.Architecture, KernelVersion: f.Kernel, SensorVersion: picket.Version, MachineId: f.MachineID,
		BootId: f.BootID, IpAddresses: f.IPs, HardwareUuid: f.HardwareUUID,
	}
}
