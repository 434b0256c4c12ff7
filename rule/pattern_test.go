// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// build makes a pattern from Sigma-like text without escapes.
func build(s string, cased bool) Pattern {
	var b PatternBuilder
	for _, r := range s {
		switch r {
		case '*':
			b.Any()
		case '?':
			b.One()
		default:
			b.Literal(string(r))
		}
	}
	return b.Pattern(cased)
}

func TestPattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"abc", "ABC", true},
		{"abc", "abcd", false},
		{"abc*", "abcd", true},
		{"*abc", "xabc", true},
		{"*abc", "abcx", false},
		{"*abc*", "xabcx", true},
		{"a*c", "abc", true},
		{"a*c", "ac", true},
		{"a*c", "acb", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"a?c", "aéc", true},
		{"?", "é", true},
		{"?", "", false},
		{"??*", "a", false},
		{"??*", "ab", true},
		{"*?b", "b", false},
		{"*?b", "ab", true},
		{"*ab?d*", "ababcd", true},
		{"*ab?d*", "abababxd", true},
		{"*a*b*c", "xaxbxcxc", true},
		{"*a*b*c", "xaxcxb", false},
		{"/tmp/*.sh", "/tmp/a/b.sh", true},
		{"straße", "STRAẞE", true},
		{"kelvin", "\u212aelvin", true},
	} {
		p := build(c.pattern, false)
		if got := p.Match(Fold(nil, c.value)); got != c.want {
			t.Errorf("%q on %q: %v, want %v", c.pattern, c.value, got, c.want)
		}
	}
	if p := build("Abc", true); p.Match([]byte("abc")) || !p.Match([]byte("Abc")) {
		t.Error("a pattern that heeds case")
	}
}

// TestPatternAgainstRegexp compares matching with the regexp package.
func TestPatternAgainstRegexp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?é")), 0, 8, -1).Draw(t, "pattern")
		value := rapid.StringOfN(rapid.RuneFrom([]rune("abéB")), 0, 14, -1).Draw(t, "value")
		re := "(?is)^"
		for _, r := range pattern {
			switch r {
			case '*':
				re += ".*"
			case '?':
				re += "."
			default:
				re += regexp.QuoteMeta(string(r))
			}
		}
		p := build(pattern, false)
		want := regexp.MustCompile(re + "$").MatchString(value)
		if got := p.Match(Fold(nil, value)); got != want {
			t.Fatalf("%q on %q: %v, want %v", pattern, value, got, want)
		}
		if l := p.Literal(); len(l) > 0 && want && !strings.Contains(string(Fold(nil, value)), string(l)) {
			t.Fatalf("%q matches %q without its literal %q", pattern, value, l)
		}
	})
}

// TestFoldAgainstRegexp: two runes fold to the same exactly when the regexp
// package takes them for the same without case.
func TestFoldAgainstRegexp(t *testing.T) {
	t.Parallel()
	for r := rune(1); r < 0x2c00; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		if f := Fold(nil, string(r)); string(Fold(nil, string(f))) != string(f) {
			t.Errorf("folding %q twice gives %q, then %q", r, f, Fold(nil, string(f)))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.OneOf(rapid.RuneFrom([]rune("kKsSſ\u212aßẞσςΣİıiIåÅ\u212b")), rapid.Rune())
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		want := regexp.MustCompile("(?i)^" + regexp.QuoteMeta(string(a)) + "$").MatchString(string(b))
		if got := string(Fold(nil, string(a))) == string(Fold(nil, string(b))); got != want {
			t.Fatalf("%q and %q: same %v, want %v", a, b, got, want)
		}
	})
	if got := Fold(nil, "a\xffB"); string(got) != "a\xffb" {
		t.Errorf("bytes that are not UTF-8: %q", got)
	}
}

func TestPatternString(t *testing.T) {
	t.Parallel()
	var b PatternBuilder
	b.Any()
	b.One()
	b.Literal(`a*\`)
	p := b.Pattern(true)
	if got := p.String(); got != `?*a\*\\` {
		t.Errorf("%s", got)
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("*a?b*", "xaxbx")
	f.Add("\xff?", "\xff\xff")
	f.Fuzz(func(t *testing.T, pattern, value string) {
		p := build(pattern, false)
		if p.Match(Fold(nil, value)) && len(p.Literal()) > len(Fold(nil, value)) {
			t.Fatal("matches without room for its literal")
		}
	})
}
