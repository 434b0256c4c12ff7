// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/schema"
)

// group is the rules that read one log source of one table, compiled
// together: equal conditions are evaluated once per row, and the texts that
// rules need are looked for in one pass over each column.
type group struct {
	table   *schema.Table
	source  *schema.LogSource
	columns []*columnState
	leaves  []leafState
	rules   []groupRule
	always  []int32 // rules for which no needed text is known

	leafIndex map[string]int // while compiling

	row   uint32 // number of the current row, to tell fresh results from old ones
	cands []int32
	found []int32
}

type groupRule struct {
	rule   *rule.Rule
	number int32 // of the rule in the engine
	cond   *node
	marked uint32 // row for which it is a candidate
}

// leafState is a condition on columns of the group and its result for a row.
type leafState struct {
	leaf    *rule.Leaf
	columns []int // one, or all that are searched for a condition without a field
	other   int   // column of RefField, -1 without one
	gated   bool  // can only hold on rows on which one of its texts was found
	found   uint32
	row     uint32
	result  bool
}

// node is a condition tree over leaves of the group, constants folded.
type node struct {
	op   op
	n    int
	kids []*node
	leaf int
}

type op uint8

const (
	opLeaf op = iota
	opAnd
	opOr
	opNot
	opAtLeast
	opTrue
	opFalse
)

func newGroup(t *schema.Table, s *schema.LogSource) *group {
	return &group{table: t, source: s, leafIndex: map[string]int{}}
}

// add compiles a rule into the group. A rule that cannot fire on it is left out.
func (g *group) add(r *rule.Rule, number int32, rt *rule.Route) {
	cond := g.compile(r.Condition, rt)
	if rt.Never || cond.op == opFalse {
		return
	}
	g.rules = append(g.rules, groupRule{rule: r, number: number, cond: cond})
}

func (g *group) compile(e *rule.Expr, rt *rule.Route) *node {
	switch e.Op {
	case rule.OpLeaf:
		return g.leaf(e.Leaf, rt)
	case rule.OpNot:
		return negate(g.compile(e.Kids[0], rt))
	}
	need := e.N
	switch e.Op {
	case rule.OpAnd:
		need = len(e.Kids)
	case rule.OpOr:
		need = 1
	}
	var kids []*node
	for _, k := range e.Kids {
		switch c := g.compile(k, rt); c.op {
		case opTrue:
			need--
		case opFalse:
		default:
			kids = append(kids, c)
		}
	}
	return atLeast(need, kids)
}

func negate(n *node) *node {
	switch n.op {
	case opTrue:
		return &node{op: opFalse}
	case opFalse:
		return &node{op: opTrue}
	case opNot:
		return n.kids[0]
	}
	return &node{op: opNot, kids: []*node{n}}
}

func atLeast(need int, kids []*node) *node {
	switch {
	case need <= 0:
		return &node{op: opTrue}
	case need > len(kids):
		return &node{op: opFalse}
	case len(kids) == 1:
		return kids[0]
	}
	switch {
	case need == len(kids):
		return &node{op: opAnd, kids: kids}
	case need == 1:
		return &node{op: opOr, kids: kids}
	}
	return &node{op: opAtLeast, n: need, kids: kids}
}

func (g *group) leaf(l *rule.Leaf, rt *rule.Route) *node {
	st := leafState{leaf: l, other: -1}
	if l.Kind == rule.Ref {
		c := rt.Column(l.RefField)
		if c == nil { // constants and missing fields relate to nothing
			return &node{op: opFalse}
		}
		st.other = g.column(c)
	}
	if l.Field == "" {
		for _, c := range rt.Searched() {
			st.columns = append(st.columns, g.column(c))
		}
		return g.intern(st)
	}
	if v, ok := rt.Constant(l.Field); ok {
		value := rule.TextValue(v)
		if l.Kind != rule.Ref && l.Match(&value, nil) {
			return &node{op: opTrue}
		}
		return &node{op: opFalse}
	}
	c := rt.Column(l.Field)
	if c == nil {
		return &node{op: opFalse}
	}
	st.columns = []int{g.column(c)}
	return g.intern(st)
}

func (g *group) column(c *schema.Column) int {
	for i, s := range g.columns {
		if s.def.Name == c.Name {
			return i
		}
	}
	g.columns = append(g.columns, &columnState{def: c})
	return len(g.columns) - 1
}

// intern returns the node of a leaf, the same for equal leaves.
func (g *group) intern(st leafState) *node {
	key := leafKey(&st)
	id, ok := g.leafIndex[key]
	if !ok {
		id = len(g.leaves)
		g.leafIndex[key] = id
		g.leaves = append(g.leaves, st)
	}
	return &node{op: opLeaf, leaf: id}
}

// leafKey spells out everything that the result of a leaf depends on.
func leafKey(st *leafState) string {
	var b strings.Builder
	l := st.leaf
	fmt.Fprint(&b, st.columns, st.other, l.Field == "", l.Kind, l.Cased, l.Negate, l.Number, l.Compare, l.Part, l.Want, l.Relation)
	for i := range l.Patterns {
		b.WriteString(strconv.Quote(l.Patterns[i].String()))
	}
	for _, re := range l.Regexps {
		b.WriteString(strconv.Quote(re.String()))
	}
	for _, p := range l.Prefixes {
		b.WriteString(p.String() + " ")
	}
	return b.String()
}

// finish builds the automata once all rules are in: of the texts of which a
// rule needs one, and of those of which a single condition needs one.
func (g *group) finish() {
	g.leafIndex = nil
	texts := make([]map[string]*needs, len(g.columns))
	need := func(a anchor) *needs {
		if texts[a.column] == nil {
			texts[a.column] = map[string]*needs{}
		}
		n := texts[a.column][a.text]
		if n == nil {
			n = &needs{}
			texts[a.column][a.text] = n
		}
		return n
	}
	for i := range g.rules {
		g.order(g.rules[i].cond)
		anchors := g.anchors(g.rules[i].cond)
		if anchors == nil {
			g.always = append(g.always, int32(i))
		}
		for _, a := range anchors {
			n := need(a)
			n.rules = append(n.rules, int32(i))
		}
	}
	for i := range g.leaves {
		anchors := g.leafAnchors(i)
		g.leaves[i].gated = anchors != nil
		for _, a := range anchors {
			n := need(a)
			n.leaves = append(n.leaves, int32(i))
		}
	}
	for i, c := range g.columns {
		c.prepare(texts[i])
	}
}

// order puts conditions that are cheap to evaluate before dear ones. It
// returns roughly what a node costs.
func (g *group) order(n *node) int {
	if n.op == opLeaf {
		return g.leaves[n.leaf].cost()
	}
	costs := make(map[*node]int, len(n.kids))
	total := 0
	for _, k := range n.kids {
		costs[k] = g.order(k)
		total += costs[k]
	}
	slices.SortStableFunc(n.kids, func(a, b *node) int { return costs[a] - costs[b] })
	return total
}

func (l *leafState) cost() int {
	switch l.leaf.Kind {
	case rule.Regexp:
		return 50 * len(l.leaf.Regexps) * len(l.columns)
	case rule.Text:
		return 1 + len(l.leaf.Patterns)*len(l.columns)
	case rule.CIDR:
		return 5
	}
	return 1
}
