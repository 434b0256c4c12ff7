// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/picket-edr/picket/rule"
)

// Bounds on one condition.
const (
	maxCondition      = 16 << 10
	maxConditionDepth = 64
	maxRuleNodes      = 100_000 // nodes of one compiled condition tree
)

// condition is a recursive-descent parser for condition expressions:
//
//	or   = and { "or" and }
//	and  = not { "and" not }
//	not  = "not" not | term
//	term = "(" or ")" | ( number | "all" | "any" ) "of" ( "them" | pattern ) | identifier
type condition struct {
	tokens []string
	pos    int
	depth  int
	nodes  int
	groups []group // the search identifiers in order
	used   map[string]bool
}

// group is one search identifier with what it stands for.
type group struct {
	name string
	expr *rule.Expr
	line int
}

func (c *condition) parse(src string) (*rule.Expr, error) {
	if len(src) > maxCondition {
		return nil, fmt.Errorf("condition of %d bytes, at most %d", len(src), maxCondition)
	}
	var err error
	if c.tokens, err = lex(src); err != nil {
		return nil, err
	}
	c.pos, c.depth, c.nodes = 0, 0, 0
	e, err := c.or()
	if err != nil {
		return nil, err
	}
	if c.pos < len(c.tokens) {
		return nil, fmt.Errorf("condition: %q is not expected after %q", c.tokens[c.pos], strings.Join(c.tokens[:c.pos], " "))
	}
	return e, nil
}

func lex(src string) ([]string, error) {
	var tokens []string
	for i := 0; i < len(src); {
		switch ch := src[i]; {
		case ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r':
			i++
		case ch == '(' || ch == ')':
			tokens = append(tokens, src[i:i+1])
			i++
		case wordByte(ch):
			j := i
			for j < len(src) && wordByte(src[j]) {
				j++
			}
			tokens = append(tokens, src[i:j])
			i = j
		case ch == '|':
			return nil, fmt.Errorf("condition: aggregations (after |) were removed from Sigma with version 2; write a correlation rule")
		default:
			return nil, fmt.Errorf("condition: unexpected character %q", ch)
		}
	}
	return tokens, nil
}

func wordByte(c byte) bool {
	return c == '_' || c == '-' || c == '.' || c == '*' || c >= 0x80 ||
		'0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// at reports whether token i is a keyword.
func (c *condition) at(i int, keyword string) bool {
	return i < len(c.tokens) && strings.EqualFold(c.tokens[i], keyword)
}

func (c *condition) accept(keyword string) bool {
	if c.at(c.pos, keyword) {
		c.pos++
		return true
	}
	return false
}

func (c *condition) or() (*rule.Expr, error)  { return c.chain("or", c.and, rule.Or) }
func (c *condition) and() (*rule.Expr, error) { return c.chain("and", c.not, rule.And) }

func (c *condition) chain(word string, next func() (*rule.Expr, error), join func(...*rule.Expr) *rule.Expr) (*rule.Expr, error) {
	var kids []*rule.Expr
	for {
		e, err := next()
		if err != nil {
			return nil, err
		}
		kids = append(kids, e)
		if !c.accept(word) {
			return join(kids...), nil
		}
	}
}

func (c *condition) not() (*rule.Expr, error) {
	if !c.at(c.pos, "not") {
		return c.term()
	}
	c.pos++
	return c.deeper(func() (*rule.Expr, error) {
		e, err := c.not()
		if err != nil {
			return nil, err
		}
		return rule.Not(e), nil
	})
}

func (c *condition) deeper(parse func() (*rule.Expr, error)) (*rule.Expr, error) {
	if c.depth++; c.depth > maxConditionDepth {
		return nil, fmt.Errorf("condition nested deeper than %d", maxConditionDepth)
	}
	e, err := parse()
	c.depth--
	return e, err
}

var keywords = []string{"and", "or", "not", "of", "them", ")"}

func (c *condition) term() (*rule.Expr, error) {
	if c.pos >= len(c.tokens) {
		return nil, fmt.Errorf("condition ends too early")
	}
	if c.at(c.pos+1, "of") {
		return c.some()
	}
	if c.accept("(") {
		e, err := c.deeper(c.or)
		if err != nil {
			return nil, err
		}
		if !c.accept(")") {
			return nil, fmt.Errorf("condition: a parenthesis is not closed")
		}
		return e, nil
	}
	word := c.tokens[c.pos]
	for _, k := range keywords {
		if strings.EqualFold(word, k) {
			return nil, fmt.Errorf("condition: %q where a search identifier is expected", word)
		}
	}
	c.pos++
	for _, g := range c.groups {
		if g.name == word {
			return g.expr, c.use(g)
		}
	}
	return nil, fmt.Errorf("condition: no search identifier %q", word)
}

func (c *condition) use(g group) error {
	c.used[g.name] = true
	if c.nodes += g.expr.Size(); c.nodes > maxRuleNodes {
		return fmt.Errorf("condition: grows to more than %d comparisons", maxRuleNodes)
	}
	return nil
}

// some parses "1 of selection_*" and its kin.
func (c *condition) some() (*rule.Expr, error) {
	quantity := c.tokens[c.pos]
	if c.pos += 2; c.pos >= len(c.tokens) {
		return nil, fmt.Errorf("condition ends after %q of", quantity)
	}
	pattern := c.tokens[c.pos]
	c.pos++
	var kids []*rule.Expr
	for _, g := range c.groups {
		if matches(pattern, g.name) {
			if err := c.use(g); err != nil {
				return nil, err
			}
			kids = append(kids, g.expr)
		}
	}
	if len(kids) == 0 {
		return nil, fmt.Errorf("condition: no search identifier matches %q", pattern)
	}
	switch strings.ToLower(quantity) {
	case "all":
		return rule.And(kids...), nil
	case "any":
		return rule.Or(kids...), nil
	}
	n, err := strconv.Atoi(quantity)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("condition: %q of: want a number, all or any", quantity)
	}
	if n > len(kids) {
		return nil, fmt.Errorf("condition: %d of %s, but there are only %d", n, pattern, len(kids))
	}
	return rule.AtLeast(n, kids...), nil
}

// matches reports whether a search identifier is meant by a pattern. Those
// that start with an underscore are meant only when the pattern does, too.
func matches(pattern, name string) bool {
	if strings.EqualFold(pattern, "them") {
		pattern = "*"
	}
	if strings.HasPrefix(name, "_") && !strings.HasPrefix(pattern, "_") {
		return false
	}
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return true
}
