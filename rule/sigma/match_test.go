// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"github.com/picket-edr/picket/rule"
)

func compile(t testing.TB, detection string, o Options) *rule.Rule {
	t.Helper()
	rules, failed := Parse("f.yml", []byte(with(detection)), o)
	if len(failed) > 0 {
		t.Fatalf("%v in\n%s", failed, detection)
	}
	return rules[0]
}

// TestModifiers: what a selection with one key matches.
func TestModifiers(t *testing.T) {
	t.Parallel()
	wide := func(s string) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	o := Options{Placeholders: map[string][]string{"servers": {"srv*", "db1"}, "none": nil}}
	for _, c := range []struct {
		selection, value string
		want             bool
	}{
		{"F: abc", "ABC", true},
		{"F: 'a*c'", "abbc", true},
		{`F: 'a\*c'`, "a*c", true},
		{`F: 'a\*c'`, "abc", false},
		{`F: 'a\\*'`, `a\bc`, true},
		{`F: 'a\\*'`, `abc`, false},
		{`F: 'a\\\*'`, `a\*`, true},
		{`F: 'C:\Win\x'`, `c:\win\X`, true},
		{`F: 'C:\\Win'`, `C:\Win`, true},
		{`F: '\\\\srv'`, `\\srv`, true},
		{`F: 'a?c'`, "abc", true},
		{`F: 'a\?c'`, "abc", false},
		{"F: [a, b]", "b", true},
		{"F: 4688", "4688", true},
		{"F: 0x10", "16", true},
		{"F: true", "TRUE", true},
		{"F: 1.50", "1.50", true},
		{"F: ''", "", true},
		{"F: ''", "a", false},
		{"F: null", "", true},
		{"F: null", "a", false},
		{"F|neq: null", "a", true},
		{"F: 2020-01-01", "2020-01-01", true},
		{"F|contains: b", "abc", true},
		{"F|contains: 'b*d'", "abccde", true},
		{"F|startswith: a", "abc", true},
		{"F|startswith: b", "abc", false},
		{"F|endswith: [x, c]", "abc", true},
		{"F|contains|all: [a, c]", "abc", true},
		{"F|contains|all: [a, d]", "abc", false},
		{"F|all|contains: [a, c]", "abc", true},
		{"F|cased: Abc", "abc", false},
		{"F|contains|cased: Ab", "xAbx", true},
		{"F|re: 'a.c'", "xabcx", true},
		{"F|re: 'A.c'", "xabcx", false},
		{"F|re|i: 'A.c'", "xabcx", true},
		{"F|re|i|s: 'A.C'", "a\nc", true},
		{"F|re: 'a.c'", "a\nc", false},
		{"F|re|m: '^b$'", "a\nb\nc", true},
		{"F|re|all: [a, b]", "ab", true},
		{"F|re|all: [a, b]", "a", false},
		{"F|re: [x, b]", "ab", true},
		{"F|cidr: [192.168.0.0/16, 10.1.2.3/8]", "10.9.9.9", true},
		{"F|cidr: 'fd00::/8'", "fd12::1", true},
		{"F|lt: 5", "4", true},
		{"F|lte: 5", "5", true},
		{"F|gt: 5", "5", false},
		{"F|gte: 5.5", "5.5", true},
		{"F|gt: [7, 3]", "5", true},
		{"F|neq: a", "b", true},
		{"F|neq: a", "A", false},
		{"F|neq: [a, b]", "b", false},
		{"F|neq: [a, b]", "c", true},
		{"F|contains|neq: [a, b]", "xbx", false},
		{"F|gt|neq: 5", "5", true},
		{"F|exists: true", "x", true},
		{"F|exists: false", "x", false},
		{"F|exists: false", "", true},
		{"F|fieldref: G", "same", true},
		{"F|fieldref: G", "other", false},
		{"F|fieldref|neq: G", "other", true},
		{"F|fieldref|endswith: G", "notsame", true},
		{"F|fieldref|startswith: G", "same1", true},
		{"F|fieldref|contains: G", "1same1", true},
		{"F|hour|gte: 22", "2025-03-04T23:00:00Z", true},
		{"F|hour: [1, 2]", "2025-03-04T02:59:00Z", true},
		{"F|month|lt: 3", "2025-03-04T02:59:00Z", false},
		{"F|windash: '-x'", "/x", true},
		{"F|windash|contains: ' -x y-z /w'", "a \u2014x y-z \u2013w", true},
		{"F|windash|contains: ' y-z'", "a y/z", false},
		{"F|contains|windash: '-x'", "a \u2015x", true},
		{"F|windash: '*-x'", "a/x", true},
		{"F|base64: secret", b64("secret"), true},
		{"F|base64|contains: secret", "echo " + b64("secret") + "|", true},
		{"F|base64offset|contains: http://", b64("iex http://x"), true},
		{"F|base64offset|contains: http://", b64("http://x"), true},
		{"F|base64offset|contains: http://", b64("y http://x"), true},
		{"F|base64offset|contains: http://", b64("ftp://x"), false},
		{"F|wide|base64offset|contains: Invoke", b64(wide("x Invoke-Y")), true},
		{"F|utf16le|base64: hi", b64(wide("hi")), true},
		{"F|utf16be|base64: hi", b64("\x00h\x00i"), true},
		{"F|utf16|base64: hi", b64("\xff\xfe" + wide("hi")), true},
		{"F|wide: hi", wide("hi"), true},
		{"F|base64|base64: a", b64(b64("a")), true},
		{"F|expand: '%servers%'", "srv17", true},
		{"F|expand: 'x-%servers%-%servers%'", "x-db1-srv3", true},
		{"F|expand|contains: '%servers%'", "a db1 b", true},
		{`F|expand: '\%servers\%'`, "%servers%", true},
		{"F|expand: '100%'", "100%", true},
		{"F: '%servers%'", "%servers%", true},
		{"F: '%servers%'", "srv1", false},
	} {
		r := compile(t, "s:\n    "+c.selection+"\ncondition: s", o)
		if got := r.Eval(rule.Sample{"F": c.value, "G": "Same"}); got != c.want {
			t.Errorf("%s on %q: %v, want %v", c.selection, c.value, got, c.want)
		}
	}
}

