// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor"
)

func TestPrintStatus(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.Local)
	s := &sensor.Status{
		Version: "1.2.3", PID: 42, DeviceID: "d1", Tenant: "acme", Group: "lab", Server: "gw:8444", LastError: "refused", Certificate: at,
		Policy: 7, SpoolBytes: 10, SpoolLimit: 100, SpoolError: "disk", CPUPercent: 1.26, RSSBytes: 64 << 20, UptimeSeconds: 61, Filtered: 3,
		Events: map[string]uint64{"DeviceFileEvents": 2, "DeviceEvents": 1},
		Hooks:  []picket.Hook{{Kind: "process", Rung: "tracepoint", Attached: true}, {Kind: "file", Rung: "tracepoint", Attached: true, BlindSpot: "io_uring"}, {Kind: "dns", Rung: "off", Error: "not root"}},
	}
	want := `Sensor:              1.2.3, process 42, up 1m1s
Device:              d1, tenant acme, group "lab"
Server:              not connected to gw:8444: refused
Certificate:         good until 2026-11-24 10:00:00
Policy:              version 7
Spool:               10 of 100 bytes
                     last error: disk
Load:                1.3 % of a processor, 64 MiB
Events:              DeviceEvents 1, DeviceFileEvents 2
Lost:                none
Left out by policy:  3
Hook process:        tracepoint
Hook file:           tracepoint; does not see: io_uring
Hook dns:            not collected: not root
`
	var b strings.Builder
	if err := printStatus(&b, s); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
	s.Connected, s.Since, s.Way = true, at, "direct"
	b.Reset()
	if err := printStatus(&b, s); err != nil || !strings.Contains(b.String(), "connected to gw:8444 (direct) since 2026-11-24 10:00:00") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestPrintConnectivity(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := printConnectivity(&b, &sensor.Connectivity{
		Way: "explicit", Proxy: "http://p:1", Server: "gw:8444", Failed: "proxy",
		Steps: []sensor.Step{{Step: "dns", OK: true, Detail: "192.0.2.1"}, {Step: "proxy", Error: "407"}},
	})
	want := "explicit http://p:1 to gw:8444: fails at proxy\n  dns    ok      192.0.2.1\n  proxy  FAILED  407\n"
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, b.String())
	}
}
