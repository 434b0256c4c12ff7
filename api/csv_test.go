// SPDX-License-Identifier: Apache-2.0

package api

import (
	"mime"
	"testing"
)

// TestFileNamesStayInTheirHeader gives names that a hostile host may report.
func TestFileNamesStayInTheirHeader(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"web-1.example-timeline.csv": "web-1.example-timeline.csv",
		`x"; filename="evil.html`:    "x___filename__evil.html",
		"../../etc/passwd":           ".._.._etc_passwd",
		"a\r\nSet-Cookie: b":         "a__Set-Cookie__b",
		"hôte.csv":                   "h_te.csv",
	} {
		if got := fileName(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
		_, params, err := mime.ParseMediaType(`attachment; filename="` + fileName(name) + `"`)
		if err != nil || len(params) != 1 {
			t.Errorf("%q: %v, %v", name, params, err)
		}
	}
}
