// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLeaf(t *testing.T) {
	t.Parallel()
	text := func(patterns ...string) *Leaf {
		l := &Leaf{Field: "f", Kind: Text}
		for _, p := range patterns {
			l.Patterns = append(l.Patterns, build(p, false))
		}
		l.Prepare()
		return l
	}
	number := func(n int64) Value {
		return Value{Presence: Present, Int: n, IsInt: true, Folded: []byte("17")}
	}
	noon := time.Date(2024, 12, 30, 12, 34, 0, 0, time.UTC)
	many := strings.Split("a b c d e f g h i j", " ")
	cidr := &Leaf{Kind: CIDR, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}}
	absent, missing := Value{Presence: Absent}, Value{}
	for name, c := range map[string]struct {
		leaf *Leaf
		v    Value
		want bool
	}{
		"any of":             {text("a", "b"), TextValue("B"), true},
		"none of":            {text("a", "b"), TextValue("c"), false},
		"set":                {text(many...), TextValue("J"), true},
		"not in set":         {text(many...), TextValue("k"), false},
		"set with wildcard":  {text(append(many, "k*")...), TextValue("kk"), true},
		"empty is absent":    {text(""), absent, true},
		"empty in set":       {text(append(many, "")...), absent, true},
		"star needs a value": {text("*"), absent, false},
		"missing":            {text(""), missing, false},
		"number as text":     {text("17"), number(17), true},
		"negated":            {&Leaf{Negate: true, Patterns: []Pattern{build("a", false)}}, TextValue("b"), true},
		"negated absent":     {&Leaf{Negate: true, Patterns: []Pattern{build("a", false)}}, absent, true},
		"negated missing":    {&Leaf{Negate: true, Patterns: []Pattern{build("a", false)}}, missing, false},
		"null":               {&Leaf{Kind: Null}, absent, true},
		"null present":       {&Leaf{Kind: Null}, TextValue("a"), false},
		"null missing":       {&Leaf{Kind: Null}, missing, false},
		"exists":             {&Leaf{Kind: Exists, Want: true}, TextValue("a"), true},
		"exists not":         {&Leaf{Kind: Exists}, absent, true},
		"exists missing":     {&Leaf{Kind: Exists}, missing, false},
		"cased":              {&Leaf{Cased: true, Patterns: []Pattern{build("aB", true)}}, TextValue("aB"), true},
		"cased other":        {&Leaf{Cased: true, Patterns: []Pattern{build("aB", true)}}, TextValue("ab"), false},
		"cased number":       {&Leaf{Cased: true, Patterns: []Pattern{build("17", true)}}, number(17), true},
		"regexp":             {&Leaf{Kind: Regexp, Regexps: []*regexp.Regexp{regexp.MustCompile("b+c")}}, TextValue("abbc"), true},
		"regexp heeds case":  {&Leaf{Kind: Regexp, Regexps: []*regexp.Regexp{regexp.MustCompile("B")}}, TextValue("b"), false},
		"regexp number":      {&Leaf{Kind: Regexp, Regexps: []*regexp.Regexp{regexp.MustCompile("^1.$")}}, number(17), true},
		"regexp absent":      {&Leaf{Kind: Regexp, Regexps: []*regexp.Regexp{regexp.MustCompile("")}}, absent, false},
		"cidr":               {cidr, TextValue("10.1.2.3"), true},
		"cidr mapped":        {cidr, TextValue("::ffff:10.1.2.3"), true},
		"cidr v6 zone":       {cidr, TextValue("fe80::1%eth0"), true},
		"cidr outside":       {cidr, TextValue("11.1.2.3"), false},
		"cidr no address":    {cidr, TextValue("10.0.0.0/8"), false},
		"cidr long":          {cidr, TextValue(strings.Repeat("1", 100)), false},
		"less":               {&Leaf{Kind: Compare, Compare: Less, Number: 18}, number(17), true},
		"less or equal":      {&Leaf{Kind: Compare, Compare: LessOrEqual, Number: 16}, number(17), false},
		"greater":            {&Leaf{Kind: Compare, Compare: Greater, Number: 16}, TextValue("17"), true},
		"greater or equal":   {&Leaf{Kind: Compare, Compare: GreaterOrEqual, Number: 17}, TextValue("0x11"), true},
		"equal":              {&Leaf{Kind: Compare, Number: 1.5}, TextValue("1.5"), true},
		"compare word":       {&Leaf{Kind: Compare, Compare: Less, Number: 1}, TextValue("x"), false},
		"compare long":       {&Leaf{Kind: Compare, Compare: Greater}, TextValue(strings.Repeat("1", 100)), false},
		"hour":               {&Leaf{Kind: Compare, Part: Hour, Number: 12}, TextValue(noon.Format(time.RFC3339)), true},
		"minute":             {&Leaf{Kind: Compare, Part: Minute, Number: 34}, Value{Presence: Present, IsTime: true, IsInt: true, Int: noon.UnixMicro()}, true},
		"day":                {&Leaf{Kind: Compare, Part: Day, Number: 30}, TextValue(noon.Format(time.RFC3339)), true},
		"ISO week":           {&Leaf{Kind: Compare, Part: Week, Number: 1}, TextValue(noon.Format(time.RFC3339)), true},
		"month":              {&Leaf{Kind: Compare, Part: Month, Number: 12}, TextValue(noon.Format(time.RFC3339)), true},
		"year":               {&Leaf{Kind: Compare, Part: Year, Compare: Greater, Number: 2023}, TextValue(noon.Format(time.RFC3339)), true},
		"part of no time":    {&Leaf{Kind: Compare, Part: Year}, TextValue("soon"), false},
	} {
		if got := c.leaf.Match(&c.v, nil); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestRef(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		rel  Relation
		cs   bool
		want bool
	}{
		{"Root", "root", SameAs, false, true},
		{"Root", "root", SameAs, true, false},
		{"rooty", "ROOT", StartsWith, false, true},
		{"xroot", "root", EndsWith, false, true},
		{"xrooty", "root", Contains, true, true},
		{"root", "", Contains, false, false},
		{"", "", SameAs, false, false},
	} {
		l := &Leaf{Field: "a", Kind: Ref, RefField: "b", Relation: c.rel, Cased: c.cs}
		if got := l.Eval(Sample{"a": c.a, "b": c.b}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestAnyField(t *testing.T) {
	t.Parallel()
	l := &Leaf{Patterns: []Pattern{build("*evil*", false)}}
	if !l.Eval(Sample{"a": "x", "b": "so Evil"}) || l.Eval(Sample{"a": "x"}) || l.Eval(Sample{}) {
		t.Error("a word without a field")
	}
}

// TestConstantTree: a tree that is called constant has one value for every
// truth of its leaves.
func TestConstantTree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var leaves []*Leaf
		var tree func(depth int) *Expr
		tree = func(depth int) *Expr {
			if depth == 0 || rapid.IntRange(0, 3).Draw(t, "leaf") == 0 {
				leaves = append(leaves, &Leaf{})
				return Single(leaves[len(leaves)-1])
			}
			var kids []*Expr
			for range rapid.IntRange(1, 3).Draw(t, "kids") {
				kids = append(kids, tree(depth-1))
			}
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0:
				return Not(kids[0])
			case 1:
				return And(kids...)
			case 2:
				return Or(kids...)
			}
			return AtLeast(rapid.IntRange(1, len(kids)).Draw(t, "n"), kids...)
		}
		e := tree(3)
		if len(leaves) > 10 {
			t.Skip("too many leaves")
		}
		missing := map[*Leaf]bool{}
		for _, l := range leaves {
			missing[l] = rapid.Bool().Draw(t, "missing")
		}
		yes, no := false, false
		for bits := range 1 << len(leaves) {
			truth := map[*Leaf]bool{}
			for i, l := range leaves {
				truth[l] = bits>>i&1 == 1 && !missing[l]
			}
			if e.Eval(func(l *Leaf) bool { return truth[l] }) {
				yes = true
			} else {
				no = true
			}
		}
		if e.Constant(func(l *Leaf) bool { return missing[l] }) && yes && no {
			t.Fatal("called constant, but varies")
		}
		n := 0
		e.Leaves(func(*Leaf) { n++ })
		if e.Size() < n {
			t.Fatalf("%d nodes, %d leaves", e.Size(), n)
		}
	})
}
