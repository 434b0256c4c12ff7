// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/picket-edr/picket/rule"
)

// Bounds on one regular expression.
const (
	maxRegexp        = 4 << 10
	maxRegexpProgram = 20_000
)

// fieldCondition is a field, its modifiers and what they make of its values.
type fieldCondition struct {
	*compiler
	field string

	transforms []string // change texts, in order
	kind       string   // what the value is when not a text: re, cidr, exists, fieldref or a comparison
	flags      string   // of re
	part       rule.TimePart
	relation   rule.Relation // of fieldref
	all, cased bool
	negate     bool
}

var (
	textModifiers = []string{"contains", "startswith", "endswith", "windash", "wide", "utf16", "utf16le", "utf16be", "base64", "base64offset", "expand"}
	kindModifiers = []string{"re", "cidr", "exists", "fieldref", "lt", "lte", "gt", "gte"}
	timeModifiers = []string{"minute", "hour", "day", "week", "month", "year"}
)

func (f *fieldCondition) modifiers(mods []string) error {
	for i, m := range mods {
		if m != "base64" && slices.Contains(mods[:i], m) {
			return fmt.Errorf("modifier %q twice", m)
		}
		switch {
		case m == "all":
			f.all = true
		case m == "cased":
			f.cased = true
		case m == "neq":
			f.negate = true
		case slices.Contains(timeModifiers, m):
			if f.part != rule.Whole {
				return fmt.Errorf("modifier %q after another part of a time", m)
			}
			f.part = rule.TimePart(slices.Index(timeModifiers, m) + 1)
		case f.kind == "re" && (m == "i" || m == "m" || m == "s"):
			f.flags += m
		case slices.Contains(kindModifiers, m):
			if f.kind != "" {
				return fmt.Errorf("modifiers %q and %q exclude each other", f.kind, m)
			}
			f.kind = m
		case slices.Contains(textModifiers, m):
			f.transforms = append(f.transforms, m)
		case m == "":
			return fmt.Errorf("an empty modifier")
		default:
			return fmt.Errorf("unknown modifier %q", m)
		}
	}
	return f.consistent()
}

// consistent refuses modifiers that mean nothing together.
func (f *fieldCondition) consistent() error {
	only := func(allowed ...string) error {
		for _, t := range f.transforms {
			if !slices.Contains(allowed, t) {
				return fmt.Errorf("modifiers %q and %q exclude each other", t, f.kind)
			}
		}
		return nil
	}
	switch {
	case f.part != rule.Whole && (f.kind == "re" || f.kind == "cidr" || f.kind == "exists" || f.kind == "fieldref" || len(f.transforms) > 0):
		return fmt.Errorf("a part of a time can only be compared with numbers")
	case f.all && f.negate:
		return fmt.Errorf("modifiers %q and %q exclude each other", "all", "neq")
	case f.kind == "fieldref":
		return f.reference()
	case f.kind != "":
		if f.cased && f.kind != "re" {
			return fmt.Errorf("modifiers %q and %q exclude each other", "cased", f.kind)
		}
		return only()
	}
	return f.encodings()
}

// encodings checks the order of transformations: an encoded text can be
// placed in a value, but a placed text cannot be encoded.
func (f *fieldCondition) encodings() error {
	placed, wide := "", ""
	for _, t := range f.transforms {
		switch t {
		case "contains", "startswith", "endswith":
			if placed != "" {
				return fmt.Errorf("modifiers %q and %q exclude each other", placed, t)
			}
			placed = t
		case "windash", "expand":
		default:
			if placed != "" {
				return fmt.Errorf("modifier %q after %q", t, placed)
			}
			if strings.HasPrefix(t, "base64") {
				continue
			}
			if wide != "" {
				return fmt.Errorf("modifiers %q and %q exclude each other", wide, t)
			}
			wide = t
		}
	}
	return nil
}

func (f *fieldCondition) reference() error {
	switch {
	case len(f.transforms) > 1 || f.all:
		return fmt.Errorf("fieldref takes one of startswith, endswith and contains, and no list logic")
	case len(f.transforms) == 0:
		return nil
	}
	switch f.transforms[0] {
	case "startswith":
		f.relation = rule.StartsWith
	case "endswith":
		f.relation = rule.EndsWith
	case "contains":
		f.relation = rule.Contains
	default:
		return fmt.Errorf("modifiers %q and %q exclude each other", f.transforms[0], "fieldref")
	}
	return nil
}

