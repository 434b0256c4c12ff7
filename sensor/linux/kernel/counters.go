// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kernel

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
)

const counterSize = 32 // four 64-bit numbers

// Class is one kind of kernel event that is counted by itself.
type Class struct {
	Name  string // of the loss counter
	Table string // whose rows carry the loss
}

// Classes in the order of bpf/picket.h.
var Classes = []Class{
	{"ring.exec", "DeviceProcessEvents"},
	{"ring.fork", "DeviceProcessEvents"},
	{"ring.exit", "DeviceProcessEvents"},
	{"ring.file", "DeviceFileEvents"},
	{"ring.delete", "DeviceFileEvents"},
	{"ring.rename", "DeviceFileEvents"},
	{"ring.link", "DeviceFileEvents"},
	{"ring.connect", "DeviceNetworkEvents"},
	{"ring.accept", "DeviceNetworkEvents"},
	{"ring.listen", "DeviceNetworkEvents"},
	{"ring.dns", "DeviceEvents"},
	{"ring.flow", "DeviceNetworkEvents"},
	{"ring.attribute", "DeviceFileEvents"},
	{"ring.privilege", "DeviceEvents"},
	{"ring.kernel", "DeviceEvents"},
	{"ring.image", "DeviceImageLoadEvents"},
	{"ring.close", "DeviceNetworkEvents"},
	{"ring.payload", "DeviceNetworkEvents"},
	{"ring.socket", "DeviceEvents"},
	{"ring.script", "DeviceEvents"},
	{"ring.summary", "DeviceEvents"},
	{"", ""}, // classNested
}

// classNested is no kind of event: it counts the runs of network_nested that
// stand in for skipped ones of network_state.
var classNested = len(Classes) - 1

// Counter is one entry of the counters map, summed over processors.
//
// Limited events were left out by a limit, and are told of in a summary.
type Counter struct{ Produced, Lost, Filtered, Limited uint64 }

// Counters sums the counters of each class over processors.
func (k *Kernel) Counters() ([]Counter, error) {
	if k == nil || k.counters == nil {
		return nil, fmt.Errorf("no counters: %w", ebpf.ErrMapIncompatible)
	}
	b := make([]byte, processors()*len(Classes)*counterSize)
	if _, err := k.counters.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	return sumCounters(b), nil
}

// sumCounters adds up the classes of all processors.
func sumCounters(b []byte) []Counter {
	sums := make([]Counter, len(Classes))
	for i := 0; len(b) >= counterSize; i++ {
		n := &sums[i%len(Classes)]
		n.Produced += binary.LittleEndian.Uint64(b)
		n.Lost += binary.LittleEndian.Uint64(b[8:])
		n.Filtered += binary.LittleEndian.Uint64(b[16:])
		n.Limited += binary.LittleEndian.Uint64(b[24:])
		b = b[counterSize:]
	}
	return sums
}

// Skipped counts programs that the kernel did not run because they would
// have interrupted themselves, and that no other program stood in for.
func (k *Kernel) Skipped() uint64 {
	if k == nil {
		return 0
	}
	var n, network uint64
	for name, p := range k.programs {
		s, err := p.Stats()
		switch {
		case err != nil || name == "network_nested": // its own skipped runs had network_state run
		case name == "network_state":
			network = s.RecursionMisses
		default:
			n += s.RecursionMisses
		}
	}
	if now, err := k.Counters(); err == nil {
		network -= min(network, now[classNested].Produced)
	}
	return n + network
}
