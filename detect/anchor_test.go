// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/picket-edr/picket/rule"
)

func TestRegexpLiterals(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string][]string{
		"abc":              {"abc"},
		"(?i)AbC":          {"abc"},
		"a+bcd":            {"bcd"},
		"(foo|quux)x?":     {"foo", "quux"},
		"(foo|.*)":         nil,
		"x*":               nil,
		"(?:abc){2,}d":     {"abcabc"},
		"(?:abc){0,2}":     nil,
		"^/tmp/[a-z]+\\.s": {"/tmp/"},
		"[ab]":             nil,
		"\uFFFD":           nil,
	} {
		got := regexpLiterals(regexp.MustCompile(expr))
		if expr == "(?:abc){2,}d" { // how repeats unroll is not our affair
			if len(got) != 1 || !strings.Contains(got[0], "abc") {
				t.Errorf("%s: %q", expr, got)
			}
			continue
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// TestRegexpLiteralsOccur: whatever an expression matches holds one of its literals.
func TestRegexpLiteralsOccur(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"ab", "c", "K", "s", "a?", "b+", "(ab|cK)", "(a|b*)", ".", "[ab]", "(?:cs){1,2}", "\u212a"}), 1, 5).Draw(t, "parts")
		expr := rapid.SampledFrom([]string{"", "(?i)", "(?s)"}).Draw(t, "flags") + strings.Join(parts, "")
		text := rapid.StringOfN(rapid.RuneFrom([]rune("abcksK\u212aſ")), 0, 12, -1).Draw(t, "text")
		re := regexp.MustCompile(expr)
		lits := regexpLiterals(re)
		if lits == nil || !re.MatchString(text) {
			return
		}
		folded := string(rule.Fold(nil, text))
		if !slices.ContainsFunc(lits, func(l string) bool { return strings.Contains(folded, l) }) {
			t.Fatalf("%s matches %q without any of %q", expr, text, lits)
		}
	})
}
