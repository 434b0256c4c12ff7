// SPDX-License-Identifier: Apache-2.0

package event

import (
	"strings"

	"github.com/picket-edr/picket/schema"
)

// Builder gathers typed rows into blocks. The zero value is ready. It is not
// safe for concurrent use.
type Builder struct {
	tables []*tableBuilder
	rows   int
	size   int
}

// tableBuilder holds the rows of one table so far. Columns stay nil until the
// first row with a value and are padded then.
type tableBuilder struct {
	table *schema.Table
	cols  []Column
	rows  int
	size  *int
}

// Add appends a row.
func (b *Builder) Add(row Row) {
	t := b.of(row.Table())
	row.visit(t)
	t.rows++
	b.rows++
	b.size += 24
}

func (b *Builder) of(table *schema.Table) *tableBuilder {
	for _, t := range b.tables {
		if t.table == table {
			return t
		}
	}
	t := &tableBuilder{table: table, cols: make([]Column, len(table.Columns)), size: &b.size}
	b.tables = append(b.tables, t)
	return t
}

// Len returns the number of rows added since the last Take.
func (b *Builder) Len() int { return b.rows }

// Size returns roughly how many bytes the rows hold.
func (b *Builder) Size() int { return b.size }

// Take returns the rows as blocks, in the order in which their tables were
// first used, and resets the builder.
func (b *Builder) Take() []*Block {
	blocks := make([]*Block, 0, len(b.tables))
	for _, t := range b.tables {
		blocks = append(blocks, t.block())
	}
	*b = Builder{}
	return blocks
}

func (t *tableBuilder) block() *Block {
	blk := &Block{Name: t.table.Name, Table: t.table, Rows: t.rows}
	for i := range t.cols {
		c := &t.cols[i]
		if c.Name == "" {
			continue
		}
		c.pad(t.rows, t.table.Columns[i].Optional)
		blk.Columns = append(blk.Columns, *c)
	}
	return blk
}

// pad lengthens the column to n rows with nulls.
func (c *Column) pad(n int, optional bool) {
	switch {
	case c.Type.Text():
		for len(c.Strings) < n {
			c.Strings = append(c.Strings, "")
		}
	case c.Type == schema.Real:
		for len(c.Reals) < n {
			c.Reals = append(c.Reals, 0)
		}
	default:
		for len(c.Ints) < n {
			c.Ints = append(c.Ints, 0)
		}
	}
	for optional && len(c.Valid) < n {
		c.Valid = append(c.Valid, false)
	}
}

// at returns column i, padded up to the current row.
func (t *tableBuilder) at(i int) *Column {
	c, def := &t.cols[i], &t.table.Columns[i]
	c.Name, c.Type = def.Name, def.Type
	c.pad(t.rows, def.Optional)
	*t.size += 8
	return c
}

func (t *tableBuilder) text(i int, p *string) {
	if *p == "" {
		return
	}
	s := strings.ToValidUTF8(*p, "\uFFFD")
	c := t.at(i)
	c.Strings = append(c.Strings, s)
	*t.size += len(s)
}

func (t *tableBuilder) int(i int, v int64) {
	if v != 0 {
		c := t.at(i)
		c.Ints = append(c.Ints, v)
	}
}
func (t *tableBuilder) number(i int, p *int64) { t.int(i, *p) }
func (t *tableBuilder) time(i int, p *Time)    { t.int(i, int64(*p)) }
func (t *tableBuilder) flag(i int, p *bool) {
	if *p {
		t.int(i, 1)
	}
}
func (t *tableBuilder) optional(i int, p *Long) {
	if p.Valid {
		c := t.at(i)
		c.Ints = append(c.Ints, p.Value)
		c.Valid = append(c.Valid, true)
	}
}
func (t *tableBuilder) real(i int, p *float64) {
	if *p != 0 {
		c := t.at(i)
		c.Reals = append(c.Reals, *p)
	}
}
