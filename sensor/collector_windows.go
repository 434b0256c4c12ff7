// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/wire/wirepb"
)

// noCollector stands where a platform has no collectors: the agent runs,
// connects and says so.
type noCollector struct{}

// OpenHost opens the collector of this platform.
func OpenHost(context.Context, CollectorOptions) (Collector, error) { return noCollector{}, nil }

func (noCollector) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (noCollector) Hooks() []picket.Hook {
	var hooks []picket.Hook
	for _, kind := range Kinds {
		hooks = append(hooks, picket.Hook{Kind: kind, Rung: "off", Error: fmt.Sprintf("no collectors on %s", runtime.GOOS)})
	}
	return hooks
}

func (noCollector) Rung() string { return "off" }

func (noCollector) Counters() (events, lost map[string]uint64) { return nil, nil }

func (noCollector) Close() error { return nil }

// HostFacts describes this host.
func HostFacts() *wirepb.Facts {
	f := &wirepb.Facts{OsPlatform: platformName(), Architecture: runtime.GOARCH, SensorVersion: picket.Version}
	if name, err := os.Hostname(); err == nil {
		f.HostName = strings.ToLower(name)
	}
	f.MachineId, f.BootId, f.OsVersion = hostIdentity()
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
				f.IpAddresses = append(f.IpAddresses, n.IP.String())
			}
		}
	}
	return f
}
