// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/picket-edr/picket/schema"
)

var update = flag.Bool("update", false, "rewrite golden files")

const pageHead = `# What keeps programs and accounts on a Linux host

The sensor watches the files below and tells in ` + "`DeviceEvents`" + ` what changed in them: the lines or entries that were added and
removed, in the columns and in ` + "`AdditionalFields`" + ` (Category, AttackTechnique, Operation, Added, Removed and what is said of the
kind). Secrets are taken out; passwords, their hashes and private keys are never told. A file that is saved without a change
makes no event. Where it is not known what was there before, PreviousKnown is false.

In paths, ` + "`{a,b}`" + ` stands for either, ` + "`*`" + ` for any text within one name, ` + "`**`" + ` for any folders, ` + "`~`" + ` for every home folder (also those
outside of /home) and ` + "`...`" + ` for any folder at all. Each kind has its events for a file that appears, changes and goes.
Rewrite this page with ` + "`go test ./sensor/linux/persist -run TestPage -update`" + `.
`

// page is the table as documentation.
func page(table []Watch) string {
	var b strings.Builder
	b.WriteString(pageHead)
	b.WriteString("\n| Category | Technique | What | Events | Files |\n|---|---|---|---|---|\n")
	for _, w := range table {
		actions := slices.Compact([]string{w.Actions.Created, w.Actions.Changed, w.Actions.Deleted})
		actions = slices.DeleteFunc(actions, func(s string) bool { return s == "" })
		paths := make([]string, len(w.Paths))
		for i, p := range w.Paths {
			paths[i] = "`" + p + "`"
		}
		about := w.About
		if len(w.Except) > 0 {
			about += "; changes by `" + strings.Join(w.Except, "`, `") + "` are not told"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", w.Category, w.Technique, about, strings.Join(actions, ", "), strings.Join(paths, "<br>"))
	}
	return b.String()
}

func TestPage(t *testing.T) {
	const name = "../../../docs/persistence.md"
	want := page(Watches())
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not current: run this test with -update", name)
	}
}

// Every event that can be made is one of DeviceEvents.
func TestActionsAreInTheSchema(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, a := range schema.Lookup("DeviceEvents").Actions {
		known[a.Name] = len(a.Fill) > 0
	}
	made := []string{"UserAccountCreated", "UserAccountDeleted", "SecurityGroupCreated", "SecurityGroupDeleted", "UserAccountAddedToLocalGroup",
		"UserAccountRemovedFromLocalGroup", "PackageUpgraded", "PackageInstalled", "PackageRemoved", "RootCertificateInstalled", "RootCertificateRemoved"}
	for _, w := range table {
		made = append(made, w.Actions.Created, w.Actions.Changed, w.Actions.Deleted)
	}
	for _, a := range made {
		if a != "" && !known[a] {
			t.Errorf("DeviceEvents does not know %s as filled", a)
		}
	}
}
