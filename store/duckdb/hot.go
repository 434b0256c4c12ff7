// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
)

// appender writes rows into one table in memory through DuckDB's vectors,
// without a call per value. Rows gather in a chunk; strings are not copied
// until the chunk is handed over, so their memory is pinned until then. It is
// not safe for concurrent use.
type appender struct {
	columns []schema.Column
	index   map[string]int // of columns by name
	types   []mapping.LogicalType
	app     mapping.Appender
	chunk   mapping.DataChunk
	data    []unsafe.Pointer // of each column's vector
	valid   [][]uint64       // of each column's vector
	rows    int              // in the chunk
	dirty   int              // rows handed over since the last flush
	pins    runtime.Pinner
	unknown int64
}

// chunkRows is how many rows DuckDB's vectors hold.
const chunkRows = 2048

// physical returns the columns of the table in memory and of the files. The
// engine does not tell names apart by case; LogonID and LogonId mean the same
// and share a column.
func physical(columns []schema.Column) []schema.Column {
	out := []schema.Column{{Name: store.TableColumn}}
	seen := map[string]bool{}
	for _, c := range columns {
		if key := strings.ToLower(c.Name); !seen[key] {
			seen[key] = true
			out = append(out, c)
		}
	}
	return append(out, schema.Column{Name: store.IndexColumn, Type: schema.Long})
}

// sqlType is the DuckDB type that holds a column.
func sqlType(t schema.Type) string {
	switch t {
	case schema.Long, schema.Int:
		return "BIGINT"
	case schema.Real:
		return "DOUBLE"
	case schema.Bool:
		return "BOOLEAN"
	case schema.Datetime:
		return "TIMESTAMP"
	}
	return "VARCHAR"
}

func vectorType(t schema.Type) mapping.Type {
	switch t {
	case schema.Long, schema.Int:
		return mapping.TypeBigInt
	case schema.Real:
		return mapping.TypeDouble
	case schema.Bool:
		return mapping.TypeBoolean
	case schema.Datetime:
		return mapping.TypeTimestamp
	}
	return mapping.TypeVarchar
}

// newAppender opens an appender on a table with the physical columns.
func newAppender(conn mapping.Connection, table string, columns []schema.Column) (*appender, error) {
	a := &appender{columns: columns, index: make(map[string]int, len(columns)), data: make([]unsafe.Pointer, len(columns)), valid: make([][]uint64, len(columns))}
	for i, c := range columns {
		a.index[strings.ToLower(c.Name)] = i
		a.types = append(a.types, mapping.CreateLogicalType(vectorType(c.Type)))
	}
	if mapping.AppenderCreate(conn, "", table, &a.app) == mapping.StateError {
		err := fmt.Errorf("append to %s: %s: %w", table, mapping.AppenderError(a.app), picket.Internal)
		a.close()
		return nil, err
	}
	a.chunk = mapping.CreateDataChunk(a.types)
	a.begin()
	return a, nil
}

// place returns the number of a column that is always there.
func (a *appender) place(name string) int { return a.index[strings.ToLower(name)] }

func (a *appender) has(name string) bool {
	_, ok := a.index[strings.ToLower(name)]
	return ok
}

// begin readies the chunk for its first row: every value null.
func (a *appender) begin() {
	mapping.DataChunkReset(a.chunk)
	for i := range a.columns {
		v := mapping.DataChunkGetVector(a.chunk, mapping.IdxT(i))
		mapping.VectorEnsureValidityWritable(v)
		a.data[i] = mapping.VectorGetData(v)
		a.valid[i] = unsafe.Slice((*uint64)(mapping.VectorGetValidity(v)), chunkRows/64)
		clear(a.valid[i])
	}
	a.rows = 0
}

// stringT is DuckDB's string: up to 12 bytes inside, longer ones by pointer.
type stringT struct {
	length uint32
	prefix [4]byte
	tail   [8]byte
}

func (a *appender) setString(col, row int, s string) {
	if s == "" {
		return
	}
	dst := (*stringT)(unsafe.Add(a.data[col], row*int(unsafe.Sizeof(stringT{}))))
	*dst = stringT{length: uint32(len(s))}
	if len(s) <= 12 {
		copy(unsafe.Slice(&dst.prefix[0], 12), s)
	} else {
		copy(dst.prefix[:], s)
		*(*uintptr)(unsafe.Pointer(&dst.tail)) = uintptr(unsafe.Pointer(unsafe.StringData(s)))
	}
	a.mark(col, row)
}

func (a *appender) setInt(col, row int, v int64) {
	*(*int64)(unsafe.Add(a.data[col], row*8)) = v
	a.mark(col, row)
}

func (a *appender) mark(col, row int) { a.valid[col][row/64] |= 1 << (row % 64) }

// add appends all rows of a delivery.
func (a *appender) add(d *store.Delivery) error {
	row := 0
	for _, b := range d.Batch.Blocks {
		plan := a.plan(b)
		for from := 0; from < b.Rows; {
			n := min(b.Rows-from, chunkRows-a.rows)
			a.origin(d, b, row+from, n)
			for _, p := range plan {
				a.column(&d.Envelope, p.to, p.from, from, n)
			}
			a.rows += n
			from += n
			if a.rows == chunkRows {
				if err := a.hand(); err != nil {
					return err
				}
			}
		}
		row += b.Rows
	}
	return nil
}

// planned is one column of a block and its place in the table.
type planned struct {
	from *event.Column
	to   int
}

