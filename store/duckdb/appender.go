// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
)

// appender writes rows into one table in memory through DuckDB's vectors,
// without a call per value. Rows gather in a chunk; strings are not copied
// until the chunk is handed over, so their memory is pinned until then. All
// rows since the last flush are one transaction. It is not safe for
// concurrent use.
type appender struct {
	engine    *engine
	columns   []schema.Column
	index     map[string]int // of columns by name
	types     []mapping.LogicalType
	app       mapping.Appender
	chunk     mapping.DataChunk
	data      []unsafe.Pointer // of each column's vector
	valid     [][]uint64       // of each column's vector
	rows      int              // in the chunk
	dirty     int              // rows handed over since the last flush
	open      bool             // a transaction
	pins      runtime.Pinner
	place     places
	unknown   int64 // values kept in AdditionalFields
	truncated int64 // values cut
}

// places are the columns that the server fills.
type places struct {
	table, device, name, group, boot, seq, index, timestamp int
}

// always are the columns that every row has, and AdditionalFields, which
// takes what has no column.
var always = []string{store.TableColumn, store.IndexColumn, "DeviceId", "DeviceName", "MachineGroup", "BootId", "BatchSequence", "Timestamp", "AdditionalFields"}

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

func (e *engine) createTable(ctx context.Context, t table) error {
	var defs []string
	for _, c := range t.columns {
		defs = append(defs, name(c.Name)+" "+sqlType(c.Type))
	}
	return e.exec(ctx, fmt.Sprintf("CREATE TABLE %s.%s (%s)", memory, t.name, strings.Join(defs, ", ")))
}

// newAppender opens an appender on a table in memory.
func newAppender(e *engine, t table) (*appender, error) {
	a := &appender{engine: e, columns: t.columns, index: make(map[string]int, len(t.columns)), data: make([]unsafe.Pointer, len(t.columns)), valid: make([][]uint64, len(t.columns))}
	for i, c := range t.columns {
		a.index[strings.ToLower(c.Name)] = i
		a.types = append(a.types, mapping.CreateLogicalType(vectorType(c.Type)))
	}
	at := func(name string) int { return a.index[strings.ToLower(name)] }
	a.place = places{at(store.TableColumn), at("DeviceId"), at("DeviceName"), at("MachineGroup"), at("BootId"), at("BatchSequence"), at(store.IndexColumn), at("Timestamp")}
	catalog, sch, _ := strings.Cut(memory, ".")
	if mapping.AppenderCreateExt(e.conn, catalog, sch, t.name, &a.app) == mapping.StateError {
		err := fmt.Errorf("append to %s: %s: %w", t.name, mapping.AppenderError(a.app), picket.Internal)
		a.close()
		return nil, err
	}
	a.chunk = mapping.CreateDataChunk(a.types)
	a.begin()
	return a, nil
}

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

// textBudget is how many bytes the text of one batch may take in memory. On
// the wire a repeated value counts once; here each row has its own.
const textBudget = 64 << 20

// textLimit returns how long one text of a batch may be so that the batch
// stays within textBudget, and what its text takes then.
func textLimit(b *event.Batch) (limit int, size int64) {
	for limit = 1 << 20; ; limit /= 2 {
		size = 0
		for _, blk := range b.Blocks {
			for i := range blk.Columns {
				for _, s := range blk.Columns[i].Strings {
					size += int64(min(len(s), limit))
				}
			}
		}
		if size <= textBudget || limit <= 16 {
			return limit, size
		}
	}
}

// add appends all rows of a delivery.
func (a *appender) add(h *heldBatch) error {
	row := 0
	for _, b := range h.Batch.Blocks {
		plan := a.plan(b)
		for from := 0; from < b.Rows; {
			n := min(b.Rows-from, chunkRows-a.rows)
			a.origin(h, b, row+from, n)
			for _, p := range plan {
				a.column(h, p.to, p.from, from, n)
			}
			a.dates(h, n)
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
		if max(len(c.Strings), len(c.Ints), len(c.Reals)) != b.Rows {
			continue // no reader of batches lets this pass
		}
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
	return append(plan, planned{merged, a.index[strings.ToLower(merged.Name)]})
}

// merge returns the AdditionalFields of a block with unknown columns added.
func (a *appender) merge(b *event.Block, extra []*event.Column) *event.Column {
	const name = "AdditionalFields"
	out := &event.Column{Name: name, Type: schema.Dynamic, Strings: make([]string, b.Rows)}
	for i := range b.Rows {
		old := b.Text(name, i)
		fields := map[string]json.RawMessage{}
		for _, c := range extra {
			if text := c.Text(i); text != "" {
				fields[c.Name] = encodeText(text)
				a.unknown++
			}
		}
		if len(fields) == 0 {
			out.Strings[i] = old
			continue
		}
		mergeOld(fields, old)
		if data, err := json.Marshal(fields); err == nil {
			out.Strings[i] = string(data)
		}
	}
	return out
}

// mergeOld adds what AdditionalFields had, which wins over unknown columns.
func mergeOld(fields map[string]json.RawMessage, old string) {
	if old == "" {
		return
	}
	had := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(old), &had) != nil || had == nil {
		had = map[string]json.RawMessage{"text": encodeText(old)}
	}
	maps.Copy(fields, had)
}

// encodeText writes a text as JSON, which replaces bytes that are no text.
func encodeText(s string) json.RawMessage {
	data, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage(`""`)
	}
	return data
}

