// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

const (
	maxRules    = 64
	maxPattern  = 512
	maxName     = 64
	minLiteral  = 3
	maxLiterals = 32 // of one rule
)

// Policy is what a server may want beyond the built-in rules. The zero Policy
// has those alone.
type Policy struct {
	Off       []Field `json:"off,omitempty"`       // kinds of text that are left as they are
	Correlate bool    `json:"correlate,omitempty"` // markers tell equal secrets
	Rules     []Rule  `json:"rules,omitempty"`
}

// Rule hides what a pattern names.
type Rule struct {
	Name    string `json:"name"`            // reported with each row: letters, digits, dashes
	Pattern string `json:"pattern"`         // RE2; any match has a literal of three letters or more
	Group   int    `json:"group,omitempty"` // what is hidden; 0: the first group, or the whole match where there is none
}

// compiled is a rule of a policy, ready to run.
type compiled struct {
	name     string
	re       *regexp.Regexp
	group    int
	literals []string // lower case; one of them is in any match
}

// Check reports what is wrong with a policy.
func (p Policy) Check() error {
	_, err := p.compile()
	return err
}

func (p Policy) compile() ([]compiled, error) {
	if len(p.Rules) > maxRules {
		return nil, fmt.Errorf("%d rules, at most %d", len(p.Rules), maxRules)
	}
	for _, f := range p.Off {
		if !slices.Contains(Fields, f) {
			return nil, fmt.Errorf("off: unknown field %q, want some of %v", f, Fields)
		}
	}
	var out []compiled
	for _, r := range p.Rules {
		c, err := r.compile()
		if err != nil {
			return nil, fmt.Errorf("rule %.64q: %w", r.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func (r Rule) compile() (compiled, error) {
	if !isName(r.Name) {
		return compiled{}, fmt.Errorf("want a name of up to %d letters, digits and dashes", maxName)
	}
	if len(r.Pattern) > maxPattern {
		return compiled{}, fmt.Errorf("pattern of %d bytes, at most %d", len(r.Pattern), maxPattern)
	}
	tree, err := syntax.Parse(r.Pattern, syntax.Perl)
	if err != nil {
		return compiled{}, err
	}
	re, err := regexp.Compile(r.Pattern)
	if err != nil {
		return compiled{}, err
	}
	c := compiled{name: r.Name, re: re, group: r.Group, literals: required(tree.Simplify())}
	if c.literals == nil {
		return compiled{}, fmt.Errorf("no text of %d letters is in every match: the pattern would have to run on everything", minLiteral)
	}
	if c.group == 0 && re.NumSubexp() > 0 {
		c.group = 1
	}
	if c.group < 0 || c.group > re.NumSubexp() {
		return compiled{}, errors.New("the pattern has no such group")
	}
	return c, nil
}

func isName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isLetter(s[i]) && !isDigit(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

// required returns texts, in lower case, of which every match of a pattern has
// at least one; nil where no good ones can be told.
func required(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		text := strings.ToLower(string(re.Rune))
		if len(text) < minLiteral || strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) {
			return nil
		}
		return []string{text}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min < 1 {
			return nil
		}
		return required(re.Sub[0])
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if l := required(sub); l != nil && (best == nil || shortest(l) > shortest(best)) {
				best = l
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			l := required(sub)
			if l == nil || len(all)+len(l) > maxLiterals {
				return nil
			}
			all = append(all, l...)
		}
		return all
	}
	return nil
}

func shortest(texts []string) int {
	n := len(texts[0])
	for _, t := range texts {
		n = min(n, len(t))
	}
	return n
}

// find adds what the rule hides in s.
func (c *compiled) find(s string, spans []span) []span {
	for _, m := range c.re.FindAllStringSubmatchIndex(s, maxHits+1) {
		if from, to := m[2*c.group], m[2*c.group+1]; from >= 0 && from < to {
			spans = append(spans, span{from, to, c.name})
		}
	}
	return spans
}
