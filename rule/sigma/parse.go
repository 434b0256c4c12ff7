// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/picket-edr/picket/rule"
)

// Options say how to read rules. The zero value is fine.
type Options struct {
	// Placeholders holds the values for %name% in rules that use the expand
	// modifier. A placeholder without values is an error.
	Placeholders map[string][]string
}

// Parse reads all rules of one file. A document that cannot be understood
// yields an error and no rule; the others are not affected by it.
func Parse(file string, data []byte, o Options) ([]*rule.Rule, []*Error) {
	var rules []*rule.Rule
	var failed []*Error
	fail := func(err error) {
		var f *fault
		if !errors.As(err, &f) {
			f = &fault{0, err.Error()}
		}
		failed = append(failed, &Error{File: file, Line: f.line, Reason: f.reason})
	}
	docs, err := documents(data)
	for _, d := range docs {
		r, err := parseDocument(d, o)
		if err != nil {
			fail(err)
			continue
		}
		r.File = file
		rules = append(rules, r)
	}
	if err != nil {
		fail(err)
	}
	if len(rules)+len(failed) == 0 {
		fail(&fault{0, "no rule in it"})
	}
	return rules, failed
}

// refused are documents of other kinds, told apart by a key.
var refused = []struct{ key, reason string }{
	{"correlation", "a correlation rule: only single-event rules are understood"},
	{"filter", "a filter document: only single-event rules are understood"},
	{"action", "a rule collection (action): it was removed from Sigma with version 2"},
}

func parseDocument(root *yaml.Node, o Options) (*rule.Rule, error) {
	budget := maxNodes
	if err := measure(root, 0, &budget); err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode {
		return nil, faultf(root, "not a Sigma rule: the document must be a mapping")
	}
	for _, r := range refused {
		if k := keyNode(root, r.key); k != nil {
			return nil, faultf(k, "%s", r.reason)
		}
	}
	r := &rule.Rule{Line: root.Line}
	for _, read := range []func(*yaml.Node, *rule.Rule) error{readIdentity, readTexts, readLevel, readTags, readSource, readPicket, readTests} {
		if err := read(root, r); err != nil {
			return nil, err
		}
	}
	det := field(root, "detection")
	if det == nil {
		return nil, faultf(root, "no detection")
	}
	c := compiler{options: o}
	cond, err := c.detection(det)
	if err != nil {
		return nil, err
	}
	r.Condition, r.Warnings = cond, c.warnings
	return r, nil
}

var (
	uuid      = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	technique = regexp.MustCompile(`^t[0-9]{4}(\.[0-9]{3})?$`)
)

var statuses = []string{"", "stable", "test", "experimental", "deprecated", "unsupported"}

// maxTitle is the limit of the specification.
const maxTitle = 256

func readIdentity(root *yaml.Node, r *rule.Rule) error {
	for _, f := range []struct {
		key string
		to  *string
	}{{"title", &r.Title}, {"id", &r.ID}, {"name", &r.Name}, {"status", &r.Status}} {
		v, err := text(root, f.key)
		if err != nil {
			return err
		}
		*f.to = v
	}
	switch {
	case r.Title == "":
		return faultf(root, "no title")
	case len(r.Title) > maxTitle:
		return faultf(field(root, "title"), "title of %d bytes, at most %d", len(r.Title), maxTitle)
	case r.ID != "" && !uuid.MatchString(r.ID):
		return faultf(field(root, "id"), "id %q is not a UUID", r.ID)
	case !slices.Contains(statuses, r.Status):
		return faultf(field(root, "status"), "unknown status %q", r.Status)
	}
	r.ID = strings.ToLower(r.ID)
	taxonomy, err := text(root, "taxonomy")
	if err != nil {
		return err
	}
	if taxonomy != "" && taxonomy != "sigma" {
		return faultf(field(root, "taxonomy"), "unknown taxonomy %q", taxonomy)
	}
	return nil
}

func readTexts(root *yaml.Node, r *rule.Rule) (err error) {
	if r.Description, err = text(root, "description"); err != nil {
		return err
	}
	r.Description = strings.TrimSpace(r.Description)
	if r.Author, err = text(root, "author"); err != nil {
		return err
	}
	if r.References, err = texts(root, "references"); err != nil {
		return err
	}
	r.FalsePositives, err = texts(root, "falsepositives")
	return err
}