// text prepares a text for a vector: valid UTF-8, which the engine relies on,
// not too long, and pinned in memory until the chunk is handed over.
func (a *appender) text(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
		a.truncated++
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if len(s) > 12 {
		a.pins.Pin(unsafe.StringData(s))
	}
	return s
}

// origin writes what the server knows about n rows.
func (a *appender) origin(h *heldBatch, b *event.Block, index, n int) {
	e := &h.Envelope
	text := [...]struct {
		col   int
		value string
	}{
		{a.place.table, a.text(b.Name, h.limit)}, {a.place.device, a.text(e.DeviceID, h.limit)}, {a.place.name, a.text(e.DeviceName, h.limit)},
		{a.place.group, a.text(e.Group, h.limit)}, {a.place.boot, a.text(e.BootID, h.limit)},
	}
	for i := range n {
		r := a.rows + i
		for _, t := range text {
			a.setString(t.col, r, t.value)
		}
		a.setInt(a.place.seq, r, int64(e.Seq))
		a.setInt(a.place.index, r, int64(index+i))
	}
}

// dates gives rows without a time the moment of reception: a row without one
// would be in no day.
func (a *appender) dates(h *heldBatch, n int) {
	for r := a.rows; r < a.rows+n; r++ {
		if a.valid[a.place.timestamp][r/64]&(1<<(r%64)) == 0 {
			a.setInt(a.place.timestamp, r, int64(h.Envelope.Received))
		}
	}
}

// serverOnly are columns that a sensor cannot write.
var serverOnly = serverColumns()

func serverColumns() map[string]bool {
	m := map[string]bool{strings.ToLower(store.TableColumn): true, strings.ToLower(store.IndexColumn): true}
	for _, c := range schema.Wide() {
		if c.IsServerOnly() {
			m[strings.ToLower(c.Name)] = true
		}
	}
	return m
}

// column writes n values of one column.
func (a *appender) column(h *heldBatch, to int, c *event.Column, from, n int) {
	if serverOnly[strings.ToLower(c.Name)] {
		return
	}
	switch {
	case c.Strings != nil:
		a.strings(to, c.Strings[from:from+n], h.limit)
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
			if v := h.Envelope.Correct(event.Time(c.Ints[from+i])); v != 0 {
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

// strings writes texts. Neighbours often share their memory.
func (a *appender) strings(to int, values []string, limit int) {
	last, ready := "", ""
	for i, s := range values {
		if s == "" {
			continue
		}
		if len(last) != len(s) || unsafe.StringData(last) != unsafe.StringData(s) {
			last, ready = s, a.text(s, limit)
		}
		a.setString(to, a.rows+i, ready)
	}
}

// hand gives the chunk to DuckDB, which copies it.
func (a *appender) hand() error {
	if a.rows == 0 {
		return nil
	}
	if !a.open {
		if err := a.engine.run("BEGIN TRANSACTION"); err != nil {
			return err
		}
		a.open = true
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

// flush makes all rows visible. After an error none of those since the last
// flush is there, and the appender can only be closed.
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
	if err := a.engine.run("COMMIT"); err != nil {
		return err
	}
	a.dirty, a.open = 0, false
	return nil
}

// close drops rows that were not flushed.
func (a *appender) close() {
	a.pins.Unpin()
	if a.chunk.Ptr != nil {
		mapping.DestroyDataChunk(&a.chunk)
	}
	if a.dirty > 0 {
		mapping.AppenderClear(a.app)
	}
	mapping.AppenderDestroy(&a.app)
	if a.open {
		_ = a.engine.run("ROLLBACK") // a failed commit has ended the transaction already
	}
	for i := range a.types {
		mapping.DestroyLogicalType(&a.types[i])
	}
}
