// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"math"

	"github.com/picket-edr/picket"
)

// AppendRow appends the form in which a row passes between two processes of
// one program: its table, then each field that has a value by its place in the
// table. A reader of another version could not read it; batches are for that.
func AppendRow(to []byte, row Row) []byte {
	w := rowWriter{writer{to}}
	w.string(row.Table().Name)
	row.visit(&w)
	w.uvarint(0)
	return w.buf
}

// rowWriter writes the fields that have a value, each after its place plus one.
type rowWriter struct{ writer }

func (w *rowWriter) text(i int, p *string) {
	if *p != "" {
		w.uvarint(uint64(i) + 1)
		w.string(*p)
	}
}

func (w *rowWriter) int(i int, v int64) {
	if v != 0 {
		w.uvarint(uint64(i) + 1)
		w.varint(v)
	}
}
func (w *rowWriter) number(i int, p *int64) { w.int(i, *p) }
func (w *rowWriter) time(i int, p *Time)    { w.int(i, int64(*p)) }
func (w *rowWriter) flag(i int, p *bool) {
	if *p {
		w.int(i, 1)
	}
}
func (w *rowWriter) optional(i int, p *Long) {
	if p.Valid {
		w.uvarint(uint64(i) + 1)
		w.varint(p.Value)
	}
}
func (w *rowWriter) real(i int, p *float64) {
	if *p != 0 {
		w.uvarint(uint64(i) + 1)
		w.uvarint(math.Float64bits(*p))
	}
}

// ReadRow reads what AppendRow wrote and returns what follows it. Every error
// wraps picket.Invalid or picket.TooLarge. Text shares memory with data.
func ReadRow(data string) (Row, string, error) {
	p := parser{data: data}
	name := p.string(maxName)
	row := NewRow(name)
	if p.err == nil && row == nil {
		p.fail(picket.Invalid, "unknown table %q", name)
	}
	if p.err == nil {
		r := rowReader{parser: &p}
		r.next()
		row.visit(&r)
		if p.err == nil && r.place != 0 {
			p.fail(picket.Invalid, "field %d of table %s is out of order or unknown", r.place-1, name)
		}
	}
	if p.err != nil {
		return nil, "", fmt.Errorf("read row at byte %d: %w", p.pos, p.err)
	}
	return row, data[p.pos:], nil
}

// rowReader fills the fields of a row in the order of the table.
type rowReader struct {
	parser *parser
	place  uint64 // of the next field that has a value, plus one; 0: none
}

func (r *rowReader) next() { r.place = r.parser.uvarint() }

// at reports whether field i comes next.
func (r *rowReader) at(i int) bool { return r.place == uint64(i)+1 && r.parser.err == nil }

func (r *rowReader) text(i int, p *string) {
	if r.at(i) {
		*p = r.parser.string(DefaultLimits.Text)
		r.next()
	}
}

func (r *rowReader) int(i int) int64 {
	if !r.at(i) {
		return 0
	}
	v := r.parser.varint()
	r.next()
	return v
}
func (r *rowReader) number(i int, p *int64) { *p = r.int(i) }
func (r *rowReader) time(i int, p *Time)    { *p = Time(r.int(i)) }
func (r *rowReader) flag(i int, p *bool)    { *p = r.int(i) != 0 }
func (r *rowReader) optional(i int, p *Long) {
	if r.at(i) {
		*p = LongOf(r.int(i))
	}
}
func (r *rowReader) real(i int, p *float64) {
	if r.at(i) {
		*p = math.Float64frombits(r.parser.uvarint())
		r.next()
	}
}

// Number sets the report id of a row.
func Number(row Row, id int64) {
	n := numberer{place: -1, id: id}
	for i := range row.Table().Columns {
		if row.Table().Columns[i].Name == "ReportId" {
			n.place = i
			break
		}
	}
	row.visit(n)
}

// numberer sets one number of a row.
type numberer struct {
	place int
	id    int64
}

func (n numberer) number(i int, p *int64) {
	if i == n.place {
		*p = n.id
	}
}
func (numberer) text(int, *string)   {}
func (numberer) optional(int, *Long) {}
func (numberer) time(int, *Time)     {}
func (numberer) flag(int, *bool)     {}
func (numberer) real(int, *float64)  {}
