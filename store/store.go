// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
)

// Names of the physical table and of its columns beyond schema.Wide.
const (
	EventsTable = "events"    // every row of every table
	TableColumn = "TableName" // logical table of a row
	IndexColumn = "RowIndex"  // place of a row within its batch
)

// Position is a place in a tenant's stream. Positions of another epoch mean
// nothing.
type Position struct {
	Epoch    string `json:"epoch"`
	Sequence uint64 `json:"sequence"`
}

// Delivery is one envelope from the bus with its decoded batch.
type Delivery struct {
	Position Position
	Envelope event.Envelope
	Batch    *event.Batch
}

// Events is a store of one tenant's telemetry.
type Events interface {
	// Ensure makes or extends the physical table for the columns.
	Ensure(ctx context.Context, columns []schema.Column) error
	// Append takes deliveries in the order of their positions and keeps a
	// hold of them. A batch that is there already (same device, boot and
	// number, or an earlier number of that boot) is left out. Rows are visible
	// to Query within half a second; they are durable once Sealed has passed
	// their position. Append waits while the store cannot take more.
	Append(ctx context.Context, deliveries []Delivery) error
	// Sealed returns the position up to which everything is durable here.
	Sealed() Position
	// Query runs one SELECT statement. Every logical table is there by its
	// name, and all rows as EventsTable. Within tells which rows it needs.
	Query(ctx context.Context, query string, args ...any) (Rows, error)
	// Expire forgets rows older than a moment, as far as whole files go.
	Expire(ctx context.Context, before time.Time) error
	// Close seals what is in memory and closes the store.
	Close() error
}

// Rows is the answer to a query, read as that of database/sql. Close it.
type Rows interface {
	Columns() []string
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// Stats describe what a store holds.
type Stats struct {
	Rows      int64 // sealed and in memory
	Hot       int64 // in memory
	Files     int
	Bytes     int64 // on disk
	Lost      int64 // rows in files that were damaged or missing
	Oldest    time.Time
	Newest    time.Time
	Unknown   int64    // values of columns that this build does not know, kept in AdditionalFields
	Truncated int64    // values cut because their batch would have taken too much memory
	Duplicate int64    // batches left out because they were there already
	Damage    []Damage // files given up, newest last
}

// Damage is one file of events that was damaged or missing and whose rows are
// lost. The remains, if any, are set aside, not deleted.
type Damage struct {
	File     string    `json:"file"`
	Reason   string    `json:"reason"`
	Rows     int64     `json:"rows"`
	From, To time.Time // of the rows' Timestamps, both inclusive
	Found    time.Time `json:"found"`
}

type window struct{}

// Between is a span of time, both ends inclusive. A zero end is no bound.
type Between struct{ From, To time.Time }

// Within returns a context in which a query needs only rows with a Timestamp
// in the span. It spares an engine from looking at others; whether it returns
// them nevertheless is left open, so a statement says what it wants too.
func Within(ctx context.Context, from, to time.Time) context.Context {
	return context.WithValue(ctx, window{}, Between{from, to})
}

// WindowOf returns the span that Within set, or no bounds.
func WindowOf(ctx context.Context) Between {
	b, _ := ctx.Value(window{}).(Between)
	return b
}
