// SPDX-License-Identifier: Apache-2.0

package event

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/schema"
)

// Encodings of one column. The high bit says that a validity bitmap follows.
const (
	encPlain   = 0 // text: length and bytes for each row; reals: 8 bytes each
	encDict    = 1 // text: distinct values, then an index for each row
	encDelta   = 2 // numbers: difference to the row before, zigzag
	encConst   = 3 // one value for all rows
	encBitmap  = 4 // booleans
	flagValid  = 0x80
	maxDictLen = 1 << 15
)

// writer appends the uncompressed form.
type writer struct{ buf []byte }

func (w *writer) uvarint(v uint64) { w.buf = binary.AppendUvarint(w.buf, v) }
func (w *writer) varint(v int64)   { w.buf = binary.AppendVarint(w.buf, v) }
func (w *writer) string(s string) {
	w.uvarint(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *writer) bits(n int, set func(int) bool) {
	for i := 0; i < n; i += 8 {
		var x byte
		for j := i; j < min(i+8, n); j++ {
			if set(j) {
				x |= 1 << (j - i)
			}
		}
		w.buf = append(w.buf, x)
	}
}

func (w *writer) block(b *Block) error {
	w.string(b.Name)
	w.uvarint(uint64(b.Rows))
	w.uvarint(uint64(len(b.Columns)))
	for i := range b.Columns {
		if err := w.column(&b.Columns[i], b.Rows); err != nil {
			return fmt.Errorf("table %s: %w", b.Name, err)
		}
	}
	return nil
}

func (w *writer) column(c *Column, rows int) error {
	if len(c.Strings)+len(c.Ints)+len(c.Reals) != rows || (c.Valid != nil && len(c.Valid) != rows) {
		return fmt.Errorf("column %s does not hold %d rows: %w", c.Name, rows, picket.Invalid)
	}
	w.string(c.Name)
	w.buf = append(w.buf, byte(c.Type))
	var flag byte
	if c.Valid != nil {
		flag = flagValid
	}
	at := len(w.buf)
	w.buf = append(w.buf, 0)
	if flag != 0 {
		w.bits(rows, func(i int) bool { return c.Valid[i] })
	}
	var enc byte
	switch {
	case c.Type.Text():
		enc = w.text(c.Strings)
	case c.Type == schema.Real:
		enc = encPlain
		for _, v := range c.Reals {
			w.buf = binary.LittleEndian.AppendUint64(w.buf, math.Float64bits(v))
		}
	case c.Type == schema.Bool:
		enc = encBitmap
		w.bits(rows, func(i int) bool { return c.Ints[i] != 0 })
	default:
		enc = w.ints(c.Ints)
	}
	w.buf[at] = enc | flag
	return nil
}

func (w *writer) text(values []string) byte {
	index := make(map[string]uint64, 64)
	var distinct []string
	refs := make([]uint64, len(values))
	limit := min(len(values)/2+1, maxDictLen)
	for i, s := range values {
		id, ok := index[s]
		if !ok {
			id = uint64(len(distinct))
			index[s] = id
			if distinct = append(distinct, s); len(distinct) > limit {
				break
			}
		}
		refs[i] = id
	}
	switch {
	case len(distinct) == 1:
		w.string(values[0])
		return encConst
	case len(distinct) > limit:
		for _, s := range values {
			w.string(s)
		}
		return encPlain
	}
	w.uvarint(uint64(len(distinct)))
	for _, s := range distinct {
		w.string(s)
	}
	for _, r := range refs {
		w.uvarint(r)
	}
	return encDict
}

func (w *writer) ints(values []int64) byte {
	same := true
	for _, v := range values {
		same = same && v == values[0]
	}
	if same && len(values) > 0 {
		w.varint(values[0])
		return encConst
	}
	var prev int64
	for _, v := range values {
		w.varint(v - prev) // wraps like the reader's sum
		prev = v
	}
	return encDelta
}

// parser reads the uncompressed form. After the first error every read
// returns zero and the error stays.
type parser struct {
	data   string
	pos    int
	limits Limits
	rows   int
	cells  int
	err    error
}

func (p *parser) fail(kind error, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), kind)
	}
	p.pos = len(p.data)
}

func (p *parser) byte() byte {
	if p.pos >= len(p.data) {
		p.fail(picket.Invalid, "ends early")
		return 0
	}
	b := p.data[p.pos]
	p.pos++
	return b
}

func (p *parser) uvarint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b := p.byte()
		if p.err != nil {
			return 0
		}
		if shift == 63 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	p.fail(picket.Invalid, "number too long")
	return 0
}

