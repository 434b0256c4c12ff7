// SPDX-License-Identifier: Apache-2.0

package event

import (
	"time"

	"github.com/picket-edr/picket/schema"
)

// Time is a moment in microseconds since the Unix epoch, UTC. Zero is null.
type Time int64

// TimeOf converts a time; the zero time becomes null.
func TimeOf(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return Time(t.UnixMicro())
}

// Time returns t as a UTC time; null becomes the zero time.
func (t Time) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(t)).UTC()
}

// String formats t in RFC 3339 with microseconds, "" for null.
func (t Time) String() string {
	if t == 0 {
		return ""
	}
	return t.Time().Format("2006-01-02T15:04:05.000000Z07:00")
}

// Long is the value of an optional column: zero is a value, absence is null.
type Long struct {
	Value int64
	Valid bool
}

// LongOf returns a present value.
func LongOf(v int64) Long { return Long{v, true} }

// Row is one typed row of a table. Only the generated types implement it.
type Row interface {
	Table() *schema.Table
	visit(visitor)
}

// visitor is shown every field of a row, by its place in the table.
type visitor interface {
	text(i int, p *string)
	number(i int, p *int64)
	optional(i int, p *Long)
	time(i int, p *Time)
	flag(i int, p *bool)
	real(i int, p *float64)
}
