// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const technique = `attack_technique: T1
atomic_tests:
- name: other
  auto_generated_guid: guid-0
  executor: {command: "false", name: sh}
- name: test
  auto_generated_guid: guid-1
  input_arguments:
    file: {description: a file, type: path, default: PathToAtomicsFolder/T1/src/x}
    count: {type: integer, default: 3}
  dependencies:
  - prereq_command: "test -e #{file}"
    get_prereq_command: |
      touch "#{file}"
  executor:
    command: |
      head -n #{count} "$PathToAtomicsFolder/T1/y" #{unknown}
    cleanup_command: "rm #{file}"
    name: bash
`

// project makes a copy of the project with one technique.
func project(t *testing.T, list string) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "atomics", "T1"), 0o755), os.WriteFile(filepath.Join(dir, "list.json"), []byte(list), 0o600),
		os.WriteFile(filepath.Join(dir, "atomics", "T1", "T1.yaml"), []byte(technique), 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestList(t *testing.T) {
	t.Parallel()
	got, err := List(project(t, `[{"technique": "T1", "name": "test", "guid": "guid-1", "executor": "bash", "root": true, "cls": "bare"}]`), "list.json")
	if err != nil {
		t.Fatal(err)
	}
	want := []Test{{GUID: "guid-1", Technique: "T1", Name: "test", Executor: "bash", Root: true,
		Command: `head -n 3 "` + folder + `/T1/y" #{unknown}`, Cleanup: "rm " + folder + "/T1/src/x",
		Needs: []Need{{Check: "test -e " + folder + "/T1/src/x", Get: `touch "` + folder + `/T1/src/x"`}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestListSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, list := range map[string]string{
		"no list":           `{`,
		"unknown test":      `[{"technique": "T1", "guid": "guid-2"}]`,
		"unknown technique": `[{"technique": "T2", "guid": "guid-1"}]`,
		"outside":           `[{"technique": "../../T1", "guid": "guid-2"}]`,
	} {
		if got, err := List(project(t, list), "list.json"); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, err := List(t.TempDir(), "list.json"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a project: %v", err)
	}
	if _, err := (entry{}).test([]byte("\t")); err == nil {
		t.Error("read what is no YAML")
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	var tests []Test
	for range 23 {
		tests = append(tests, Test{GUID: string(rune('a' + len(tests)))})
	}
	seen := map[string]bool{}
	for day := range 10 {
		part := Share(tests, day+360, 10)
		if len(part) < 2 || len(part) > 3 {
			t.Errorf("%d tests on a day", len(part))
		}
		for _, x := range part {
			seen[x.GUID] = true
		}
	}
	if len(seen) != len(tests) {
		t.Errorf("%d of %d have their turn", len(seen), len(tests))
	}
}

// Whatever the file of a technique holds, reading it ends without a panic, and
// a test that is found has its commands.
func FuzzTest(f *testing.F) {
	f.Add(technique, "guid-1")
	f.Add(strings.ReplaceAll(technique, "PathToAtomicsFolder", "#{file}"), "guid-1")
	f.Add("atomic_tests: [{auto_generated_guid: x, input_arguments: {a: {default: [1, {b: c}]}}}]", "x")
	f.Add("atomic_tests: 3", "")
	f.Fuzz(func(t *testing.T, content, guid string) {
		got, err := entry{GUID: guid}.test([]byte(content))
		if err != nil {
			if got.Command != "" {
				t.Errorf("%v, and yet %+v", err, got)
			}
			return
		}
		if got.GUID != guid || strings.Contains(got.Command, "PathToAtomicsFolder") && !strings.Contains(content, "AtomicsFolder") {
			t.Errorf("%+v", got)
		}
	})
}

// Each test of the list beside the repository has an entry in the table, in
// the same order.
func TestExpectationsFollowTheList(t *testing.T) {
	t.Parallel()
	tests, err := List("../../../../shared/data/atomic-red-team", "linux_bare_debian_tests.json")
	if err != nil {
		t.Skipf("the atomic tests are not here: %v", err)
	}
	var want, got []string
	for _, x := range tests {
		want = append(want, x.GUID)
		if x.Command == "" || x.Executor != "sh" && x.Executor != "bash" || strings.Contains(x.Command, "#{file") {
			t.Errorf("%s cannot be run: %s %q", x.GUID, x.Executor, x.Command)
		}
	}
	for _, e := range Expectations {
		got = append(got, e.GUID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
