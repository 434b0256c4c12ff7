// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"sort"
	"strconv"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/schema"
)

// columnState is one column of a group: where its values are in the block at
// hand, its value for the current row, and the texts that rules need in it.
type columnState struct {
	def   *schema.Column
	bound []*event.Column // by block of the batch
	value rule.Value
	row   uint32 // row of value
	buf   []byte

	need   *automaton // nil when nothing needs a text
	needed []*needs   // by literal of need
}

// needs is what can be true only because a text occurs in a column.
type needs struct {
	rules  []int32
	leaves []int32
}

func (c *columnState) prepare(texts map[string]*needs) {
	if len(texts) == 0 {
		return
	}
	literals := make([]string, 0, len(texts))
	for t := range texts {
		literals = append(literals, t)
	}
	sort.Strings(literals)
	c.need = newAutomaton(literals)
	for _, l := range literals {
		c.needed = append(c.needed, texts[l])
	}
}

// bind finds the columns of all blocks of a batch.
func (g *group) bind(batch *event.Batch) {
	for _, c := range g.columns {
		c.bound = c.bound[:0]
		for _, b := range batch.Blocks {
			var found *event.Column
			if b.Table == g.table {
				if found = b.Column(c.def.Name); found != nil && found.Type != c.def.Type {
					found = nil // not what the table says: no value
				}
			}
			c.bound = append(c.bound, found)
		}
	}
}

// maxKeptBuffer bounds what a column keeps for the next row.
const maxKeptBuffer = 64 << 10

// read returns the value of the column in the current row.
func (g *group) read(i int, r *row) *rule.Value {
	c := g.columns[i]
	if c.row == g.row {
		return &c.value
	}
	c.row = g.row
	col := c.bound[r.block]
	switch {
	case c.def.Type == schema.Bool:
		c.buf = strconv.AppendBool(c.buf[:0], col != nil && col.Ints[r.index] != 0)
		c.value = rule.Value{Presence: rule.Present, Folded: c.buf}
	case col == nil || col.Null(r.index):
		c.value = rule.Value{Presence: rule.Absent}
	case c.def.Type.Text():
		if cap(c.buf) > maxKeptBuffer {
			c.buf = nil
		}
		s := col.Strings[r.index]
		c.buf = rule.Fold(c.buf[:0], s)
		c.value = rule.Value{Presence: rule.Present, Raw: s, Folded: c.buf}
	case c.def.Type == schema.Datetime:
		t := r.env.Correct(event.Time(col.Ints[r.index]))
		c.buf = t.Time().AppendFormat(c.buf[:0], timeText)
		c.value = rule.Value{Presence: rule.Present, Folded: c.buf, Int: int64(t), IsInt: true, IsTime: true}
	case c.def.Type == schema.Real:
		c.buf = strconv.AppendFloat(c.buf[:0], col.Reals[r.index], 'g', -1, 64)
		c.value = rule.Value{Presence: rule.Present, Raw: string(c.buf), Folded: c.buf}
	default:
		n := col.Ints[r.index]
		c.buf = strconv.AppendInt(c.buf[:0], n, 10)
		c.value = rule.Value{Presence: rule.Present, Folded: c.buf, Int: n, IsInt: true}
	}
	return &c.value
}

// timeText is how times read for rules: folded RFC 3339 with microseconds.
const timeText = "2006-01-02t15:04:05.000000z"

// match appends the rules that fire on the row.
func (g *group) match(r *row, hits []hit) []hit {
	if g.row++; g.row == 0 {
		g.forget()
	}
	g.cands = append(g.cands[:0], g.always...)
	for i, c := range g.columns {
		if c.need == nil {
			continue
		}
		v := g.read(i, r)
		if v.Presence != rule.Present {
			continue
		}
		g.found = c.need.scan(v.Folded, g.found[:0])
		for _, lit := range g.found {
			n := c.needed[lit]
			for _, k := range n.rules {
				if g.rules[k].marked != g.row {
					g.rules[k].marked = g.row
					g.cands = append(g.cands, k)
				}
			}
			for _, k := range n.leaves {
				g.leaves[k].found = g.row
			}
		}
		if cap(g.found) > maxKeptBuffer {
			g.found = nil
		}
	}
	for _, k := range g.cands {
		if gr := &g.rules[k]; g.eval(gr.cond, r) {
			hits = append(hits, hit{gr.rule, gr.number})
		}
	}
	return hits
}

// forget clears all marks when row numbers start over.
func (g *group) forget() {
	for i := range g.rules {
		g.rules[i].marked = 0
	}
	for i := range g.leaves {
		g.leaves[i].row, g.leaves[i].found = 0, 0
	}
	for _, c := range g.columns {
		c.row = 0
	}
	g.row = 1
}

func (g *group) eval(n *node, r *row) bool {
	switch n.op {
	case opLeaf:
		return g.test(n.leaf, r)
	case opNot:
		return !g.eval(n.kids[0], r)
	case opAnd:
		for _, k := range n.kids {
			if !g.eval(k, r) {
				return false
			}
		}
		return true
	case opOr:
		for _, k := range n.kids {
			if g.eval(k, r) {
				return true
			}
		}
		return false
	case opAtLeast:
		count := 0
		for _, k := range n.kids {
			if g.eval(k, r) {
				count++
			}
		}
		return count >= n.n
	}
	return n.op == opTrue
}

func (g *group) test(id int, r *row) bool {
	st := &g.leaves[id]
	if st.row == g.row {
		return st.result
	}
	st.row = g.row
	st.result = (!st.gated || st.found == g.row) && g.hold(st, r)
	return st.result
}

func (g *group) hold(st *leafState, r *row) bool {
	if st.leaf.Field != "" {
		var other *rule.Value
		if st.other >= 0 {
			other = g.read(st.other, r)
		}
		return st.leaf.Match(g.read(st.columns[0], r), other)
	}
	for _, c := range st.columns {
		if v := g.read(c, r); v.Presence == rule.Present && st.leaf.Match(v, nil) {
			return true
		}
	}
	return false
}
