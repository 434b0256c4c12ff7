// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"path"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/command"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// toJSON encodes a map, "" when it is empty.
func toJSON[V any](m map[string]V) string { return command.JSON(m) }

// ttyName turns the kernel's name of a terminal into that of its device.
func ttyName(s string) string {
	if n, ok := strings.CutPrefix(s, "pts"); ok && n != "" && n[0] >= '0' && n[0] <= '9' {
		return "pts/" + n
	}
	return s
}

// resolve joins a name to the folder that it is relative to.
func resolve(base, name string) string {
	if name == "" {
		return ""
	}
	if strings.HasPrefix(name, "/") {
		return path.Clean(name)
	}
	return path.Join(base, name)
}

// passed is the path that a program passed to a system call, with the folder
// that the kernel looked in: for an absolute name the root of the program,
// which it cannot leave.
func passed(base, name string) string {
	if name == "" {
		return ""
	}
	return record.Place(base, name)
}
