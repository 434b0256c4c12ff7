// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/rule"
)

const whole = `title: Odd thing
id: 0B1C2D3E-1111-4222-8333-444455556666
name: odd_thing
status: test
description: |
    Something odd.
author: Somebody
references: [https://example.org]
falsepositives:
    - Tuesdays
tags:
    - attack.credential_access
    - attack.t1003.008
    - attack.execution
    - attack.g0001
    - cve.2024-1
logsource:
    category: Process_Creation
    product: linux
detection:
    selection:
        Image|endswith: /odd
    unused:
        Image: x
    _helper:
        Image: y
    condition: selection
level: critical
picket:
    recommended: Look at it.
tests:
    must_match:
        - Image: /bin/odd
          ProcessId: 0x10
    must_not_match:
        - Image: /bin/even
`

func TestParse(t *testing.T) {
	t.Parallel()
	rules, failed := Parse("a.yml", []byte(whole), Options{})
	if len(failed) > 0 || len(rules) != 1 {
		t.Fatalf("%v", failed)
	}
	r := rules[0]
	r.Condition = nil
	want := &rule.Rule{
		ID: "0b1c2d3e-1111-4222-8333-444455556666", Name: "odd_thing", Title: "Odd thing", Status: "test",
		Description: "Something odd.", Recommended: "Look at it.", Author: "Somebody",
		References: []string{"https://example.org"}, FalsePositives: []string{"Tuesdays"},
		Level: "critical", Severity: picket.High, Category: "CredentialTheft",
		Tactics: []string{"credential-access", "execution"}, Techniques: []string{"T1003.008"},
		Source: rule.LogSource{Category: "process_creation", Product: "linux"},
		Tests: rule.Tests{
			Match:  []rule.Test{{Event: map[string]string{"Image": "/bin/odd", "ProcessId": "16"}, Line: 33}},
			Ignore: []rule.Test{{Event: map[string]string{"Image": "/bin/even"}, Line: 36}},
		},
		Warnings: []string{`line 23: the condition does not use search identifier "unused"`},
		File:     "a.yml", Line: 1,
	}
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
}

