// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"log/slog"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/redact"
)

// Collector produces rows from what happens on the host.
type Collector interface {
	// Run passes rows to the sink until ctx ends, and returns when all that
	// was collected has been passed on.
	Run(ctx context.Context) error
	// Hooks tells how each kind of event is collected.
	Hooks() []picket.Hook
	// Rung names the rung of the hook ladder in use.
	Rung() string
	// Counters returns rows passed on by table and events lost by class, both
	// since the collector was opened. A row that the sink refused is lost.
	Counters() (events, lost map[string]uint64)
	Close() error
}

// Keeper is a collector that wants to know which of its rows are safe in the
// spool: those that were passed on when Passed was called and that Kept names.
type Keeper interface {
	Passed() uint64
	Kept(passed uint64) // never blocks
}

// PolicyTaker is a collector that obeys policies itself. It gets the one in
// force once it is open and each one that follows.
type PolicyTaker interface {
	SetPolicy(*Policy) // never blocks
}

// Accountant is a collector that tells what collecting costs.
type Accountant interface {
	Usage() Usage
}

// Usage is what collecting costs, since the collector was opened.
type Usage struct {
	Kinds     []KindUsage       `json:"kinds"`
	Processes []ProcessUsage    `json:"processes"` // programs that cause most
	Limited   map[string]uint64 `json:"limited"`   // left out by limits and shedding, by class
	Shed      []string          `json:"shed"`      // kinds of event that are not collected at present
}

// KindUsage is what one kind of record costs.
type KindUsage struct {
	Kind          string        `json:"kind"`
	Records       uint64        `json:"records"`
	User          time.Duration `json:"user_ns"`        // in the collector, estimated from a sample
	KernelPercent float64       `json:"kernel_percent"` // of one processor, within the kernel, in the last sample of a second
}

// ProcessUsage is what one program caused.
type ProcessUsage struct {
	Path    string `json:"path"`
	PID     uint32 `json:"pid"` // of its latest process
	Records uint64 `json:"records"`
}

// Excluder is a collector that can be told anew which processes to leave out.
type Excluder interface {
	Exclude(pids []int)
}

// CollectorOptions are what an agent gives to a collector.
type CollectorOptions struct {
	DeviceID      string
	BootID        string
	Log           *slog.Logger
	Sink          func(event.Row) bool    // never blocks; false: the row is lost
	NextReportID  func() int64            // never blocks
	Redactor      func() *redact.Redactor // the one that the policy in force wants
	ScriptContent func() string           // what the policy in force lets be told of scripts: one of ScriptLevels
	Policy        *Policy                 // in force; nil: the default
	Flush         func()                  // moves what was passed on to the spool now
	Wake          func()                  // has that done soon, also when a policy left all rows out
	ExcludePIDs   []int                   // processes whose doings are not collected; nil: this one
}

// OpenCollector opens the collector of a platform.
type OpenCollector func(ctx context.Context, o CollectorOptions) (Collector, error)
