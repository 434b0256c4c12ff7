// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/picket-edr/picket/internal/vmtest"
)

const pageHead = `# What the Linux sensor sees

The sensor takes, for every kind of event, the best rung of a ladder of kernel hooks that works on a host; ` + "`picket-sensor status`" + `
tells which one that is and what it cannot see in general. This page tells what each rung sees, event by event. Tests make every
event happen on Debian's kernels %s, booted in an emulator, and on the kernel of the machine that runs the
tests. They fail when a rung misses what is claimed here, and when it sees what is not.

Rewrite this page with ` + "`go test ./internal/vmtest/guest -run CoveragePage -update`" + `.
`

// page writes docs/sensor-coverage.md from the table.
func page() string {
	var names []string
	for _, k := range vmtest.Kernels {
		names = append(names, k.Name)
	}
	last := len(names) - 1
	list := strings.Join(names[:last], ", ") + " and the " + names[last]
	var b strings.Builder
	fmt.Fprintf(&b, pageHead, list)
	var hooks []string
	for _, k := range Kinds {
		if !slices.Contains(hooks, k.Hook) {
			hooks = append(hooks, k.Hook)
		}
	}
	for _, hook := range hooks {
		pageHook(&b, hook)
	}
	return b.String()
}

func pageHook(b *strings.Builder, hook string) {
	var rungs []string
	var kinds []Kind
	for _, k := range Kinds {
		if k.Hook != hook {
			continue
		}
		kinds = append(kinds, k)
		for _, r := range k.Rungs {
			if !slices.Contains(rungs, r) {
				rungs = append(rungs, r)
			}
		}
	}
	fmt.Fprintf(b, "\n## Hook `%s`\n\n| Event | Row | The test | %s |\n|---|---|---|%s\n", hook, strings.Join(rungs, " | "), strings.Repeat("---|", len(rungs)))
	for _, k := range kinds {
		cells := []string{k.Name, fmt.Sprintf("`%s` in `%s`", k.Action, k.Table), k.Does}
		for _, r := range rungs {
			cells = append(cells, cell(k, r))
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	pageLacks(b, hook)
}

// pageLacks names the kernels that lack a rung of a hook.
func pageLacks(b *strings.Builder, hook string) {
	for _, k := range vmtest.Kernels {
		var rungs []string
		why := ""
		for _, l := range Lacks {
			if l.Hook == hook && l.Kernel == k.Name {
				rungs, why = append(rungs, "`"+l.Rung+"`"), l.Why
			}
		}
		if len(rungs) > 0 {
			fmt.Fprintf(b, "\nOn %s there is no %s: %s.\n", k.Name, strings.Join(rungs, ", "), why)
		}
	}
}

// cell says whether a rung sees a kind.
func cell(k Kind, rung string) string {
	if !slices.Contains(k.Rungs, rung) {
		return "no"
	}
	var not []string
	for _, g := range k.Gaps {
		if g.Rung != "" && g.Rung != rung {
			continue
		}
		if g.Kernel == "" {
			return "no: " + g.Why
		}
		not = append(not, fmt.Sprintf("not on %s: %s", g.Kernel, g.Why))
	}
	if len(not) == 0 {
		return "yes"
	}
	return "yes; " + strings.Join(not, "; ")
}
