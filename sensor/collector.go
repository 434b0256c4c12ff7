// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"log/slog"

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

// CollectorOptions are what an agent gives to a collector.
type CollectorOptions struct {
	DeviceID     string
	BootID       string
	Log          *slog.Logger
	Sink         func(event.Row) bool    // never blocks; false: the row is lost
	NextReportID func() int64            // never blocks
	Redactor     func() *redact.Redactor // the one that the policy in force wants
}

// OpenCollector opens the collector of a platform.
type OpenCollector func(ctx context.Context, o CollectorOptions) (Collector, error)