// plan finds the place of each column of a block. Columns that the table does
// not have go into AdditionalFields, so that a newer sensor loses nothing.
func (a *appender) plan(b *event.Block) []planned {
	var plan []planned
	var extra []*event.Column
	for i := range b.Columns {
		c := &b.Columns[i]
		if to, ok := a.index[strings.ToLower(c.Name)]; ok && vectorType(a.columns[to].Type) == vectorType(c.Type) {
			plan = append(plan, planned{c, to})
		} else {
			extra = append(extra, c)
		}
	}
	if len(extra) == 0 {
		return plan
	}
	merged := a.merge(b, extra)
	for i := range plan {
		if plan[i].from.Name == merged.Name {
			plan[i].from = merged
			return plan
		}
	}
	return append(plan, planned{merged, a.place(merged.Name)})
}

// merge returns the AdditionalFields of a block with unknown columns added.
func (a *appender) merge(b *event.Block, extra []*event.Column) *event.Column {
	const name = "AdditionalFields"
	out := &event.Column{Name: name, Strings: make([]string, b.Rows)}
	for i := range b.Rows {
		fields := map[string]any{}
		old := b.Text(name, i)
		if old != "" && json.Unmarshal([]byte(old), &fields) != nil {
			fields = map[string]any{"text": old}
		}
		for _, c := range extra {
			if text := c.Text(i); text != "" {
				fields[c.Name] = text
				a.unknown++
			}
		}
		if len(fields) == 0 {
			continue
		}
		if data, err := json.Marshal(fields); err == nil {
			out.Strings[i] = string(data)
		}
	}
	return out
}

// pin keeps a string's memory in place until the chunk is handed over. All
// strings of a decoded batch share few allocations, and pinning is counted.
func (a *appender) pin(s string) string {
	if len(s) > 12 {
		a.pins.Pin(unsafe.StringData(s))
	}
	return s
}

// origin writes what the server knows about n rows.
func (a *appender) origin(d *store.Delivery, b *event.Block, index, n int) {
	e := &d.Envelope
	text := [...]struct {
		col   int
		value string
	}{
		{a.place(store.TableColumn), a.pin(b.Name)}, {a.place("DeviceId"), a.pin(e.DeviceID)}, {a.place("DeviceName"), a.pin(e.DeviceName)},
		{a.place("MachineGroup"), a.pin(e.Group)}, {a.place("BootId"), a.pin(e.BootID)},
	}
	seq, at := a.place("BatchSequence"), a.place(store.IndexColumn)
	for i := range n {
		r := a.rows + i
		for _, t := range text {
			a.setString(t.col, r, t.value)
		}
		a.setInt(seq, r, int64(e.Seq))
		a.setInt(at, r, int64(index+i))
	}
}

// serverOnly are columns that a sensor cannot write.
var serverOnly = serverColumns()

func serverColumns() map[string]bool {
	m := map[string]bool{}
	for _, c := range schema.Wide() {
		if c.IsServerOnly() {
			m[c.Name] = true
		}
	}
	return m
}

// column writes n values of one column.
func (a *appender) column(e *event.Envelope, to int, c *event.Column, from, n int) {
	if serverOnly[c.Name] {
		return
	}
	switch {
	case c.Strings != nil:
		last := ""
		for i := range n {
			s := c.Strings[from+i]
			if s == "" {
				continue
			}
			if len(s) > 12 && (len(last) != len(s) || unsafe.StringData(last) != unsafe.StringData(s)) {
				a.pins.Pin(unsafe.StringData(s))
				last = s
			}
			a.setString(to, a.rows+i, s)
		}
	case c.Reals != nil:
		for i := range n {
			if v := c.Reals[from+i]; v != 0 {
				*(*float64)(unsafe.Add(a.data[to], (a.rows+i)*8)) = v
				a.mark(to, a.rows+i)
			}
		}
	case c.Type == schema.Bool:
		for i := range n {
			*(*bool)(unsafe.Add(a.data[to], a.rows+i)) = c.Ints[from+i] != 0
			a.mark(to, a.rows+i)
		}
	case c.Type == schema.Datetime:
		for i := range n {
			if v := e.Correct(event.Time(c.Ints[from+i])); v != 0 {
				a.setInt(to, a.rows+i, int64(v))
			}
		}
	default:
		for i := range n {
			if !c.Null(from + i) {
				a.setInt(to, a.rows+i, c.Ints[from+i])
			}
		}
	}
}

// hand gives the chunk to DuckDB, which copies it.
func (a *appender) hand() error {
	if a.rows == 0 {
		return nil
	}
	mapping.DataChunkSetSize(a.chunk, mapping.IdxT(a.rows))
	state := mapping.AppendDataChunk(a.app, a.chunk)
	a.pins.Unpin()
	if state == mapping.StateError {
		return fmt.Errorf("append %d rows: %s: %w", a.rows, mapping.AppenderError(a.app), picket.Internal)
	}
	a.dirty += a.rows
	a.begin()
	return nil
}

// flush makes all rows visible.
func (a *appender) flush() error {
	if err := a.hand(); err != nil {
		return err
	}
	if a.dirty == 0 {
		return nil
	}
	if mapping.AppenderFlush(a.app) == mapping.StateError {
		return fmt.Errorf("flush %d rows: %s: %w", a.dirty, mapping.AppenderError(a.app), picket.Internal)
	}
	a.dirty = 0
	return nil
}

func (a *appender) close() {
	a.pins.Unpin()
	if a.chunk.Ptr != nil {
		mapping.DestroyDataChunk(&a.chunk)
	}
	mapping.AppenderDestroy(&a.app)
	for i := range a.types {
		mapping.DestroyLogicalType(&a.types[i])
	}
}

// quote writes an SQL string literal.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