// rules with one thing changed
func with(detection string) string {
	lines := strings.Split(strings.TrimSpace(detection), "\n")
	return "title: T\nlogsource: {category: process_creation}\ndetection:\n    " + strings.Join(lines, "\n    ") + "\n"
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	sel := func(s string) string { return with("s:\n    " + s + "\ncondition: s") }
	cond := func(s string) string { return with("s: {A: b}\n_u: {A: c}\ncondition: " + s) }
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for name, c := range map[string]struct {
		src  string
		line int
		want string
	}{
		"empty":                {"", 0, "no rule"},
		"null":                 {"---\n---\n", 0, "no rule"},
		"not yaml":             {"title: [", 1, "not YAML"},
		"tab":                  {"title: a\n\tb: c", 2, "not YAML"},
		"a list":               {"- a", 1, "must be a mapping"},
		"title":                {"logsource: {product: a}", 1, "no title"},
		"title type":           {"title: [a]", 1, "title must be a text"},
		"long title":           {"title: " + strings.Repeat("x", 300), 1, "at most 256"},
		"id":                   {"title: T\nid: 17", 2, "not a UUID"},
		"status":               {"title: T\nstatus: new", 2, `unknown status "new"`},
		"level":                {"title: T\nlevel: urgent", 2, `unknown level "urgent"`},
		"taxonomy":             {"title: T\ntaxonomy: ecs", 2, `unknown taxonomy "ecs"`},
		"tags":                 {"title: T\ntags: {a: b}", 2, "tags must be a list"},
		"tag":                  {"title: T\ntags: [[a]]", 2, "list of texts"},
		"logsource":            {"title: T", 1, "no logsource"},
		"logsource type":       {"title: T\nlogsource: a", 2, "must be a mapping"},
		"empty logsource":      {"title: T\nlogsource: {definition: a}", 2, "names no category"},
		"detection":            {"title: T\nlogsource: {product: a}", 1, "no detection"},
		"detection type":       {"title: T\nlogsource: {product: a}\ndetection: a", 3, "must be a mapping"},
		"no condition":         {with("s: {A: b}"), 4, "no condition"},
		"no identifier":        {with("condition: s"), 4, "no search identifier"},
		"correlation":          {"title: T\ncorrelation: {type: event_count}", 2, "correlation"},
		"filter":               {"title: T\nfilter: {rules: []}", 2, "filter"},
		"collection":           {"title: T\naction: global", 2, "collection"},
		"timeframe":            {with("s: {A: b}\ntimeframe: 5m\ncondition: s"), 5, "timeframe"},
		"aggregation":          {cond("s | count() > 5"), 6, "aggregations"},
		"unknown identifier":   {cond("t"), 6, `no search identifier "t"`},
		"unclosed":             {cond("(s"), 6, "not closed"},
		"early end":            {cond("s and"), 6, "too early"},
		"of end":               {cond("1 of"), 6, "ends after"},
		"two words":            {cond("s s"), 6, "not expected"},
		"keyword":              {cond("s and or s"), 6, `"or" where`},
		"nothing of":           {cond("1 of x*"), 6, "matches"},
		"too many of":          {cond("2 of them"), 6, "only 1"},
		"zero of":              {cond("0 of them"), 6, "want a number"},
		"some of":              {cond("some of them"), 6, "want a number"},
		"strange character":    {cond("s & s"), 6, "unexpected character"},
		"condition type":       {cond("{a: b}"), 6, "must be a text"},
		"empty conditions":     {cond("[]"), 6, "empty"},
		"deep condition":       {cond(strings.Repeat("(", 100) + "s" + strings.Repeat(")", 100)), 6, "deeper"},
		"long condition":       {cond(strings.Repeat("s or ", 5000) + "s"), 6, "at most"},
		"unknown modifier":     {sel("A|like: b"), 5, `unknown modifier "like"`},
		"empty modifier":       {sel("A|: b"), 5, "empty modifier"},
		"twice":                {sel("A|contains|contains: b"), 5, "twice"},
		"re and cidr":          {sel("A|re|cidr: b"), 5, "exclude each other"},
		"re and contains":      {sel("A|re|contains: b"), 5, "exclude each other"},
		"flag without re":      {sel("A|i: b"), 5, `unknown modifier "i"`},
		"starts and ends":      {sel("A|startswith|endswith: b"), 5, "exclude each other"},
		"encode placed":        {sel("A|contains|base64: b"), 5, "after"},
		"two widths":           {sel("A|wide|utf16: b"), 5, "exclude each other"},
		"all and neq":          {sel("A|all|neq: [b, c]"), 5, "exclude each other"},
		"all single":           {sel("A|contains|all: b"), 5, "at least two"},
		"bad regexp":           {sel("A|re: (a"), 5, "regular expression"},
		"lookahead":            {sel("A|re: (?!a)b"), 5, "regular expression"},
		"huge regexp":          {sel("A|re: ((a{100}){100})"), 5, "regular expression"},
		"long regexp":          {sel("A|re: " + strings.Repeat("a", 5000)), 5, "at most"},
		"bad cidr":             {sel("A|cidr: 10.0.0.0"), 5, "address range"},
		"cased cidr":           {sel("A|cidr|cased: 10.0.0.0/8"), 5, "exclude each other"},
		"bad number":           {sel("A|gt: b"), 5, "not a number"},
		"bad exists":           {sel("A|exists: 'true'"), 5, "true or false"},
		"bad hour":             {sel("A|hour: noon"), 5, "not a number"},
		"hour and re":          {sel("A|hour|re: 1"), 5, "part of a time"},
		"two parts":            {sel("A|hour|minute: 1"), 5, "another part"},
		"fieldref base64":      {sel("A|fieldref|base64: b"), 5, "exclude each other"},
		"fieldref all":         {sel("A|fieldref|all: [b, c]"), 5, "fieldref takes"},
		"fieldref nothing":     {sel("A|fieldref: ''"), 5, "name of a field"},
		"base64 wildcard":      {sel("A|base64: 'a*'"), 5, "cannot encode wildcards"},
		"base64 nothing":       {sel("A|base64: ''"), 5, "nothing to encode"},
		"base64offset short":   {sel("A|base64offset: a"), 5, "too short"},
		"many dashes":          {sel("A|windash: -a -b -c -d -e"), 5, "more than 4"},
		"placeholder":          {sel("A|expand: 'x%servers%'"), 5, "placeholder %servers% has no values"},
		"null in list":         {sel("A: [b, null]"), 5, "null cannot"},
		"null with modifier":   {sel("A|contains: null"), 5, "no modifier"},
		"word with field mod":  {sel("'|cidr': 10.0.0.0/8"), 5, "needs a field"},
		"null word":            {with("s: [null]\ncondition: s"), 4, "takes a field"},
		"mapping value":        {sel("A: {b: c}"), 5, "a mapping"},
		"empty list":           {sel("A: []"), 5, "empty list"},
		"list in list":         {sel("A: [[b]]"), 5, "a list or mapping"},
		"empty identifier":     {with("s: []\ncondition: s"), 4, "empty list"},
		"empty map identifier": {with("s: {}\ncondition: s"), 4, "empty mapping"},
		"nested identifier":    {with("s: [[a]]\ncondition: s"), 4, "list inside"},
		"duplicate key":        {sel("A: b\n    A: c"), 6, `"A" appears twice`},
		"merge key":            {"x: &a {b: c}\ntitle: T\ny:\n  <<: *a", 4, "merge"},
		"mapping as key":       {"? {a: b}\n: c\n", 1, "plain text"},
		"deep":                 {"title: " + deep, 1, "nested deeper"},
		"binary value":         {sel("A: !!binary aGk="), 5, "type !!binary"},
		"large number":         {sel("A: 99999999999999999999999999"), 5, ""},
		"picket key":           {"title: T\nlogsource: {product: a}\npicket: {colour: red}", 3, `no key "colour"`},
		"tests key":            {"title: T\nlogsource: {product: a}\ntests: {match: []}", 3, `no key "match"`},
		"tests type":           {"title: T\nlogsource: {product: a}\ntests: {must_match: a}", 3, "must be lists"},
		"test type":            {"title: T\nlogsource: {product: a}\ntests: {must_match: [a]}", 3, "must be a mapping"},
		"test value":           {"title: T\nlogsource: {product: a}\ntests: {must_match: [{a: [b]}]}", 3, "must be a text"},
	} {
		rules, failed := Parse("f.yml", []byte(c.src), Options{})
		if name == "large number" { // a float for YAML: text is kept as it is
			if len(failed) > 0 {
				t.Errorf("%s: %v", name, failed)
			}
			continue
		}
		if len(rules) != 0 || len(failed) != 1 {
			t.Errorf("%s: %d rules, errors %v", name, len(rules), failed)
			continue
		}
		if f := failed[0]; !strings.Contains(f.Reason, c.want) || f.Line != c.line || f.File != "f.yml" {
			t.Errorf("%s: got %v, want line %d %q", name, f, c.line, c.want)
		}
		if !errors.Is(failed[0], picket.Invalid) {
			t.Errorf("%s: not of kind Invalid", name)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'i'; i++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", i-1), 10), ","))
	}
	docs := strings.Repeat("---\na: b\n", 1001)
	for want, src := range map[string]string{
		"more than 100000 values":   bomb,
		"at most 1048576":           strings.Repeat("#", 1<<20+1),
		"more than 1000 documents":  docs,
		"nested deeper than 24":     "a: &a [*a]",
		"more than 50000 patterns":  with("s:\n    A|windash: [" + strings.TrimSuffix(strings.Repeat("-a -b -c -d,", 100), ",") + "]\ncondition: s"),
		"more than 100000 comparis": with("s: {A: b}\nt:\n    A|contains|all: [" + strings.Repeat("a,", 3000) + "b]\ncondition: " + strings.Repeat("t or ", 50) + "s"),
	} {
		_, failed := Parse("f.yml", []byte(src), Options{})
		if len(failed) == 0 || !strings.Contains(failed[len(failed)-1].Reason, want) {
			t.Errorf("want %q, got %v", want, failed[max(0, len(failed)-1):])
		}
	}
}

func TestSeveralDocuments(t *testing.T) {
	t.Parallel()
	rules, failed := Parse("f.yml", []byte(whole+"---\ntitle: broken\n---\n"+with("s: {A: b}\ncondition: s")), Options{})
	if len(rules) != 2 || len(failed) != 1 || rules[1].Line != 40 {
		t.Errorf("%d rules, %v", len(rules), failed)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := fstest.MapFS{
		"a/one.yml":  {Data: []byte(whole)},
		"b/two.yaml": {Data: []byte(whole)},
		"b/bad.yml":  {Data: []byte("title: x")},
		"readme.md":  {Data: []byte("text")},
	}
	rules, failed, err := Load(dir, Options{})
	if err != nil || len(rules) != 1 || len(failed) != 2 {
		t.Fatalf("%d rules, %v, %v", len(rules), failed, err)
	}
	if f := failed[1]; f.File != "b/two.yaml" || !strings.Contains(f.Reason, "is that of a/one.yml") {
		t.Errorf("%v", f)
	}
	if got := (&Error{File: "f", Reason: "r"}).Error(); got != "f: r" {
		t.Error(got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(with("s:\n    A|windash|contains|all: ['-a /b', 2]\n    B|re|i: a+\n    '|all': [x, y]\ncondition: 1 of s* and not s")))
	f.Add([]byte("a: &a [*a]\n---\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, failed := Parse("f.yml", data, Options{Placeholders: map[string][]string{"a": {"x", "y*"}}})
		if len(rules)+len(failed) == 0 {
			t.Fatal("neither a rule nor an error")
		}
		for _, r := range rules {
			r.Eval(rule.Sample{"A": "b", "B": "10.0.0.1"})
			r.Routes()
		}
	})
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{"a and not (b or 1 of a*)", "2 of them", "all of _*", "any of *b", "((a"} {
		f.Add(s)
	}
	groups := []group{}
	for _, n := range []string{"a", "b", "ab", "_c"} {
		groups = append(groups, group{name: n, expr: rule.Single(&rule.Leaf{Field: n, Kind: rule.Exists, Want: true})})
	}
	f.Fuzz(func(t *testing.T, src string) {
		c := condition{groups: groups, used: map[string]bool{}}
		e, err := c.parse(src)
		if (e == nil) == (err == nil) {
			t.Fatalf("tree %v, error %v", e, err)
		}
		if e != nil {
			e.Eval(func(l *rule.Leaf) bool { return l.Field == "a" })
		}
	})
}
