// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/picket-edr/picket/rule"
)

// token is a part of a text value.
type token struct {
	kind tokenKind
	text string // of literals
}

type tokenKind uint8

const (
	literal  tokenKind = iota
	oneRune            // ?
	anyRunes           // *
)

// tokenize reads wildcards and escapes: a backslash makes a following
// wildcard or backslash plain and is itself plain before anything else.
func tokenize(s string) []token {
	var out []token
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			out = append(out, token{literal, lit.String()})
			lit.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`\*?`, s[i+1]) >= 0:
			i++
			lit.WriteByte(s[i])
		case c == '*':
			flush()
			out = append(out, token{kind: anyRunes})
		case c == '?':
			flush()
			out = append(out, token{kind: oneRune})
		default:
			lit.WriteByte(c)
		}
	}
	flush()
	return out
}

// text compiles a value that is compared as text.
func (f *fieldCondition) text(s, tag string) (*rule.Leaf, error) {
	variants := [][]token{{{literal, s}}} // numbers and booleans have no wildcards
	if tag == "!!str" {
		variants = [][]token{tokenize(s)}
	}
	if slices.Contains(f.transforms, "expand") {
		var err error
		if variants, err = f.expand(s); err != nil {
			return nil, err
		}
	}
	placed := ""
	for _, t := range f.transforms {
		if t == "contains" || t == "startswith" || t == "endswith" {
			placed = t
			continue
		}
		var next [][]token
		for _, v := range variants {
			made, err := transform(t, v)
			if err != nil {
				return nil, err
			}
			next = append(next, made...)
		}
		if variants = next; len(variants)+f.patterns > maxPatterns {
			return nil, fmt.Errorf("the rule expands to more than %d patterns", maxPatterns)
		}
	}
	f.patterns += len(variants)
	l := &rule.Leaf{Kind: rule.Text, Cased: f.cased}
	if f.field == "" && placed == "" {
		placed = "contains" // a word is searched in the whole value
	}
	for _, v := range variants {
		l.Patterns = append(l.Patterns, pattern(v, placed, f.cased))
	}
	return l, nil
}

func pattern(tokens []token, placed string, cased bool) rule.Pattern {
	var b rule.PatternBuilder
	if placed == "contains" || placed == "endswith" {
		b.Any()
	}
	for _, t := range tokens {
		switch t.kind {
		case oneRune:
			b.One()
		case anyRunes:
			b.Any()
		default:
			b.Literal(t.text)
		}
	}
	if placed == "contains" || placed == "startswith" {
		b.Any()
	}
	return b.Pattern(cased)
}

// transform applies one modifier to a text.
func transform(name string, v []token) ([][]token, error) {
	switch name {
	case "windash":
		return windash(v)
	case "expand":
		return [][]token{v}, nil // done before
	}
	plain := ""
	for _, t := range v {
		if t.kind != literal {
			return nil, fmt.Errorf("modifier %q cannot encode wildcards", name)
		}
		plain += t.text
	}
	if plain == "" {
		return nil, fmt.Errorf("modifier %q has nothing to encode", name)
	}
	var out []string
	switch name {
	case "wide", "utf16le":
		out = []string{encode16(plain, binary.LittleEndian, "")}
	case "utf16be":
		out = []string{encode16(plain, binary.BigEndian, "")}
	case "utf16":
		out = []string{encode16(plain, binary.LittleEndian, "\xff\xfe")}
	case "base64":
		out = []string{base64.StdEncoding.EncodeToString([]byte(plain))}
	case "base64offset":
		var err error
		if out, err = base64Offsets(plain); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("unknown modifier %q", name)
	}
	variants := make([][]token, len(out))
	for i, s := range out {
		variants[i] = []token{{literal, s}}
	}
	return variants, nil
}

func encode16(s string, order binary.AppendByteOrder, mark string) string {
	out := []byte(mark)
	for _, u := range utf16.Encode([]rune(s)) {
		out = order.AppendUint16(out, u)
	}
	return string(out)
}

// base64Offsets returns the parts of the encoding of s that do not depend on
// what stands before and after it, for its three possible places relative to
// groups of three bytes.
func base64Offsets(s string) ([]string, error) {
	var out []string
	for shift := range 3 {
		enc := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + s))
		from := []int{0, 2, 3}[shift]
		to := len(enc) - []int{0, 3, 2}[(shift+len(s))%3]
		if from >= to {
			return nil, fmt.Errorf("%q is too short to be found inside of Base64", s)
		}
		out = append(out, enc[from:to])
	}
	return out, nil
}

// dashes are the characters that Windows programs take for the start of an
// option.
var dashes = []string{"-", "/", "\u2013", "\u2014", "\u2015"}

// maxDashes bounds the five-fold growth per option of one text.
const maxDashes = 4

// windash returns all forms of a text in which the characters that start
// options are exchanged for each other. A dash starts an option when a letter
// or digit follows and none is before it.
func windash(v []token) ([][]token, error) {
	variants := [][]token{nil}
	found := 0
	for _, t := range v {
		parts := []string{t.text}
		if t.kind == literal {
			parts = splitDashes(t.text)
		}
		if found += len(parts) / 2; found > maxDashes {
			return nil, fmt.Errorf("modifier \"windash\": more than %d options in one value", maxDashes)
		}
		for i, p := range parts {
			if t.kind == literal && i%2 == 1 {
				variants = multiply(variants)
			} else if t.kind != literal || p != "" {
				for k := range variants {
					variants[k] = append(variants[k], token{t.kind, p})
				}
			}
		}
	}
	return variants, nil
}

func multiply(variants [][]token) [][]token {
	var out [][]token
	for _, v := range variants {
		for _, d := range dashes {
			out = append(out, append(slices.Clone(v), token{literal, d}))
		}
	}
	return out
}

// splitDashes cuts a text at its option dashes: text, dash, text, dash, text.
func splitDashes(s string) []string {
	parts := []string{""}
	before := ' '
	for i, r := range s {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(s[i:])
		}
		next, _ := utf8.DecodeRuneInString(s[i+size:])
		if slices.Contains(dashes, string(r)) && !word(before) && i+size < len(s) && word(next) {
			parts = append(parts, string(r), "")
		} else {
			parts[len(parts)-1] += s[i : i+size]
		}
		before = r
	}
	return parts
}

func word(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// expand reads a text with %placeholders% and returns it once per combination
// of their values.
func (f *fieldCondition) expand(s string) ([][]token, error) {
	variants := [][]token{nil}
	for len(s) > 0 {
		at := plainPercent(s)
		variants = extend(variants, []string{strings.ReplaceAll(s[:at], `\%`, "%")})
		if s = s[at:]; s == "" {
			break
		}
		end := strings.IndexByte(s[1:], '%')
		if end < 0 {
			variants = extend(variants, []string{s})
			break
		}
		name := s[1 : 1+end]
		values := f.options.Placeholders[name]
		if len(values) == 0 {
			return nil, fmt.Errorf("placeholder %%%s%% has no values", name)
		}
		if len(variants)*len(values) > maxPatterns {
			return nil, fmt.Errorf("the rule expands to more than %d patterns", maxPatterns)
		}
		variants = extend(variants, values)
		s = s[end+2:]
	}
	return variants, nil
}

// plainPercent returns the index of the first % without a backslash before it.
func plainPercent(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && (i == 0 || s[i-1] != '\\') {
			return i
		}
	}
	return len(s)
}

func extend(variants [][]token, texts []string) [][]token {
	var out [][]token
	for _, v := range variants {
		for _, t := range texts {
			out = append(out, append(slices.Clone(v), tokenize(t)...))
		}
	}
	return out
}