// TestBase64Offset: every text is found in the encoding of everything that
// holds it.
func TestBase64Offset(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		needle := rapid.StringOfN(rapid.RuneFrom([]rune("abcXYZ: -é")), 4, 20, -1).Draw(t, "needle")
		around := rapid.StringN(0, 20, -1)
		forms, err := base64Offsets(needle)
		if err != nil {
			t.Fatal(err)
		}
		enc := base64.StdEncoding.EncodeToString([]byte(around.Draw(t, "before") + needle + around.Draw(t, "after")))
		for _, f := range forms {
			if strings.Contains(enc, f) {
				return
			}
		}
		t.Fatalf("none of %q in %q", forms, enc)
	})
}

func TestDetection(t *testing.T) {
	t.Parallel()
	const three = "a: {A: 1}\nb: {B: 1}\nc: {C: 1}\n_d: {D: 1}\n"
	ev := func(fields string) rule.Sample {
		s := rule.Sample{}
		for _, f := range strings.Fields(fields) {
			s[f] = "1"
		}
		return s
	}
	for _, c := range []struct {
		condition, fields string
		want              bool
	}{
		{"a", "A", true},
		{"a and b", "A", false},
		{"a or b and c", "A", true},
		{"a and b or c", "C", true},
		{"(a or b) and c", "A", false},
		{"not a and b", "B", true},
		{"not (a and b)", "A B", false},
		{"not not a", "A", true},
		{"NOT a AND b", "B", true},
		{"1 of them", "D", false},
		{"1 of _*", "D", true},
		{"any of them", "B", true},
		{"all of them", "A B C", true},
		{"all of them", "A B", false},
		{"2 of them", "A C", true},
		{"2 of them", "C", false},
		{"not 1 of them", "D", true},
		{"all of a* and not 1 of b*", "A", true},
		{"1 of *", "C", true},
		{"1 of a", "A", true},
		{"a and not all of b*", "A B", false},
		{"[a and b, c]", "C", true},
		{"[a and b, c]", "A", false},
	} {
		r := compile(t, three+"condition: "+c.condition, Options{})
		if got := r.Eval(ev(c.fields)); got != c.want {
			t.Errorf("%s on %s: %v, want %v", c.condition, c.fields, got, c.want)
		}
	}
}

func TestSearches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		detection string
		event     rule.Sample
		want      bool
	}{
		{"s: [{A: 1, B: 1}, {C: 1}]", rule.Sample{"C": "1"}, true},
		{"s: [{A: 1, B: 1}, {C: 1}]", rule.Sample{"A": "1"}, false},
		{"s: [one, two*three]", rule.Sample{"A": "x TWO and three x"}, true},
		{"s: [one, two]", rule.Sample{"A": "three"}, false},
		{"s: word", rule.Sample{"A": "a word or two"}, true},
		{"s:\n    '|all': [one, two]", rule.Sample{"A": "one", "B": "two"}, true},
		{"s:\n    '|all': [one, two]", rule.Sample{"A": "one"}, false},
		{"s:\n    '|re': ['o.e']", rule.Sample{"A": "xonex"}, true},
		{"s:\n    '|startswith': [on]", rule.Sample{"A": "xone"}, false},
		{"s: [word, {A: 1}]", rule.Sample{"A": "1"}, true},
		{"s: [17]", rule.Sample{"A": "x 17 y"}, true},
		{"s: &x {A: 1}\nt: *x", rule.Sample{"A": "1"}, true},
		{"s:\n    A: [1, x*]", rule.Sample{"A": "xyz"}, true},
		{"s:\n    A: [1, 2]\n    B: null", rule.Sample{"A": "2"}, true},
	} {
		r := compile(t, c.detection+"\ncondition: s", Options{})
		if got := r.Eval(c.event); got != c.want {
			t.Errorf("%s on %v: %v, want %v", c.detection, c.event, got, c.want)
		}
	}
}