func (p *parser) varint() int64 {
	u := p.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (p *parser) take(n uint64) string {
	if p.err != nil || n > uint64(len(p.data)-p.pos) {
		p.fail(picket.Invalid, "ends early")
		return ""
	}
	s := p.data[p.pos : p.pos+int(n)]
	p.pos += int(n)
	return s
}

func (p *parser) string(limit int) string {
	n := p.uvarint()
	if n > uint64(limit) {
		p.fail(picket.TooLarge, "string of %d bytes, at most %d", n, limit)
		return ""
	}
	return p.take(n)
}

func (p *parser) count(limit int, what string) int {
	n := p.uvarint()
	if n > uint64(limit) {
		p.fail(picket.TooLarge, "%d %s, at most %d", n, what, limit)
		return 0
	}
	return int(n)
}

func (p *parser) batch() *Batch {
	b := &Batch{BootID: p.string(maxName), Seq: p.uvarint()}
	copy(b.Prev[:], p.take(uint64(len(b.Prev))))
	b.Created = Time(p.varint())
	n := p.count(maxBlocks, "blocks")
	for i := 0; i < n && p.err == nil; i++ {
		b.Blocks = append(b.Blocks, p.block())
	}
	if p.err == nil && p.pos != len(p.data) {
		rest := p.uvarint()
		if b.Rest = int(min(rest, maxRest)); p.err == nil && (rest == 0 || rest > maxRest) {
			p.fail(picket.Invalid, "%d batches follow", rest)
		}
	}
	if p.err == nil && p.pos != len(p.data) {
		p.fail(picket.Invalid, "%d bytes follow the last block", len(p.data)-p.pos)
	}
	return b
}

func (p *parser) block() *Block {
	b := &Block{Name: p.string(maxName)}
	b.Rows = p.count(p.limits.Rows-p.rows, "rows")
	b.Table = schema.Lookup(b.Name)
	p.rows += b.Rows
	n := p.count(maxColumns, "columns")
	if p.cells += n * b.Rows; p.cells > p.limits.Cells {
		p.fail(picket.TooLarge, "%d values, at most %d", p.cells, p.limits.Cells)
	}
	for i := 0; i < n && p.err == nil; i++ {
		c := p.column(b.Rows)
		if b.Column(c.Name) != nil {
			p.fail(picket.Invalid, "column %q twice", c.Name)
		}
		if d := definition(b.Table, c.Name); d != nil && (d.Type != c.Type || d.Optional != (c.Valid != nil)) {
			p.fail(picket.Invalid, "column %s.%s has type %s, want %s", b.Name, c.Name, c.Type, d.Type)
		}
		b.Columns = append(b.Columns, c)
	}
	return b
}

func definition(t *schema.Table, column string) *schema.Column {
	if t == nil {
		return nil
	}
	return t.Column(column)
}

func (p *parser) bits(n int) []bool {
	s := p.take(uint64(n+7) / 8)
	if p.err != nil {
		return nil
	}
	v := make([]bool, n)
	for i := range v {
		v[i] = s[i/8]>>(i%8)&1 != 0
	}
	return v
}

func (p *parser) column(rows int) Column {
	c := Column{Name: p.string(maxName), Type: schema.Type(p.byte())}
	enc := p.byte()
	if c.Type > schema.Dynamic {
		p.fail(picket.Invalid, "column %q has unknown type %d", c.Name, c.Type)
	}
	if p.err != nil {
		return c
	}
	if enc&flagValid != 0 {
		c.Valid = p.bits(rows)
	}
	switch enc &^ flagValid {
	case encConst:
		p.constant(&c, rows)
	case encPlain, encDict:
		p.values(&c, rows, enc&^flagValid)
	case encDelta:
		if c.Type.Text() || c.Type == schema.Real {
			p.fail(picket.Invalid, "column %q: encoding does not fit type %s", c.Name, c.Type)
			return c
		}
		c.Ints = make([]int64, rows)
		var v int64
		for i := range c.Ints {
			v += p.varint()
			c.Ints[i] = v
		}
	case encBitmap:
		if c.Type != schema.Bool {
			p.fail(picket.Invalid, "column %q: encoding does not fit type %s", c.Name, c.Type)
			return c
		}
		c.Ints = make([]int64, rows)
		for i, set := range p.bits(rows) {
			if set {
				c.Ints[i] = 1
			}
		}
	default:
		p.fail(picket.Invalid, "column %q has unknown encoding %d", c.Name, enc)
	}
	return c
}

func (p *parser) constant(c *Column, rows int) {
	switch {
	case c.Type.Text():
		s := p.string(p.limits.Text)
		c.Strings = make([]string, rows)
		for i := range c.Strings {
			c.Strings[i] = s
		}
	case c.Type == schema.Real:
		p.fail(picket.Invalid, "column %q: encoding does not fit type %s", c.Name, c.Type)
	default:
		v := p.varint()
		c.Ints = make([]int64, rows)
		for i := range c.Ints {
			c.Ints[i] = v
		}
	}
}

func (p *parser) values(c *Column, rows int, enc byte) {
	switch {
	case c.Type.Text() && enc == encPlain:
		c.Strings = make([]string, rows)
		for i := range c.Strings {
			c.Strings[i] = p.string(p.limits.Text)
		}
	case c.Type.Text():
		dict := make([]string, p.count(min(rows, maxDictLen+1), "distinct values"))
		for i := range dict {
			dict[i] = p.string(p.limits.Text)
		}
		c.Strings = make([]string, rows)
		for i := range c.Strings {
			if n := p.uvarint(); n < uint64(len(dict)) {
				c.Strings[i] = dict[n]
			} else {
				p.fail(picket.Invalid, "column %q: index %d of %d distinct values", c.Name, n, len(dict))
				return
			}
		}
	case c.Type == schema.Real && enc == encPlain:
		c.Reals = make([]float64, rows)
		for i := range c.Reals {
			if s := p.take(8); p.err == nil {
				c.Reals[i] = math.Float64frombits(binary.LittleEndian.Uint64([]byte(s)))
			}
		}
	default:
		p.fail(picket.Invalid, "column %q: encoding does not fit type %s", c.Name, c.Type)
	}
}
