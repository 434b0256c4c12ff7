// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
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
	// Append takes deliveries in the order of their positions. A batch that
	// is there already (same device, boot and number, or an earlier number of
	// that boot) is left out. Rows are visible to Query within half a second;
	// they are durable once Sealed has passed their position.
	Append(ctx context.Context, deliveries []Delivery) error
	// Sealed returns the position up to which everything is durable here.
	Sealed() Position
	// Query runs one statement. Every logical table is a view of that name.
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	// Expire forgets rows older than a moment, as far as whole files go.
	Expire(ctx context.Context, before time.Time) error
	// Close seals what is in memory and closes the store.
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
	Unknown   int64 // values of columns that this build does not know, kept in AdditionalFields
	Duplicate int64 // batches left out because they were there already
}
