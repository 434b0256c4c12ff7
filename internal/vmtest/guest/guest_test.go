// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/internal/vmtest"
	"github.com/picket-edr/picket/schema"
)

var update = flag.Bool("update", false, "write docs/sensor-coverage.md anew")

func TestMain(m *testing.M) {
	Child()
	flag.Parse()
	os.Exit(m.Run())
}

func TestKindsAreWellFormed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range Kinds {
		if k.Name == "" || k.Hook == "" || k.Does == "" || k.Do == nil || len(k.Rungs) == 0 || seen[k.Name] {
			t.Errorf("%q is incomplete or there twice", k.Name)
		}
		seen[k.Name] = true
		i := slices.IndexFunc(schema.Tables, func(x *schema.Table) bool { return x.Name == k.Table })
		if i < 0 || !slices.ContainsFunc(schema.Tables[i].Actions, func(a schema.Action) bool { return a.Name == k.Action }) {
			t.Errorf("%s: no action %s in %s", k.Name, k.Action, k.Table)
		}
		for _, g := range k.Gaps {
			if g.Why == "" || g.Rung != "" && !slices.Contains(k.Rungs, g.Rung) {
				t.Errorf("%s: gap %+v", k.Name, g)
			}
			if g.Kernel != "" && !slices.ContainsFunc(vmtest.Kernels, func(x vmtest.Kernel) bool { return x.Name == g.Kernel }) {
				t.Errorf("%s: no kernel %s", k.Name, g.Kernel)
			}
		}
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	k := Kind{Rungs: []string{"high", "low"}, Gaps: []Gap{{Kernel: "5.10", Rung: "high", Why: "too old"}, {Kernel: "6.1", Why: "odd"}}}
	for _, c := range []struct {
		kernel, rung string
		want         bool
		why          string
	}{
		{"6.12", "high", true, ""}, {"5.10", "high", false, "too old"}, {"5.10", "low", true, ""},
		{"6.1", "low", false, "odd"}, {"6.12", "off", false, ""}, {"", "low", true, ""},
	} {
		if got, why := k.claimed(c.kernel, c.rung); got != c.want || why != c.why {
			t.Errorf("%s on %s: %v %q", c.rung, c.kernel, got, why)
		}
	}
}

func TestTold(t *testing.T) {
	t.Parallel()
	k := Kind{Table: "DeviceFileEvents", Action: "FileCreated",
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("x") })}
	a := &Act{Dir: "/d", PID: 7}
	row := func(change func(*event.DeviceFileEvents)) event.Row {
		r := &event.DeviceFileEvents{ActionType: "FileCreated", InitiatingProcessId: 7, FolderPath: "/d/x"}
		change(r)
		return r
	}
	for name, c := range map[string]struct {
		row  event.Row
		want bool
	}{
		"right":         {row(func(*event.DeviceFileEvents) {}), true},
		"other action":  {row(func(r *event.DeviceFileEvents) { r.ActionType = "FileDeleted" }), false},
		"other process": {row(func(r *event.DeviceFileEvents) { r.InitiatingProcessId = 8 }), false},
		"other path":    {row(func(r *event.DeviceFileEvents) { r.FolderPath = "/d/y" }), false},
		"other table":   {&event.DeviceProcessEvents{ActionType: "FileCreated", InitiatingProcessId: 7}, false},
	} {
		if got := k.told(a)(c.row); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	got := columns(row(func(r *event.DeviceFileEvents) { r.FileOwnerUserId = event.LongOf(0) }))
	if fmt.Sprint(got) != "map[ActionType:FileCreated FileOwnerUserId:0 FolderPath:/d/x]" {
		t.Errorf("columns %v", got)
	}
}

func TestKindsOfARound(t *testing.T) {
	t.Parallel()
	if got := (Round{}).kinds(); len(got) != len(Kinds) {
		t.Errorf("%d of %d kinds without a choice", len(got), len(Kinds))
	}
	for _, k := range (Round{Rungs: map[string]string{"file": "x"}}).kinds() {
		if k.Hook != "file" {
			t.Errorf("%s in a round about files", k.Name)
		}
	}
}

func TestRungsOfARound(t *testing.T) {
	t.Parallel()
	if got := (Round{}).rungs(); got != nil {
		t.Errorf("the best: %v", got)
	}
	got := Round{Rungs: map[string]string{"file": "x"}}.rungs()
	if got["file"] != "x" || got["dns"] != "off" || got["process"] != "" {
		t.Errorf("one that asks for a rung: %v", got)
	}
}

// The same table on the kernel of this host, which may have fewer rungs.
func TestHere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: kernel programs cannot be loaded")
	}
	if testing.Short() {
		t.Skip("attaches to the running kernel")
	}
	for _, round := range Rounds {
		t.Run(round.Name, func(t *testing.T) {
			report, err := round.Run(t.Context(), "", t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range report.Hooks {
				t.Logf("%s: %s %v %s", h.Kind, h.Rung, h.Attached, h.Error)
			}
			for _, problem := range report.Problems("") {
				t.Error(problem)
			}
			t.Log("\n" + report.String())
		})
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	r := Report{Round: "x", Results: []Result{
		{Kind: "file created", Rung: "tracepoint", Seen: true},
		{Kind: "file deleted", Rung: "tracepoint"},
		{Kind: "file renamed", Rung: "elsewhere"},
		{Kind: "file linked", Rung: "elsewhere", Seen: true},
		{Kind: "file modified", Rung: "tracepoint", Error: "disk full"},
		{Kind: "file created", Rung: "off"},
		{Kind: "unheard of", Rung: "off"},
	}}
	r.Hooks = []picket.Hook{{Kind: "dns", Error: "too old"}, {Kind: "file", Attached: true, Error: "not the best"}, {Kind: "logon"}}
	lacking := Report{Rungs: map[string]string{"file": "fentry"}, Hooks: []picket.Hook{{Kind: "file", Error: "unknown"}},
		Results: []Result{{Kind: "file created", Rung: "off"}}}
	if got := lacking.Problems("5.10"); len(got) != 0 {
		t.Errorf("what 5.10 is known to lack: %q", got)
	}
	if got := lacking.Problems("6.1"); len(got) != 2 {
		t.Errorf("what 6.1 must not lack: %q", got)
	}
	lacking.Hooks[0] = picket.Hook{Kind: "file", Rung: "fentry", Attached: true}
	if got := lacking.Problems("5.10"); len(got) != 1 {
		t.Errorf("what works all the same: %q", got)
	}
	got := r.Problems("6.1")
	if len(got) != 6 {
		t.Errorf("%d problems: %q", len(got), got)
	}
	for i, want := range []string{"hook dns: too old", "file deleted by tracepoint: not seen", "file linked by elsewhere: seen, but not claimed", "file modified by tracepoint: disk full", "file created by off: no rung works", "unheard of"} {
		if i >= len(got) || !strings.Contains(got[i], want) {
			t.Errorf("problem %d of %q: want %q", i, got, want)
		}
	}
}

func TestCoveragePage(t *testing.T) {
	t.Parallel()
	const name = "../../../docs/sensor-coverage.md"
	if *update {
		if err := os.WriteFile(name, []byte(page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != page() {
		t.Error("docs/sensor-coverage.md differs from the table: run go test ./internal/vmtest/guest -run CoveragePage -update")
	}
}
