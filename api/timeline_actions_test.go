// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"strings"
	"testing"

	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
)

// A sentence without its event would never be read.
func TestActionSentences(t *testing.T) {
	t.Parallel()
	for a, s := range actionSentences {
		if _, twice := sentences[a]; twice || changeSentences[a] != "" {
			t.Errorf("%s has two sentences", a)
		}
		if !strings.HasPrefix(s, "{InitiatingProcessFileName} ") {
			t.Errorf("%s: %q does not say who", a, s)
		}
	}
	filled := map[string]bool{}
	for _, name := range []string{"DeviceEvents", "DeviceFileEvents", "DeviceImageLoadEvents"} {
		for _, a := range schema.Lookup(name).Actions {
			filled[a.Name] = filled[a.Name] || slices.Contains(a.Fill, "linux")
		}
	}
	for a := range actionSentences {
		if !filled[a] {
			t.Errorf("%s is not filled", a)
		}
	}
	got := describe(store.Item{Table: "DeviceEvents", Fields: map[string]string{"ActionType": "ProcessSignalSent",
		"InitiatingProcessFileName": "bash", "FileName": "auditd"}}).Title
	if got != "bash signalled auditd" {
		t.Error(got)
	}
}
