// SPDX-License-Identifier: Apache-2.0

package event

import (
	"strconv"

	"github.com/picket-edr/picket/schema"
)

// Block is rows of one table, column by column. Only columns in which at
// least one row has a value are present.
type Block struct {
	Name    string
	Table   *schema.Table // nil when this build does not know the table
	Rows    int
	Columns []Column
}

// Column is the values of one column of a block. Exactly one of Strings, Ints
// and Reals is filled, by the type. Datetimes are microseconds since the
// epoch and booleans 0 or 1, both in Ints.
type Column struct {
	Name    string
	Type    schema.Type
	Strings []string
	Ints    []int64
	Reals   []float64
	Valid   []bool // only for columns where zero is a value; nil: see Null
}

// Column returns the column called name, or nil when no row has a value in it.
func (b *Block) Column(name string) *Column {
	for i := range b.Columns {
		if b.Columns[i].Name == name {
			return &b.Columns[i]
		}
	}
	return nil
}

// Text returns the value of a column in row i as text, "" when it is null.
func (b *Block) Text(name string, i int) string {
	if c := b.Column(name); c != nil {
		return c.Text(i)
	}
	return ""
}

// Int returns the value of a numeric column in row i, 0 when it is null.
func (b *Block) Int(name string, i int) int64 {
	if c := b.Column(name); c != nil && c.Ints != nil {
		return c.Ints[i]
	}
	return 0
}

// Null reports whether row i has no value. Booleans are never null.
func (c *Column) Null(i int) bool {
	switch {
	case c.Valid != nil:
		return !c.Valid[i]
	case c.Strings != nil:
		return c.Strings[i] == ""
	case c.Type == schema.Bool:
		return false
	case c.Ints != nil:
		return c.Ints[i] == 0
	}
	return c.Reals[i] == 0
}

// Text returns the value of row i as a rule or a person reads it: numbers in
// decimal, times in RFC 3339, booleans as true and false, null as "".
func (c *Column) Text(i int) string {
	if c.Strings != nil {
		return c.Strings[i]
	}
	if c.Null(i) {
		return ""
	}
	switch {
	case c.Type == schema.Datetime:
		return Time(c.Ints[i]).String()
	case c.Type == schema.Bool:
		return strconv.FormatBool(c.Ints[i] != 0)
	case c.Ints != nil:
		return strconv.FormatInt(c.Ints[i], 10)
	}
	return strconv.FormatFloat(c.Reals[i], 'g', -1, 64)
}

// Fields returns the non-null values of row i by column name, booleans only
// when true.
func (b *Block) Fields(i int) map[string]string {
	m := make(map[string]string, len(b.Columns))
	for j := range b.Columns {
		c := &b.Columns[j]
		if t := c.Text(i); t != "" && (c.Type != schema.Bool || c.Ints[i] != 0) {
			m[c.Name] = t
		}
	}
	return m
}

// Decode fills row with row i of the block. Columns that the row's type does
// not have, or has with another type, are left out.
func (b *Block) Decode(i int, row Row) {
	row.visit(&reader{table: row.Table(), block: b, row: i})
}

// reader copies one row of a block into a typed row.
type reader struct {
	table *schema.Table
	block *Block
	row   int
}

func (r *reader) column(i int) *Column {
	c := r.block.Column(r.table.Columns[i].Name)
	if c == nil || c.Type != r.table.Columns[i].Type {
		return nil
	}
	return c
}

func (r *reader) int(i int) int64 {
	if c := r.column(i); c != nil {
		return c.Ints[r.row]
	}
	return 0
}

func (r *reader) text(i int, p *string) {
	*p = ""
	if c := r.column(i); c != nil {
		*p = c.Strings[r.row]
	}
}
func (r *reader) number(i int, p *int64) { *p = r.int(i) }
func (r *reader) time(i int, p *Time)    { *p = Time(r.int(i)) }
func (r *reader) flag(i int, p *bool)    { *p = r.int(i) != 0 }
func (r *reader) optional(i int, p *Long) {
	*p = Long{}
	if c := r.column(i); c != nil && !c.Null(r.row) {
		*p = LongOf(c.Ints[r.row])
	}
}
func (r *reader) real(i int, p *float64) {
	*p = 0
	if c := r.column(i); c != nil {
		*p = c.Reals[r.row]
	}
}
