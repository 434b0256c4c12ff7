// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"slices"
	"testing"
)

// fields makes leaves that are true when the event has their field.
func fields(names ...string) []*Expr {
	var out []*Expr
	for _, n := range names {
		out = append(out, Single(&Leaf{Field: n, Kind: Exists, Want: true}))
	}
	return out
}

func TestExpr(t *testing.T) {
	t.Parallel()
	abc := func() []*Expr { return fields("a", "b", "c") }
	for _, c := range []struct {
		name  string
		expr  *Expr
		event Sample
		want  bool
	}{
		{"and", And(abc()...), Sample{"a": "1", "b": "1", "c": "1"}, true},
		{"and, one missing", And(abc()...), Sample{"a": "1", "b": "1"}, false},
		{"or", Or(abc()...), Sample{"c": "1"}, true},
		{"or, none", Or(abc()...), Sample{}, false},
		{"not", Not(abc()[0]), Sample{}, true},
		{"two of", AtLeast(2, abc()...), Sample{"a": "1", "c": "1"}, true},
		{"two of, one", AtLeast(2, abc()...), Sample{"a": "1"}, false},
		{"one of", AtLeast(1, abc()...), Sample{"b": "1"}, true},
		{"three of three", AtLeast(3, abc()...), Sample{"a": "1", "b": "1"}, false},
		{"nested", And(Or(abc()...), Not(And(abc()...))), Sample{"a": "1"}, true},
	} {
		r := &Rule{Condition: c.expr}
		if got := r.Eval(c.event); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestExprShapes(t *testing.T) {
	t.Parallel()
	one := fields("a")
	if And(one...) != one[0] || Or(one...) != one[0] || AtLeast(1, one...) != one[0] {
		t.Error("a single condition is wrapped")
	}
	if e := AtLeast(2, fields("a", "b")...); e.Op != OpAnd {
		t.Errorf("all of two: %v", e.Op)
	}
	if e := AtLeast(1, fields("a", "b")...); e.Op != OpOr {
		t.Errorf("one of two: %v", e.Op)
	}
	e := And(Not(fields("a")[0]), Or(fields("b", "c")...))
	var names []string
	e.Leaves(func(l *Leaf) { names = append(names, l.Field) })
	if !slices.Equal(names, []string{"a", "b", "c"}) || e.Size() != 6 {
		t.Errorf("%v, %d nodes", names, e.Size())
	}
}

// TestEvalStopsEarly: leaves that do not matter are not asked.
func TestEvalStopsEarly(t *testing.T) {
	t.Parallel()
	asked := 0
	count := func(value bool) func(*Leaf) bool {
		return func(*Leaf) bool { asked++; return value }
	}
	And(fields("a", "b", "c")...).Eval(count(false))
	Or(fields("a", "b", "c")...).Eval(count(true))
	if asked != 2 {
		t.Errorf("asked %d leaves", asked)
	}
}
