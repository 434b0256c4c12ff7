// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"strings"
)

const scriptTitle = 200 // letters of a line in a sentence

// scriptSentence says what was typed into a shell, or which script was run.
func scriptSentence(f map[string]string) string {
	who := cmp.Or(f["InitiatingProcessFileName"], "A shell")
	if f["FolderPath"] != "" {
		return who + " ran the script " + f["FolderPath"]
	}
	line, _, _ := strings.Cut(extraField(f, "ScriptContent"), "\n")
	if letters := []rune(line); len(letters) > scriptTitle {
		line = string(letters[:scriptTitle]) + "…"
	}
	if line == "" {
		return who + " read a line"
	}
	return who + " was told: " + line
}
