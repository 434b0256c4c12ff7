// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/rule/sigma"
	"github.com/picket-edr/picket/schema"
)

func TestSample(t *testing.T) {
	t.Parallel()
	process := parse(t, "process_creation", "P", "s: {Image: a}\ncondition: s").Routes()
	network := parse(t, "network_connection", "N", "s: {DestinationPort: 1}\ncondition: s").Routes()
	for name, c := range map[string]struct {
		routes []rule.Route
		fields map[string]string
		want   map[string]string // columns, or nothing and an error
		err    string
	}{
		"mapped":            {process, map[string]string{"Image": "/bin/a", "ProcessId": "0x10"}, map[string]string{"FolderPath": "/bin/a", "ProcessId": "16"}, ""},
		"columns":           {process, map[string]string{"ContainerId": "c1", "IsFileless": "true"}, map[string]string{"ContainerId": "c1", "IsFileless": "true"}, ""},
		"no value":          {process, map[string]string{"Image": ""}, map[string]string{}, ""},
		"optional":          {process, map[string]string{"ProcessUserId": "0"}, map[string]string{"ProcessUserId": "0"}, ""},
		"time":              {process, map[string]string{"ProcessCreationTime": "2025-01-02T03:04:05Z"}, map[string]string{"ProcessCreationTime": "2025-01-02T03:04:05.000000Z"}, ""},
		"outbound":          {network, map[string]string{"DestinationPort": "22", "Initiated": "true"}, map[string]string{"ActionType": "ConnectionSuccess", "RemotePort": "22"}, ""},
		"inbound":           {network, map[string]string{"DestinationPort": "22", "Initiated": "false"}, map[string]string{"ActionType": "InboundConnectionAccepted", "LocalPort": "22"}, ""},
		"action":            {network, map[string]string{"ActionType": "ConnectionFailed"}, map[string]string{"ActionType": "ConnectionFailed"}, ""},
		"unknown field":     {process, map[string]string{"Imagee": "x"}, nil, "no field Imagee"},
		"unknown action":    {process, map[string]string{"ActionType": "ProcessExited"}, nil, "no action ProcessExited"},
		"contradiction":     {network[:1], map[string]string{"Initiated": "false"}, nil, "Initiated is always true"},
		"not a number":      {process, map[string]string{"ProcessId": "x"}, nil, "not a whole number"},
		"not a boolean":     {process, map[string]string{"IsFileless": "perhaps"}, nil, "not a boolean"},
		"not a time":        {process, map[string]string{"ProcessCreationTime": "noon"}, nil, "not a time"},
		"reasons said once": {append(process, process...), map[string]string{"Imagee": "x"}, nil, "no field Imagee: invalid"},
	} {
		b, err := Sample(c.routes, c.fields)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || picket.Kind(err) != picket.Invalid {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := b.Fields(0)
		for _, common := range []string{"Timestamp", "ReportId"} {
			if got[common] == "" {
				t.Errorf("%s: no %s", name, common)
			}
			delete(got, common)
		}
		if c.want["ActionType"] == "" {
			delete(got, "ActionType")
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
		if err := consistent(batchOf(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSampleColumnReal(t *testing.T) {
	t.Parallel()
	def := &schema.Column{Name: "R", Type: schema.Real}
	if c, err := sampleColumn(def, "1.5"); err != nil || c.Reals[0] != 1.5 {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := sampleColumn(def, "x"); err == nil {
		t.Error("a word passes for a number")
	}
}

func TestRunTests(t *testing.T) {
	t.Parallel()
	const src = `title: R
logsource: {category: process_creation, product: %}
detection: {s: {Image: /bin/a}, condition: s}
tests:
    must_match:
        - {Image: /bin/a}
        - {Image: /bin/b}
    must_not_match:
        - {Image: /bin/c}
        - {Image: /BIN/A}
`
	for _, product := range []string{"linux", "beos"} { // with and without a route
		rules, failed := sigma.Parse("r.yml", []byte(strings.Replace(src, "%", product, 1)), sigma.Options{})
		if len(failed) > 0 {
			t.Fatal(failed)
		}
		n, bad := RunTests(rules[0])
		want := []TestFailure{{7, "does not match, but must"}, {10, "matches, but must not"}}
		if d := cmp.Diff(want, bad); n != 4 || d != "" {
			t.Errorf("%s: %d tests\n%s", product, n, d)
		}
	}
}
