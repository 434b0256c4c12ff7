// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/schema"
)

// TestFailure is a sample event of a rule on which it does not behave as its
// author says.
type TestFailure struct {
	Line   int
	Reason string
}

// RunTests feeds the sample events of a rule to an engine that runs nothing
// but this rule, and returns how many there were and which failed. A rule
// whose log source no sensor sends is evaluated on the samples as they are.
func RunTests(r *rule.Rule) (tests int, failed []TestFailure) {
	check := func(t rule.Test, want bool) {
		tests++
		got, err := runTest(r, t)
		switch {
		case err != nil:
			failed = append(failed, TestFailure{t.Line, err.Error()})
		case want && !got:
			failed = append(failed, TestFailure{t.Line, "does not match, but must"})
		case !want && got:
			failed = append(failed, TestFailure{t.Line, "matches, but must not"})
		}
	}
	for _, t := range r.Tests.Match {
		check(t, true)
	}
	for _, t := range r.Tests.Ignore {
		check(t, false)
	}
	return tests, failed
}

func runTest(r *rule.Rule, t rule.Test) (bool, error) {
	routes := r.Routes()
	if len(routes) == 0 {
		return r.Eval(rule.Sample(t.Event)), nil
	}
	block, err := Sample(routes, t.Event)
	if err != nil {
		return false, err
	}
	e, err := New([]*rule.Rule{r}, Options{Clock: func() time.Time { return time.Unix(0, 0) }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return false, err
	}
	env := event.Envelope{DeviceID: "sample", Received: sampleTime}
	alerts, err := e.Feed(env, &event.Batch{BootID: "sample", Seq: 1, Blocks: []*event.Block{block}})
	return len(alerts) > 0, err
}

// sampleTime is when sample events that say nothing else happen.
var sampleTime = event.TimeOf(time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC))

// Sample makes a block of one row from a sample event, on the first route that
// has all of its fields. The key ActionType picks the action; without it the
// first action of the route is meant.
func Sample(routes []rule.Route, fields map[string]string) (*event.Block, error) {
	var reasons []string
	for i := range routes {
		rt := &routes[i]
		b, err := sampleOn(rt, fields)
		if err == nil {
			return b, nil
		}
		if reason := err.Error(); !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return nil, fmt.Errorf("the sample event fits no log source: %s: %w", strings.Join(reasons, "; "), picket.Invalid)
}

func sampleOn(rt *rule.Route, fields map[string]string) (*event.Block, error) {
	values := map[string]string{"ActionType": rt.Source.Actions[0], "Timestamp": sampleTime.String(), "ReportId": "1"}
	names := make([]string, 0, len(fields))
	for f := range fields {
		names = append(names, f)
	}
	sort.Strings(names)
	for _, f := range names {
		v := fields[f]
		if fixed, ok := rt.Constant(f); ok {
			if !strings.EqualFold(fixed, v) {
				return nil, fmt.Errorf("%s is always %s", f, fixed)
			}
			continue
		}
		c := rt.Column(f)
		if c == nil {
			return nil, fmt.Errorf("%s has no field %s", rt.Source.Category, f)
		}
		if f == "ActionType" && !slices.Contains(rt.Source.Actions, v) {
			return nil, fmt.Errorf("%s has no action %s", rt.Source.Category, v)
		}
		values[c.Name] = v
	}
	b := &event.Block{Name: rt.Table.Name, Table: rt.Table, Rows: 1}
	for i := range rt.Table.Columns {
		def := &rt.Table.Columns[i]
		v, ok := values[def.Name]
		if !ok || v == "" {
			continue
		}
		c, err := sampleColumn(def, v)
		if err != nil {
			return nil, err
		}
		b.Columns = append(b.Columns, c)
	}
	return b, nil
}

func sampleColumn(def *schema.Column, v string) (event.Column, error) {
	c := event.Column{Name: def.Name, Type: def.Type}
	if def.Optional {
		c.Valid = []bool{true}
	}
	switch {
	case def.Type.Text():
		c.Strings = []string{v}
		return c, nil
	case def.Type == schema.Bool:
		on, err := strconv.ParseBool(v)
		if err != nil {
			return c, fmt.Errorf("%s: %q is not a boolean", def.Name, v)
		}
		c.Ints = []int64{0}
		if on {
			c.Ints[0] = 1
		}
		return c, nil
	case def.Type == schema.Datetime:
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return c, fmt.Errorf("%s: %q is not a time", def.Name, v)
		}
		c.Ints = []int64{int64(event.TimeOf(t))}
		return c, nil
	case def.Type == schema.Real:
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return c, fmt.Errorf("%s: %q is not a number", def.Name, v)
		}
		c.Reals = []float64{f}
		return c, nil
	}
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil {
		return c, fmt.Errorf("%s: %q is not a whole number", def.Name, v)
	}
	c.Ints = []int64{n}
	return c, nil
}
