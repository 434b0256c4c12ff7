// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
)

func TestSeverityOf(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]picket.Severity{
		"": picket.Medium, "informational": picket.Informational, "low": picket.Low,
		"medium": picket.Medium, "high": picket.High, "critical": picket.High,
	} {
		if got, ok := SeverityOf(level); !ok || got != want {
			t.Errorf("%q: %v %v", level, got, ok)
		}
	}
	if _, ok := SeverityOf("urgent"); ok {
		t.Error("an unknown level passes")
	}
}

func TestCategoryOf(t *testing.T) {
	t.Parallel()
	for want, tactics := range map[string][]string{
		"General":            nil,
		"Persistence":        {"persistence", "privilege-escalation"},
		"SuspiciousActivity": {"unknown", "stealth"},
		"CredentialTheft":    {"credential-access"},
	} {
		if got := CategoryOf(tactics); got != want {
			t.Errorf("%v: %s, want %s", tactics, got, want)
		}
	}
	if KnownTactic("lunch") || !KnownTactic("defense-impairment") {
		t.Error("tactics")
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]Rule{"i": {ID: "i", Name: "n", Title: "t"}, "n": {Name: "n", Title: "t"}, "t": {Title: "t"}} {
		if r.Key() != want {
			t.Errorf("%+v: %s", r, r.Key())
		}
	}
}

func rule(src LogSource, fields ...string) *Rule {
	var kids []*Expr
	for _, f := range fields {
		kids = append(kids, Single(&Leaf{Field: f, Kind: Exists, Want: true}))
	}
	return &Rule{Source: src, Condition: And(kids...)}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	type route struct {
		Table, Category string
		Missing         []string
		Never           bool
	}
	routes := func(r *Rule) (out []route) {
		for _, rt := range r.Routes() {
			out = append(out, route{rt.Table.Name, rt.Source.Category, rt.Missing, rt.Never})
		}
		return out
	}
	for name, c := range map[string]struct {
		rule *Rule
		want []route
	}{
		"mapped":        {rule(LogSource{Category: "process_creation", Product: "linux"}, "Image", "CommandLine"), []route{{Table: "DeviceProcessEvents", Category: "process_creation"}}},
		"any product":   {rule(LogSource{Category: "process_creation"}, "Image"), []route{{Table: "DeviceProcessEvents", Category: "process_creation"}}},
		"column":        {rule(LogSource{Category: "process_creation"}, "IsFileless"), []route{{Table: "DeviceProcessEvents", Category: "process_creation"}}},
		"missing":       {rule(LogSource{Category: "process_creation"}, "Image", "Imphash"), []route{{"DeviceProcessEvents", "process_creation", []string{"Imphash"}, true}}},
		"other product": {rule(LogSource{Category: "process_creation", Product: "beos"}, "Image"), nil},
		"service":       {rule(LogSource{Product: "linux", Service: "auditd"}, "a0"), nil},
		"no source":     {rule(LogSource{}, "a0"), nil},
		"two sources": {rule(LogSource{Category: "network_connection", Product: "linux"}, "Initiated", "DestinationHostname"), []route{
			{Table: "DeviceNetworkEvents", Category: "network_connection"},
			{"DeviceNetworkEvents", "network_connection", []string{"DestinationHostname"}, true},
		}},
	} {
		if d := cmp.Diff(c.want, routes(c.rule)); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
	seen := map[string]bool{}
	for _, rt := range rule(LogSource{Product: "linux"}, "Image").Routes() {
		for _, a := range rt.Source.Actions {
			key := rt.Table.Name + " " + a
			if seen[key] {
				t.Errorf("a rule on a product reads %s twice", key)
			}
			seen[key] = true
		}
	}
	if !seen["DeviceProcessEvents ProcessCreated"] || !seen["DeviceFileEvents FileDeleted"] || seen["DeviceProcessEvents ProcessExited"] {
		t.Errorf("a rule on a product reads %v", seen)
	}
}

func TestRouteMissingInFilter(t *testing.T) {
	t.Parallel()
	r := &Rule{Source: LogSource{Category: "process_creation"}, Condition: And(
		Single(&Leaf{Field: "Image", Kind: Exists, Want: true}),
		Not(Single(&Leaf{Field: "Signature", Kind: Exists, Want: true})),
	)}
	rt := r.Routes()[0]
	if rt.Never || !slices.Equal(rt.Missing, []string{"Signature"}) {
		t.Errorf("%+v", rt)
	}
	if c := rt.Column("Image"); c == nil || c.Name != "FolderPath" {
		t.Errorf("Image is %v", c)
	}
	var searched []string
	for _, c := range rt.Searched() {
		searched = append(searched, c.Name)
	}
	if !slices.Contains(searched, "ProcessCommandLine") || slices.Contains(searched, "InitiatingProcessCommandLine") || slices.Contains(searched, "ProcessId") {
		t.Errorf("words are searched in %v", searched)
	}
}

func TestConstant(t *testing.T) {
	t.Parallel()
	rt := rule(LogSource{Category: "network_connection", Product: "linux"}, "Initiated").Routes()[0]
	if v, ok := rt.Constant("Initiated"); !ok || v != "true" || rt.Column("Initiated") != nil {
		t.Errorf("Initiated is %q, %v", v, ok)
	}
	if s := (LogSource{Category: "a", Service: "b"}).String(); s != "category a, service b" {
		t.Error(s)
	}
}
