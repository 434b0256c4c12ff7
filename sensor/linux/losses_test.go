// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/kernel"
	"github.com/picket-edr/picket/sensor/linux/logon"
)

// A loss in the kernel reaches the counters, the next row of its table, and a
// row of its own, each once.
func TestLossesAreTold(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	counters := make([]kernel.Counter, len(kernel.Classes))
	counters[0].Lost, counters[3].Lost, counters[4].Lost = 2, 5, 6
	f.takeCounters(append([]kernel.Counter(nil), counters...))
	f.takeCounters(append([]kernel.Counter(nil), counters...)) // nothing new
	counters[3].Lost++
	f.takeCounters(append([]kernel.Counter(nil), counters...))
	f.tellLosses()
	f.tellLosses()
	f.out.push(&event.DeviceFileEvents{}, nil, nil, false)
	f.out.push(&event.DeviceProcessEvents{}, nil, nil, false)
	rows := f.take()
	if len(rows) != 3 {
		t.Fatalf("%d rows", len(rows))
	}
	loss := rows[0].(*event.DeviceEvents)
	var told struct{ Lost, Total map[string]uint64 }
	if err := json.Unmarshal([]byte(loss.AdditionalFields), &told); err != nil {
		t.Fatal(err)
	}
	if loss.ActionType != "SensorLoss" || told.Lost["ring.exec"] != 2 || told.Lost["ring.file"] != 6 || told.Lost["ring.delete"] != 6 || told.Total["ring.file"] != 6 {
		t.Errorf("told %+v", told)
	}
	if n := rows[1].(*event.DeviceFileEvents).EvidenceLoss; n != 12 {
		t.Errorf("the file row tells of %d", n)
	}
	if n := rows[2].(*event.DeviceProcessEvents).EvidenceLoss; n != 2 {
		t.Errorf("the process row tells of %d", n)
	}
	f.lost.add("hash.late", 9)
	f.tellLosses()
	if len(f.take()) != 0 {
		t.Error("a missing hash is told as a lost event")
	}
}

func TestUnknownBytesAreCounted(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.handle(nil)
	f.handle(make([]byte, 200))
	if n := f.lost.copy()["decode"]; n != 2 {
		t.Errorf("counted %d", n)
	}
}

// Without a kernel the other sources still work, and the collector stops.
func TestRunWithoutKernel(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.o.NextReportID = nil
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan event.Row, 1)
	f.out.sink = func(r event.Row) bool {
		switch r.(type) {
		case *event.DeviceLogonEvents:
			got <- r
		case *event.DeviceInfo:
			cancel()
		}
		return true
	}
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	f.logons.Became(logon.Fact{Program: "sudo", User: "eve"})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r := (<-got).(*event.DeviceLogonEvents); r.AccountName != "eve" {
		t.Errorf("row %v", columns(r))
	}
	events, _ := f.Counters()
	if events["DeviceLogonEvents"] != 1 || events["DeviceInfo"] != 1 {
		t.Errorf("counted %v", events)
	}
	if f.Rung() != "off" || len(f.Hooks()) != 0 {
		t.Errorf("rung %s", f.Rung())
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.kernel.Tasks(); err == nil {
		t.Error("processes were listed without a kernel")
	}
	if _, err := f.kernel.Counters(); err == nil || errors.Is(err, picket.NotFound) {
		t.Errorf("counters without a kernel: %v", err)
	}
}

func TestFullInboxIsCounted(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	for range cap(f.inbox) {
		f.do(func() {})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 3 {
		f.logons.Became(logon.Fact{Program: "sudo", User: itoa(uint32(i))})
	}
	if err := f.logons.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := f.lost.copy()["inbox.full"]; n != 3 {
		t.Errorf("counted %d", n)
	}
	f.take()
	f.out.push(&event.DeviceLogonEvents{}, nil, nil, false)
	if n := f.take()[0].(*event.DeviceLogonEvents).EvidenceLoss; n != 3 {
		t.Errorf("the next row tells of %d", n)
	}
}

func TestInventory(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	a, b := f.deviceInfo(), f.deviceInfo()
	if a != b {
		t.Errorf("two looks at one host differ: %v %v", columns(&a), columns(&b))
	}
	if a.OSPlatform != "Linux" || a.DeviceCategory != "Endpoint" || a.OnboardingStatus != "Onboarded" || a.ClientVersion != picket.Version {
		t.Errorf("info %v", columns(&a))
	}
	adapters := networkInfo()
	if !equalRows(adapters, networkInfo()) || equalRows(adapters, nil) {
		t.Error("adapters are compared wrongly")
	}
	for _, r := range adapters {
		if r.NetworkAdapterName == "lo" && (r.NetworkAdapterType != "Loopback" || r.DnsAddresses != "") {
			t.Errorf("loopback %v", columns(&r))
		}
	}
}
