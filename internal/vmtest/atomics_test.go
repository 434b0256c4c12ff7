// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest_test

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/picket-edr/picket/internal/vmtest"
	"github.com/picket-edr/picket/internal/vmtest/atomics"
)

var update = flag.Bool("update", false, "run all atomic tests and write docs/atomic-coverage.md anew")

const (
	atomicFiles  = "../../../shared/data/atomic-red-team" // a copy of the project's files, beside the repository
	atomicList   = "linux_bare_debian_tests.json"
	atomicPage   = "../../docs/atomic-coverage.md"
	atomicParts  = 4 // one of them takes its turn each day
	atomicKernel = "6.12"
)

// TestAtomics runs tests of the Atomic Red Team in a guest and looks whether
// the sensor tells of them: a part of them each day, and all of them where
// PICKET_VM_ATOMICS is set.
func TestAtomics(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a kernel in an emulator for minutes")
	}
	if _, err := exec.LookPath(vmtest.Program); err != nil {
		t.Skipf("%s is not installed: the atomic tests are not run", vmtest.Program)
	}
	tests, err := atomics.List(atomicFiles, atomicList)
	if err != nil {
		t.Skipf("the atomic tests are not here: %v", err)
	}
	whole := *update || os.Getenv("PICKET_VM_ATOMICS") != ""
	if !whole {
		tests = atomics.Share(tests, time.Now().YearDay(), atomicParts)
	}
	reports := runAtomics(t, tests)
	for _, r := range reports {
		for _, problem := range r.Problems() {
			t.Errorf("%s: %s", r.GUID, problem)
		}
		t.Logf("%s: %s", r.GUID, r)
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(atomicPage, []byte(atomics.Page(tests, reports)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The page is that of a run in which everything showed.
func TestAtomicPage(t *testing.T) {
	t.Parallel()
	tests, err := atomics.List(atomicFiles, atomicList)
	if err != nil {
		t.Skipf("the atomic tests are not here: %v", err)
	}
	var reports []atomics.Report
	for _, x := range tests {
		reports = append(reports, atomics.Report{GUID: x.GUID, Said: true})
	}
	if got, err := os.ReadFile(atomicPage); err != nil || string(got) != atomics.Page(tests, reports) {
		t.Errorf("docs/atomic-coverage.md differs from the table: run go test ./internal/vmtest -run TestAtomics -update: %v", err)
	}
}

// runAtomics boots a guest that runs the tests.
func runAtomics(t *testing.T, tests []atomics.Test) []atomics.Report {
	t.Helper()
	k := vmtest.Kernels[slices.IndexFunc(vmtest.Kernels, func(k vmtest.Kernel) bool { return k.Name == atomicKernel })]
	image := fetch(t, k)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	root, err := atomics.Userland.Unpack(ctx)
	if err != nil {
		t.Skipf("no packages for the guest can be fetched: %v", err)
	}
	b, err := json.Marshal(tests)
	if err != nil {
		t.Fatal(err)
	}
	var console io.Writer
	if os.Getenv("PICKET_VM_CONSOLE") != "" {
		console = os.Stderr
	}
	began := time.Now()
	lines, err := vmtest.Boot(t.Context(), vmtest.Guest{Kernel: image, Init: buildGuest(t), Root: root, Console: console, Memory: 2048,
		Timeout: 25 * time.Minute, Append: "PICKET_WORK=" + atomics.Work, Files: map[string]vmtest.File{atomics.Tests: {Data: b}}})
	t.Logf("%d tests took %v", len(tests), time.Since(began).Round(time.Second))
	if err != nil {
		t.Error(err)
	}
	var reports []atomics.Report
	for _, line := range lines {
		var r atomics.Report
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v in %.200s", err, line)
		}
		reports = append(reports, r)
	}
	if len(reports) != len(tests)+1 {
		t.Errorf("%d reports of %d tests", len(reports), len(tests))
	}
	return reports
}