func readLevel(root *yaml.Node, r *rule.Rule) error {
	level, err := text(root, "level")
	if err != nil {
		return err
	}
	s, ok := rule.SeverityOf(level)
	if !ok {
		return faultf(field(root, "level"), "unknown level %q", level)
	}
	r.Level, r.Severity = level, s
	return nil
}

func readTags(root *yaml.Node, r *rule.Rule) error {
	tags, err := texts(root, "tags")
	if err != nil {
		return err
	}
	for _, t := range tags {
		name, ok := strings.CutPrefix(strings.ToLower(t), "attack.")
		if !ok {
			continue
		}
		name = strings.ReplaceAll(name, "_", "-")
		switch {
		case technique.MatchString(name):
			r.Techniques = append(r.Techniques, strings.ToUpper(name))
		case rule.KnownTactic(name):
			r.Tactics = append(r.Tactics, name)
		}
	}
	r.Category = rule.CategoryOf(r.Tactics)
	return nil
}

func readSource(root *yaml.Node, r *rule.Rule) error {
	n := field(root, "logsource")
	if n == nil {
		return faultf(root, "no logsource")
	}
	if n.Kind != yaml.MappingNode {
		return faultf(n, "logsource must be a mapping")
	}
	for _, f := range []struct {
		key string
		to  *string
	}{{"category", &r.Source.Category}, {"product", &r.Source.Product}, {"service", &r.Source.Service}} {
		v, err := text(n, f.key)
		if err != nil {
			return err
		}
		*f.to = strings.ToLower(v)
	}
	if r.Source == (rule.LogSource{}) {
		return faultf(n, "logsource names no category, product or service")
	}
	return nil
}

func readPicket(root *yaml.Node, r *rule.Rule) (err error) {
	n := field(root, "picket")
	if n == nil {
		return nil
	}
	if err := onlyKeys(n, "picket", "recommended", "category"); err != nil {
		return err
	}
	if r.Recommended, err = text(n, "recommended"); err != nil {
		return err
	}
	r.Recommended = strings.TrimSpace(r.Recommended)
	category, err := text(n, "category")
	if category != "" {
		r.Category = category
	}
	return err
}

func onlyKeys(n *yaml.Node, what string, keys ...string) error {
	if n.Kind != yaml.MappingNode {
		return faultf(n, "%s must be a mapping", what)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := follow(n.Content[i]); !slices.Contains(keys, k.Value) {
			return faultf(k, "%s has no key %q", what, k.Value)
		}
	}
	return nil
}

func readTests(root *yaml.Node, r *rule.Rule) error {
	n := field(root, "tests")
	if n == nil {
		return nil
	}
	if err := onlyKeys(n, "tests", "must_match", "must_not_match"); err != nil {
		return err
	}
	var err error
	if r.Tests.Match, err = testList(field(n, "must_match")); err != nil {
		return err
	}
	r.Tests.Ignore, err = testList(field(n, "must_not_match"))
	return err
}

func testList(n *yaml.Node) ([]rule.Test, error) {
	if n == nil {
		return nil, nil
	}
	if n.Kind != yaml.SequenceNode {
		return nil, faultf(n, "tests must be lists of sample events")
	}
	var tests []rule.Test
	for _, c := range n.Content {
		if c = follow(c); c.Kind != yaml.MappingNode {
			return nil, faultf(c, "a sample event must be a mapping")
		}
		t := rule.Test{Event: map[string]string{}, Line: c.Line}
		for i := 0; i+1 < len(c.Content); i += 2 {
			v := follow(c.Content[i+1])
			if v.Kind != yaml.ScalarNode {
				return nil, faultf(v, "a value of a sample event must be a text")
			}
			s, err := scalar(v)
			if err != nil {
				return nil, err
			}
			t.Event[follow(c.Content[i]).Value] = s
		}
		tests = append(tests, t)
	}
	return tests, nil
}

// scalar returns the canonical text of a scalar: numbers in decimal, booleans
// as true and false, null as "".
func scalar(n *yaml.Node) (string, error) {
	switch n.Tag {
	case "!!null":
		return "", nil
	case "!!int":
		var i int64
		if err := n.Decode(&i); err != nil {
			return "", faultf(n, "number %q does not fit into 64 bits", n.Value)
		}
		return fmt.Sprint(i), nil
	case "!!bool":
		var b bool
		if err := n.Decode(&b); err != nil {
			return "", faultf(n, "not a boolean: %q", n.Value)
		}
		return fmt.Sprint(b), nil
	case "!!str", "!!float", "!!timestamp":
		return n.Value, nil
	}
	return "", faultf(n, "a value of type %s", n.Tag)
}
