// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"slices"
	"sort"
	"strings"

	"github.com/picket-edr/picket/schema"
)

// Route is one way in which events of the model reach a rule: a log source of
// a table, and what it lacks of the rule's fields.
type Route struct {
	Table   *schema.Table
	Source  *schema.LogSource
	Missing []string // fields of the rule that the log source does not have, sorted
	Never   bool     // without them the rule says the same of every event, so it is not run
}

// Routes returns the routes of the rule in the order of the tables. None
// means that no sensor sends the rule's log source.
func (r *Rule) Routes() []Route {
	var routes []Route
	for _, t := range schema.Tables {
		var covered []string
		for i := range t.LogSources {
			src := &t.LogSources[i]
			if !r.Source.reads(t, src, covered) {
				continue
			}
			if r.Source.Category == "" {
				covered = append(covered, src.Actions...)
			}
			route := Route{Table: t, Source: src}
			route.check(r.Condition)
			routes = append(routes, route)
		}
	}
	return routes
}

// reads reports whether the log source of a rule covers src. A rule that names
// a product only reads all of the product's events, each once: sources whose
// actions are covered already are left out, and so is the end of processes,
// which only repeats what their start said.
func (s LogSource) reads(t *schema.Table, src *schema.LogSource, covered []string) bool {
	switch {
	case s.Service != "":
		return false
	case s.Category == "" && s.Product == "":
		return false
	case s.Category != "" && s.Category != src.Category:
		return false
	case s.Category == "" && (src.Category == "process_termination" || overlap(src.Actions, covered)):
		return false
	}
	return s.Product == "" || sends(t, src, s.Product)
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// sends reports whether sensors of a platform produce events of the source.
func sends(t *schema.Table, src *schema.LogSource, platform string) bool {
	for i := range t.Actions {
		a := &t.Actions[i]
		if slices.Contains(src.Actions, a.Name) && slices.Contains(a.Fill, platform) {
			return true
		}
	}
	return false
}

func (rt *Route) check(cond *Expr) {
	missing := func(l *Leaf) bool {
		return l.Field != "" && !rt.has(l.Field) || l.Kind == Ref && !rt.has(l.RefField)
	}
	names := map[string]bool{}
	cond.Leaves(func(l *Leaf) {
		for _, f := range []string{l.Field, l.RefField} {
			if f != "" && !rt.has(f) {
				names[f] = true
			}
		}
	})
	for f := range names {
		rt.Missing = append(rt.Missing, f)
	}
	sort.Strings(rt.Missing)
	rt.Never = len(rt.Missing) > 0 && cond.Constant(missing)
}

func (rt *Route) has(field string) bool {
	_, isConst := rt.Source.Consts[field]
	return isConst || rt.Column(field) != nil
}

// Column returns the column that holds a field: by the log source's name for
// it or by its own. It is nil for constant and for missing fields.
func (rt *Route) Column(field string) *schema.Column {
	if _, ok := rt.Source.Consts[field]; ok {
		return nil
	}
	if c, ok := rt.Source.Fields[field]; ok {
		return rt.Table.Column(c)
	}
	return rt.Table.Column(field)
}

// Constant returns the value that a field has in all events of the route.
func (rt *Route) Constant(field string) (string, bool) {
	v, ok := rt.Source.Consts[field]
	return v, ok
}

// Searched returns the columns in which words without a field are looked for:
// the texts that the log source names, sorted. What it tells about the parent
// process is left out, else a word in one command line would be found again
// in every child.
func (rt *Route) Searched() []*schema.Column {
	var cols []*schema.Column
	for field, name := range rt.Source.Fields {
		c := rt.Table.Column(name)
		if c == nil || !c.Type.Text() || strings.HasPrefix(field, "Parent") || strings.HasSuffix(field, "Guid") || slices.Contains(cols, c) {
			continue
		}
		cols = append(cols, c)
	}
	slices.SortFunc(cols, func(a, b *schema.Column) int { return strings.Compare(a.Name, b.Name) })
	return cols
}
