// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/picket-edr/picket/rule"
)

// compiler turns the detection section of one rule into a condition tree.
type compiler struct {
	options  Options
	patterns int // made so far, to bound expansion
	warnings []string
}

// maxPatterns bounds the patterns that the values of one rule expand to.
const maxPatterns = 50_000

func (c *compiler) detection(n *yaml.Node) (*rule.Expr, error) {
	if n.Kind != yaml.MappingNode {
		return nil, faultf(n, "detection must be a mapping")
	}
	var groups []group
	var cond *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := follow(n.Content[i]), follow(n.Content[i+1])
		switch k.Value {
		case "condition":
			cond = v
		case "timeframe":
			return nil, faultf(k, "timeframe was removed from Sigma with version 2; write a correlation rule")
		default:
			e, err := c.identifier(v)
			if err != nil {
				return nil, err
			}
			e.Name = k.Value
			groups = append(groups, group{k.Value, e, k.Line})
		}
	}
	switch {
	case cond == nil:
		return nil, faultf(n, "detection has no condition")
	case len(groups) == 0:
		return nil, faultf(n, "detection has no search identifier")
	}
	return c.conditions(cond, groups)
}

// conditions reads one condition, or a list of which any suffices.
func (c *compiler) conditions(n *yaml.Node, groups []group) (*rule.Expr, error) {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	p := condition{groups: groups, used: map[string]bool{}}
	var kids []*rule.Expr
	for _, item := range list {
		item = follow(item)
		if item.Kind != yaml.ScalarNode || item.Tag != "!!str" {
			return nil, faultf(item, "condition must be a text or a list of texts")
		}
		e, err := p.parse(item.Value)
		if err != nil {
			return nil, faultf(item, "%v", err)
		}
		kids = append(kids, e)
	}
	if len(kids) == 0 {
		return nil, faultf(n, "condition is empty")
	}
	for _, g := range groups {
		if !p.used[g.name] && !strings.HasPrefix(g.name, "_") {
			c.warnings = append(c.warnings, fmt.Sprintf("line %d: the condition does not use search identifier %q", g.line, g.name))
		}
	}
	return rule.Or(kids...), nil
}

// identifier compiles one search identifier: a mapping (all of it), a list
// (any of it), or a single word.
func (c *compiler) identifier(n *yaml.Node) (*rule.Expr, error) {
	switch n.Kind {
	case yaml.MappingNode:
		return c.mapping(n)
	case yaml.ScalarNode:
		return c.condition("", []*yaml.Node{n}, n)
	}
	var kids []*rule.Expr
	var words []*yaml.Node
	for _, item := range n.Content {
		switch item = follow(item); item.Kind {
		case yaml.MappingNode:
			e, err := c.mapping(item)
			if err != nil {
				return nil, err
			}
			kids = append(kids, e)
		case yaml.ScalarNode:
			words = append(words, item)
		default:
			return nil, faultf(item, "a list inside a list")
		}
	}
	if len(words) > 0 {
		e, err := c.condition("", words, n)
		if err != nil {
			return nil, err
		}
		kids = append(kids, e)
	}
	if len(kids) == 0 {
		return nil, faultf(n, "an empty list")
	}
	return rule.Or(kids...), nil
}

func (c *compiler) mapping(n *yaml.Node) (*rule.Expr, error) {
	var kids []*rule.Expr
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := follow(n.Content[i]), follow(n.Content[i+1])
		values := []*yaml.Node{v}
		switch v.Kind {
		case yaml.SequenceNode:
			if values = v.Content; len(values) == 0 {
				return nil, faultf(v, "field %q: an empty list", k.Value)
			}
		case yaml.MappingNode:
			return nil, faultf(v, "field %q: a mapping where a value is expected", k.Value)
		}
		e, err := c.condition(k.Value, values, k)
		if err != nil {
			return nil, err
		}
		kids = append(kids, e)
	}
	if len(kids) == 0 {
		return nil, faultf(n, "an empty mapping")
	}
	return rule.And(kids...), nil
}

// condition compiles one key of a mapping with its values. An empty field
// means words that are searched everywhere.
func (c *compiler) condition(key string, nodes []*yaml.Node, at *yaml.Node) (*rule.Expr, error) {
	name, mods, _ := strings.Cut(key, "|")
	f := &fieldCondition{compiler: c, field: name}
	if strings.Contains(key, "|") {
		if err := f.modifiers(strings.Split(mods, "|")); err != nil {
			return nil, faultf(at, "field %q: %v", key, err)
		}
	}
	e, err := f.compile(nodes)
	if _, isFault := err.(*fault); err != nil && !isFault {
		return nil, faultf(at, "field %q: %v", key, err)
	}
	return e, err
}
