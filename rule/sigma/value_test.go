// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// spell writes tokens so that tests can read them: wildcards as themselves,
// literals in brackets.
func spell(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		switch t.kind {
		case oneRune:
			b.WriteString("?")
		case anyRunes:
			b.WriteString("*")
		default:
			b.WriteString("[" + t.text + "]")
		}
	}
	return b.String()
}

func TestTokenize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		``:          ``,
		`abc`:       `[abc]`,
		`a*b?c`:     `[a]*[b]?[c]`,
		`\*`:        `[*]`,
		`\?`:        `[?]`,
		`\\`:        `[\]`,
		`\\*`:       `[\]*`,
		`\\\*`:      `[\*]`,
		`\\\\`:      `[\\]`,
		`a\b`:       `[a\b]`,
		`C:\Temp\*`: `[C:\Temp*]`,
		`\`:         `[\]`,
		`**`:        `**`,
		`é?`:        `[é]?`,
	} {
		if got := spell(tokenize(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestWindash(t *testing.T) {
	t.Parallel()
	forms := func(s string) []string {
		made, err := windash(tokenize(s))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, m := range made {
			text := ""
			for _, tok := range m {
				text += tok.text
				if tok.kind == anyRunes {
					text += "*"
				}
			}
			out = append(out, text)
		}
		return out
	}
	for in, want := range map[string][]string{
		"-a":     {"-a", "/a", "–a", "—a", "―a"},
		"x /a":   {"x -a", "x /a", "x –a", "x —a", "x ―a"},
		"*–a":    {"*-a", "*/a", "*–a", "*—a", "*―a"},
		"a-b":    {"a-b"},
		"- a":    {"- a"},
		"a/":     {"a/"},
		"plain":  {"plain"},
		"é-b -c": {"é-b -c", "é-b /c", "é-b –c", "é-b —c", "é-b ―c"},
	} {
		if d := cmp.Diff(want, forms(in)); d != "" {
			t.Errorf("%s:\n%s", in, d)
		}
	}
	if got := forms("-a -b"); len(got) != 25 || !slices.Contains(got, "/a ―b") {
		t.Errorf("two options: %q", got)
	}
}

// TestSplitDashes: nothing of a text is lost or moved.
func TestSplitDashes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom([]rune("ab-/–— é_")), 0, 12, -1).Draw(t, "text")
		parts := splitDashes(s)
		if strings.Join(parts, "") != s || len(parts)%2 == 0 {
			t.Fatalf("%q becomes %q", s, parts)
		}
		for i := 1; i < len(parts); i += 2 {
			if !slices.Contains(dashes, parts[i]) {
				t.Fatalf("%q: part %q is no dash", s, parts[i])
			}
		}
	})
	if got := splitDashes("\xff-a"); strings.Join(got, "|") != "\xff|-|a" {
		t.Errorf("%q", got)
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	o := Options{Placeholders: map[string][]string{"one": {"a", "b*"}, "two": {"c"}}}
	for in, want := range map[string][]string{
		"x":           {"[x]"},
		"%one%":       {"[a]", "[b]*"},
		"%one%-%two%": {"[a][-][c]", "[b]*[-][c]"},
		`\%one\%`:     {"[%one%]"},
		"50%":         {"[50][%]"},
		"":            {""},
		"a*%two%":     {"[a]*[c]"},
	} {
		f := &fieldCondition{compiler: &compiler{options: o}}
		made, err := f.expand(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		var got []string
		for _, m := range made {
			got = append(got, spell(m))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s:\n%s", in, d)
		}
	}
	many := make([]string, 300)
	f := &fieldCondition{compiler: &compiler{options: Options{Placeholders: map[string][]string{"m": many}}}}
	if _, err := f.expand("%m%%m%"); err == nil {
		t.Error("90,000 combinations pass")
	}
}

func TestLex(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"":                      nil,
		" a\tand\n(b) ":         {"a", "and", "(", "b", ")"},
		"1 of sel_*":            {"1", "of", "sel_*"},
		"not(a)or b":            {"not", "(", "a", ")", "or", "b"},
		"sélection-1.x and _y*": {"sélection-1.x", "and", "_y*"},
	} {
		got, err := lex(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{"a & b", "a | count()", "a > 5", "a, b", "a = b", "{a}"} {
		if got, err := lex(bad); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"them", "a", true},
		{"THEM", "a", true},
		{"them", "_a", false},
		{"*", "_a", false},
		{"_*", "_a", true},
		{"sel*", "selection", true},
		{"sel*", "filter", false},
		{"*tion", "selection", true},
		{"s*c*n", "selection", true},
		{"s*x*n", "selection", false},
		{"se*se", "se", false},
		{"sel", "sel", true},
		{"sel", "selection", false},
		{"*e*e*", "selection", true},
		{"*e*e*e*", "selection", false},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%s on %s: %v", c.pattern, c.name, got)
		}
	}
}
