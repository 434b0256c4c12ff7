// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import (
	"fmt"
	"slices"
	"strings"
)

// Problems lists what a test shows to be otherwise than it must.
func (r Report) Problems() []string {
	var out []string
	if r.Error != "" {
		out = append(out, r.Error)
	}
	if r.GUID != "" && !r.Said {
		out = append(out, "no row tells of the shell with the commands of the test")
	}
	for _, m := range r.Missing {
		out = append(out, "not told: "+m)
	}
	return out
}

// String is what a run shows of a test, for who looks into it.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "exit %d, lacks %d, rows %v, lost %v, output %q\n", r.Exit, r.Lacks, r.Rows, r.Lost, r.Output)
	for _, k := range slices.Concat(r.Key, r.Hooks) {
		b.WriteString("    " + k + "\n")
	}
	return b.String()
}

const pageHead = `# What the sensor tells of atomic tests

Tests of the [Atomic Red Team](https://github.com/redcanaryco/atomic-red-team) that a plain Debian can run without a network, run on
Debian's kernel 6.12 in an emulator with the programs of Debian 12. Of each test the sensor must tell the start of its shell with all
of its commands, and the rows that the page lists; ` + "`TestAtomics` in `internal/vmtest`" + ` fails when one is missing. Where something that a
test wants cannot be had in the guest, the test is run all the same. Small programs of ours stand in for files that belong to tests.

Telemetry was seen of %d of %d tests; of %d the shell with its commands is all there is to see.

Rewrite this page with ` + "`go test ./internal/vmtest -run TestAtomics -update`" + `.

| Technique | Test | What it does | Told besides the shell | Not told |
|---|---|---|---|---|
`

// Page writes docs/atomic-coverage.md from a run of all tests.
func Page(tests []Test, reports []Report) string {
	var rows strings.Builder
	seen, shells := 0, 0
	for _, t := range tests {
		e, _ := expectation(t.GUID)
		i := slices.IndexFunc(reports, func(r Report) bool { return r.GUID == t.GUID })
		if i < 0 || len(reports[i].Problems()) > 0 {
			fmt.Fprintf(&rows, "| %s | `%s` | %s | not seen | |\n", t.Technique, t.GUID, e.Does)
			continue
		}
		seen++
		var told []string
		for _, w := range e.Rows {
			told = append(told, w.String())
		}
		if len(told) == 0 {
			shells++
			told = []string{"nothing: " + e.Shell}
		}
		fmt.Fprintf(&rows, "| %s | `%s` | %s | %s | %s |\n", t.Technique, t.GUID, e.Does, strings.Join(told, ", "), e.Blind)
	}
	return fmt.Sprintf(pageHead, seen, len(tests), shells) + rows.String()
}
