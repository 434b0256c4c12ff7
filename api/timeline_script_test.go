// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"
	"testing"

	"github.com/picket-edr/picket/store"
)

func TestScriptSentences(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]map[string]string{
		"bash was told: curl {x} | sh":     {"InitiatingProcessFileName": "bash", "AdditionalFields": `{"ScriptContent":"curl {x} | sh\nid","Interactive":true}`},
		"bash read a line":                 {"InitiatingProcessFileName": "bash", "AdditionalFields": `{"Unreadable":true}`},
		"A shell read a line":              {},
		"python3 ran the script /srv/x.py": {"InitiatingProcessFileName": "python3", "FolderPath": "/srv/x.py", "AdditionalFields": `{"ScriptContent":"import os"}`},
		"zsh was told: " + strings.Repeat("é", scriptTitle) + "…": {"InitiatingProcessFileName": "zsh",
			"AdditionalFields": `{"ScriptContent":"` + strings.Repeat("é", 2*scriptTitle) + `"}`},
	} {
		f["ActionType"] = "ScriptContent"
		if got := describe(store.Item{Table: "DeviceEvents", Fields: f}).Title; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
