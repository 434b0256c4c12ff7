// SPDX-License-Identifier: Apache-2.0

package rule

// Op is what a node of a condition tree does with its children.
type Op uint8

// Operators.
const (
	OpLeaf    Op = iota
	OpAnd        // all children
	OpOr         // any child
	OpNot        // not the only child
	OpAtLeast    // at least N children
)

// Expr is one node of a condition tree.
type Expr struct {
	Op   Op
	N    int // of OpAtLeast
	Kids []*Expr
	Leaf *Leaf  // of OpLeaf
	Name string // name of the group of conditions that the rule's author gave it, if any
}

// And joins conditions; a single one stays as it is.
func And(kids ...*Expr) *Expr { return join(OpAnd, kids) }

// Or joins alternatives; a single one stays as it is.
func Or(kids ...*Expr) *Expr { return join(OpOr, kids) }

func join(op Op, kids []*Expr) *Expr {
	if len(kids) == 1 {
		return kids[0]
	}
	return &Expr{Op: op, Kids: kids}
}

// Not negates a condition.
func Not(kid *Expr) *Expr { return &Expr{Op: OpNot, Kids: []*Expr{kid}} }

// AtLeast is true when n of the children are.
func AtLeast(n int, kids ...*Expr) *Expr {
	switch {
	case n == 1:
		return Or(kids...)
	case n == len(kids):
		return And(kids...)
	}
	return &Expr{Op: OpAtLeast, N: n, Kids: kids}
}

// Single makes a tree of one leaf.
func Single(l *Leaf) *Expr { return &Expr{Op: OpLeaf, Leaf: l} }

// Eval evaluates the tree, asking leaf for the truth of each leaf that
// matters.
func (e *Expr) Eval(leaf func(*Leaf) bool) bool {
	switch e.Op {
	case OpLeaf:
		return leaf(e.Leaf)
	case OpNot:
		return !e.Kids[0].Eval(leaf)
	case OpAnd:
		for _, k := range e.Kids {
			if !k.Eval(leaf) {
				return false
			}
		}
		return true
	case OpOr:
		for _, k := range e.Kids {
			if k.Eval(leaf) {
				return true
			}
		}
		return false
	}
	n := 0
	for _, k := range e.Kids {
		if k.Eval(leaf) {
			n++
		}
	}
	return n >= e.N
}

// Leaves calls f for every leaf of the tree, in order.
func (e *Expr) Leaves(f func(*Leaf)) {
	if e.Op == OpLeaf {
		f(e.Leaf)
		return
	}
	for _, k := range e.Kids {
		k.Leaves(f)
	}
}

// Size returns the number of nodes in the tree.
func (e *Expr) Size() int {
	n := 1
	for _, k := range e.Kids {
		n += k.Size()
	}
	return n
}

// Constant reports whether the value of the tree does not depend on the event,
// given that the leaves for which missing is true are false. Contradictions
// between leaves are not looked for.
func (e *Expr) Constant(missing func(*Leaf) bool) bool {
	_, known := e.constant(missing)
	return known
}

// constant returns the value of the tree when it does not depend on any leaf
// that can vary.
func (e *Expr) constant(missing func(*Leaf) bool) (value, known bool) {
	switch e.Op {
	case OpLeaf:
		return false, missing(e.Leaf)
	case OpNot:
		v, k := e.Kids[0].constant(missing)
		return !v, k
	}
	yes, open := 0, 0
	for _, kid := range e.Kids {
		v, k := kid.constant(missing)
		switch {
		case !k:
			open++
		case v:
			yes++
		}
	}
	need := e.N
	switch e.Op {
	case OpAnd:
		need = len(e.Kids)
	case OpOr:
		need = 1
	}
	if yes >= need {
		return true, true
	}
	return false, yes+open < need
}
