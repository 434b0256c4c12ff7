// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Test is one test, ready to be run: all arguments have their defaults.
type Test struct {
	GUID      string
	Technique string
	Name      string
	Executor  string // sh or bash
	Root      bool
	Command   string
	Cleanup   string
	Needs     []Need
}

// Need is what a test wants to find.
type Need struct {
	Check string // ends with 0 if it is there
	Get   string // makes it
}

// entry is a line of the list of tests.
type entry struct {
	Technique, Name, GUID, Executor string
	Root                            bool
}

// file is what is read of the file of a technique.
type file struct {
	Tests []struct {
		GUID      string `yaml:"auto_generated_guid"`
		Arguments map[string]struct {
			Default any `yaml:"default"`
		} `yaml:"input_arguments"`
		Dependencies []struct {
			Check string `yaml:"prereq_command"`
			Get   string `yaml:"get_prereq_command"`
		} `yaml:"dependencies"`
		Executor struct {
			Command string `yaml:"command"`
			Cleanup string `yaml:"cleanup_command"`
		} `yaml:"executor"`
	} `yaml:"atomic_tests"`
}

// List reads the tests that a list names from a folder with a copy of the
// project's files.
func List(dir, list string) ([]Test, error) {
	b, err := os.ReadFile(filepath.Join(dir, list))
	if err != nil {
		return nil, err
	}
	var entries []entry
	if err := json.Unmarshal(b, &entries); err != nil {
		return nil, fmt.Errorf("read %s: %w", list, err)
	}
	var tests []Test
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, "atomics", filepath.Base(e.Technique), filepath.Base(e.Technique)+".yaml"))
		if err != nil {
			return nil, err
		}
		t, err := e.test(b)
		if err != nil {
			return nil, fmt.Errorf("test %s: %w", e.GUID, err)
		}
		tests = append(tests, t)
	}
	return tests, nil
}

// test finds the body of a test and puts its arguments in.
func (e entry) test(b []byte) (Test, error) {
	var f file
	if err := yaml.Unmarshal(b, &f); err != nil {
		return Test{}, err
	}
	for _, a := range f.Tests {
		if a.GUID != e.GUID {
			continue
		}
		replace := []string{"$PathToAtomicsFolder", folder, "PathToAtomicsFolder", folder}
		var arguments []string
		for name, argument := range a.Arguments {
			arguments = append(arguments, "#{"+name+"}", fmt.Sprint(argument.Default))
		}
		fill := func(s string) string {
			s = strings.NewReplacer(arguments...).Replace(s)
			return strings.TrimSpace(strings.NewReplacer(replace...).Replace(s))
		}
		t := Test{GUID: e.GUID, Technique: e.Technique, Name: e.Name, Executor: e.Executor, Root: e.Root,
			Command: fill(a.Executor.Command), Cleanup: fill(a.Executor.Cleanup)}
		for _, d := range a.Dependencies {
			t.Needs = append(t.Needs, Need{fill(d.Check), fill(d.Get)})
		}
		return t, nil
	}
	return Test{}, os.ErrNotExist
}

// Share returns one of n parts of the tests: every n-th, so that the parts are
// alike.
func Share(tests []Test, part, n int) []Test {
	var out []Test
	for i, t := range tests {
		if i%n == part%n {
			out = append(out, t)
		}
	}
	return slices.Clip(out)
}