// compile makes the tree for all values of the field.
func (f *fieldCondition) compile(nodes []*yaml.Node) (*rule.Expr, error) {
	if f.field == "" && (f.part != rule.Whole || f.negate || f.kind != "" && f.kind != "re") {
		return nil, fmt.Errorf("this modifier needs a field")
	}
	var leaves []*rule.Leaf // one per value
	for _, n := range nodes {
		n = follow(n)
		if n.Kind != yaml.ScalarNode {
			return nil, faultf(n, "field %q: a list or mapping where a value is expected", f.field)
		}
		if isNull(n) {
			if len(nodes) > 1 {
				return nil, faultf(n, "field %q: null cannot be part of a list", f.field)
			}
			return f.null(n)
		}
		l, err := f.leaf(n)
		if err != nil {
			return nil, faultf(n, "field %q: %v", f.field, err)
		}
		l.Field, l.Negate = f.field, f.negate
		leaves = append(leaves, l)
	}
	if f.all {
		if len(leaves) < 2 {
			return nil, fmt.Errorf("modifier \"all\" needs a list of at least two values")
		}
		return combine(leaves, rule.And), nil
	}
	return combine(merge(leaves), f.either()), nil
}

// either joins values of which one suffices; when none may hold, all their
// negations must.
func (f *fieldCondition) either() func(...*rule.Expr) *rule.Expr {
	if f.negate {
		return rule.And
	}
	return rule.Or
}

func combine(leaves []*rule.Leaf, join func(...*rule.Expr) *rule.Expr) *rule.Expr {
	kids := make([]*rule.Expr, len(leaves))
	for i, l := range leaves {
		l.Prepare()
		kids[i] = rule.Single(l)
	}
	return join(kids...)
}

// merge turns leaves that differ in their value only into one leaf.
func merge(leaves []*rule.Leaf) []*rule.Leaf {
	var out []*rule.Leaf
	for _, l := range leaves {
		n := len(out)
		if n > 0 && out[n-1].Kind == l.Kind && (l.Kind == rule.Text || l.Kind == rule.Regexp || l.Kind == rule.CIDR) {
			out[n-1].Patterns = append(out[n-1].Patterns, l.Patterns...)
			out[n-1].Regexps = append(out[n-1].Regexps, l.Regexps...)
			out[n-1].Prefixes = append(out[n-1].Prefixes, l.Prefixes...)
			continue
		}
		out = append(out, l)
	}
	return out
}

func (f *fieldCondition) null(n *yaml.Node) (*rule.Expr, error) {
	if f.field == "" || f.kind != "" || len(f.transforms) > 0 || f.part != rule.Whole || f.all || f.cased {
		return nil, faultf(n, "field %q: null takes a field and no modifier", f.field)
	}
	return rule.Single(&rule.Leaf{Field: f.field, Kind: rule.Null, Negate: f.negate}), nil
}

func (f *fieldCondition) leaf(n *yaml.Node) (*rule.Leaf, error) {
	s, err := scalar(n)
	if err != nil {
		return nil, err
	}
	switch f.kind {
	case "re":
		return f.regexp(s)
	case "cidr":
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is not an address range (CIDR)", s)
		}
		return &rule.Leaf{Kind: rule.CIDR, Prefixes: []netip.Prefix{p.Masked()}}, nil
	case "exists":
		if n.Tag != "!!bool" {
			return nil, fmt.Errorf("modifier \"exists\" takes true or false")
		}
		return &rule.Leaf{Kind: rule.Exists, Want: s == "true"}, nil
	case "fieldref":
		if s == "" {
			return nil, fmt.Errorf("modifier \"fieldref\" takes the name of a field")
		}
		return &rule.Leaf{Kind: rule.Ref, RefField: s, Relation: f.relation, Cased: f.cased}, nil
	case "":
		if f.part == rule.Whole {
			return f.text(s, n.Tag)
		}
	}
	return f.number(s)
}

func (f *fieldCondition) number(s string) (*rule.Leaf, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a number", s)
	}
	ops := map[string]rule.Comparison{"": rule.Equal, "lt": rule.Less, "lte": rule.LessOrEqual, "gt": rule.Greater, "gte": rule.GreaterOrEqual}
	return &rule.Leaf{Kind: rule.Compare, Number: v, Compare: ops[f.kind], Part: f.part}, nil
}

func (f *fieldCondition) regexp(s string) (*rule.Leaf, error) {
	if len(s) > maxRegexp {
		return nil, fmt.Errorf("regular expression of %d bytes, at most %d", len(s), maxRegexp)
	}
	if f.flags != "" {
		s = "(?" + f.flags + ")" + s
	}
	tree, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %v", err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("regular expression: %v", err)
	}
	if len(prog.Inst) > maxRegexpProgram {
		return nil, fmt.Errorf("regular expression compiles to %d steps, at most %d", len(prog.Inst), maxRegexpProgram)
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %v", err)
	}
	return &rule.Leaf{Kind: rule.Regexp, Cased: true, Regexps: []*regexp.Regexp{re}}, nil
}
