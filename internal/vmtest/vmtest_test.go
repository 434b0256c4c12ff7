// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket/internal/vmtest"
	"github.com/picket-edr/picket/internal/vmtest/guest"
)

// Where PICKET_VM says nothing, one of these takes its turn each day, so that
// a run stays short: an old and a new kernel.
var turns = [][]string{{"5.10", "newest"}, {"6.1", "6.12"}}

// chosen returns the kernels to test: all, those named, or today's.
func chosen(setting string, day int) []vmtest.Kernel {
	names := turns[day%len(turns)]
	switch setting {
	case "all":
		return vmtest.Kernels
	case "":
	default:
		names = strings.Split(setting, ",")
	}
	var out []vmtest.Kernel
	for _, k := range vmtest.Kernels {
		if slices.Contains(names, k.Name) {
			out = append(out, k)
		}
	}
	return out
}

func TestChosen(t *testing.T) {
	t.Parallel()
	all := map[string]bool{}
	for day := range len(turns) {
		for _, k := range chosen("", day) {
			all[k.Name] = true
		}
	}
	if len(all) != len(vmtest.Kernels) || len(chosen("all", 0)) != len(vmtest.Kernels) {
		t.Errorf("%v are tested in turn", all)
	}
	if got := chosen("6.1,5.10", 0); len(got) != 2 || got[0].Name != "5.10" {
		t.Errorf("by name: %v", got)
	}
}

// TestKernels makes every event of the table happen on other kernels.
// PICKET_VM names the kernels, separated by commas, or says "all".
func TestKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("boots kernels in an emulator for minutes")
	}
	if _, err := exec.LookPath(vmtest.Program); err != nil {
		t.Skipf("%s is not installed: the kernel programs are not tested on other kernels", vmtest.Program)
	}
	var console io.Writer // PICKET_VM_CONSOLE=1 shows what the guest's kernel says
	if os.Getenv("PICKET_VM_CONSOLE") != "" {
		console = os.Stderr
	}
	first := buildGuest(t)
	for _, k := range chosen(os.Getenv("PICKET_VM"), time.Now().YearDay()) {
		t.Run(k.Name, func(t *testing.T) { testKernel(t, k, first, console) })
	}
}

// buildGuest compiles the first process of a guest.
func buildGuest(t *testing.T) string {
	t.Helper()
	first := filepath.Join(t.TempDir(), "guest")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", first, "./guest/picket-guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	return first
}

// fetch takes a kernel, or skips the test where there is no way to.
func fetch(t *testing.T, k vmtest.Kernel) vmtest.Image {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	image, err := vmtest.Fetch(ctx, k)
	if err != nil {
		t.Skipf("no kernel %s can be fetched: %v", k.Name, err)
	}
	return image
}

func testKernel(t *testing.T, k vmtest.Kernel, first string, console io.Writer) {
	image := fetch(t, k)
	t.Logf("kernel %s", image.Package)
	module, err := image.Module(t.Context(), "dummy")
	if err != nil {
		t.Skipf("no module of kernel %s: %v", k.Name, err)
	}
	began := time.Now()
	lines, err := vmtest.Boot(t.Context(), vmtest.Guest{Kernel: image, Init: first, Console: console, Timeout: 10 * time.Minute, Append: "PICKET_KERNEL=" + k.Name,
		Files: map[string]vmtest.File{
			"etc/passwd": {Data: []byte("root:x:0:0::/:/bin/sh\n")}, "etc/group": {Data: []byte("root:x:0:\n")},
			guest.Module: {Data: module},
		}})
	t.Logf("took %v", time.Since(began).Round(time.Second))
	if err != nil {
		t.Error(err)
	}
	if len(lines) != len(guest.Rounds) {
		t.Errorf("%d of %d rounds were reported", len(lines), len(guest.Rounds))
	}
	for _, line := range lines {
		var r guest.Report
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v in %.200s", err, line)
		}
		for _, h := range r.Hooks {
			t.Logf("%s: %s %v %s", h.Kind, h.Rung, h.Attached, h.Error)
		}
		for _, problem := range r.Problems(k.Name) {
			t.Error(problem)
		}
		t.Log("\n" + r.String())
	}
}
