// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"
)

// toJSON encodes a map, "" when it is empty.
func toJSON[V any](m map[string]V) string {
	if len(m) == 0 {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(m) != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ttyName turns the kernel's name of a terminal into that of its device.
func ttyName(s string) string {
	if n, ok := strings.CutPrefix(s, "pts"); ok && n != "" && n[0] >= '0' && n[0] <= '9' {
		return "pts/" + n
	}
	return s
}

// resolve joins what a program passed to the folder that it is relative to. An
// absolute name is relative to the root of the program, which it cannot leave.
func resolve(base, name string) string {
	if name == "" {
		return ""
	}
	if strings.HasPrefix(name, "/") {
		name = path.Clean(name)
	}
	return path.Join(base, name)
}
