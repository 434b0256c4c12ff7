// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/picket-edr/picket/rule"
)

// anchor is a text that a column holds, folded, whenever a condition is true.
type anchor struct {
	column int
	text   string
}

// maxAnchors bounds the alternatives kept for one condition.
const maxAnchors = 256

// anchors returns texts of which at least one must occur for the condition to
// be true; nil means that no such texts are known.
func (g *group) anchors(n *node) []anchor {
	switch n.op {
	case opLeaf:
		return g.leafAnchors(n.leaf)
	case opAnd:
		var best []anchor
		for _, k := range n.kids {
			if a := g.anchors(k); better(a, best) {
				best = a
			}
		}
		return best
	case opOr, opAtLeast: // at least n of the kids implies at least one
		var all []anchor
		for _, k := range n.kids {
			a := g.anchors(k)
			if a == nil || len(all)+len(a) > maxAnchors {
				return nil
			}
			all = append(all, a...)
		}
		return all
	}
	return nil
}

// better prefers the set whose shortest text is longer, then the smaller set.
func better(a, b []anchor) bool {
	switch {
	case a == nil:
		return false
	case b == nil:
		return true
	}
	if x, y := shortest(a), shortest(b); x != y {
		return x > y
	}
	return len(a) < len(b)
}

func shortest(a []anchor) int {
	n := len(a[0].text)
	for _, x := range a {
		n = min(n, len(x.text))
	}
	return n
}

func (g *group) leafAnchors(id int) []anchor {
	l := &g.leaves[id]
	if l.leaf.Negate {
		return nil
	}
	var texts []string
	switch l.leaf.Kind {
	case rule.Text:
		for i := range l.leaf.Patterns {
			texts = append(texts, literalText(l.leaf.Patterns[i].Literal()))
		}
	case rule.Regexp:
		for _, re := range l.leaf.Regexps {
			alternatives := regexpLiterals(re)
			if alternatives == nil {
				return nil
			}
			texts = append(texts, alternatives...)
		}
	}
	if len(texts)*len(l.columns) == 0 || len(texts)*len(l.columns) > maxAnchors {
		return nil
	}
	var out []anchor
	for _, c := range l.columns {
		for _, t := range texts {
			if t == "" {
				return nil
			}
			out = append(out, anchor{c, t})
		}
	}
	return out
}

// literalText returns a literal as it occurs in folded text, "" when it need
// not occur there: folding changes bytes around a piece of a rune.
func literalText(b []byte) string {
	if !utf8.Valid(b) || strings.ContainsRune(string(b), utf8.RuneError) {
		return ""
	}
	return string(rule.Fold(nil, string(b)))
}

// regexpLiterals returns texts of which one occurs, folded, in everything that
// the expression matches; nil when none are known.
func regexpLiterals(re *regexp.Regexp) []string {
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return nil
	}
	return literals(tree.Simplify())
}

func literals(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		if t := literalText([]byte(string(re.Rune))); t != "" {
			return []string{t}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return literals(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return literals(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, s := range re.Sub {
			if l := literals(s); l != nil && (best == nil || least(l) > least(best)) {
				best = l
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, s := range re.Sub {
			l := literals(s)
			if l == nil || len(all)+len(l) > maxAnchors {
				return nil
			}
			all = append(all, l...)
		}
		return all
	}
	return nil
}

func least(texts []string) int {
	n := len(texts[0])
	for _, t := range texts {
		n = min(n, len(t))
	}
	return n
}
