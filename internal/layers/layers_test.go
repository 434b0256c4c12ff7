// SPDX-License-Identifier: Apache-2.0

package layers

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
)

const root = "../.."

// floors, lowest first. "a package may import its own floor's sub-packages
// and everything on lower floors". Do not change a floor to fix a build.
var floors = [][]string{
	{".", "schema", "event"},
	{"kql", "rule", "format"},
	{"detect", "incident", "intel", "respond", "posture", "hunt"},
	{"store", "state", "bus", "auth", "pki", "wire", "notify", "report"},
	{"sensor", "gateway", "sandbox", "api"},
	{"cmd"},
}

// alone are rooms that stand beside the floors: embedded data and tooling.
var alone = []string{"web", "content", "internal", "bench", "bpf"}

// never lists imports that a room must not reach, directly or indirectly.
var never = map[string][]string{
	"sensor":  {"store", "state", "auth", "notify", "hunt", "incident", "api", "web", "gateway", "sandbox", "bus", "pki", "cmd"},
	"api":     {"store/duckdb", "store/clickhouse", "sensor", "gateway", "sandbox", "wire", "cmd"},
	"gateway": {"api", "detect", "store", "sensor", "cmd"},
	"detect":  {"store/duckdb", "store/clickhouse", "api", "wire", "auth"},
}

// pure are import prefixes closed to floors 0 and 1.
var pure = []string{"net", "net/http", "database/sql", "os/exec"}

func sources(t *testing.T) []*file {
	t.Helper()
	files, err := load(root, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d files", len(files))
	}
	return files
}

func floor(pkg string) int {
	for i, rooms := range floors {
		if slices.Contains(rooms, room(pkg)) {
			return i
		}
	}
	return -1
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	g := graph(sources(t))
	for pkg, imports := range g {
		from := floor(pkg)
		if from < 0 && !slices.Contains(alone, room(pkg)) {
			t.Errorf("package %s is on no floor: add it in this test and in ARCHITECTURE.md", pkg)
		}
		for _, i := range imports {
			own, ok := local(i)
			if !ok {
				if from >= 0 && from <= 1 && slices.Contains(pure, i) {
					t.Errorf("%s (floor %d) imports %s", pkg, from, i)
				}
				continue
			}
			if room(own) == "cmd" && room(pkg) != "cmd" {
				t.Errorf("%s imports program %s", pkg, own)
			}
			if from < 0 || room(own) == room(pkg) {
				continue
			}
			if to := floor(own); to > from || (to == from && from == 4) {
				t.Errorf("%s (floor %d) imports %s (floor %d)", pkg, from, own, to)
			}
		}
	}
}

func TestForbiddenReach(t *testing.T) {
	t.Parallel()
	g := graph(sources(t))
	for pkg := range g {
		via := reach(g, pkg)
		for _, bad := range never[room(pkg)] {
			for own, from := range via {
				if own == bad || strings.HasPrefix(own, bad+"/") {
					t.Errorf("%s reaches %s (through %s)", pkg, own, from)
				}
			}
		}
	}
}

// TestClock keeps the wall clock out of the pure floors and the engines.
func TestClock(t *testing.T) {
	t.Parallel()
	clock := regexp.MustCompile(`\btime\.(Now|Since|Until|After|Sleep|NewTimer|NewTicker|Tick)\(`)
	for _, f := range sources(t) {
		if fl := floor(f.pkg); f.test || fl < 0 || fl > 2 {
			continue
		}
		if m := clock.FindString(f.source); m != "" {
			t.Errorf("%s reads the clock: %s", f.path, m)
		}
	}
}

func TestHouseRules(t *testing.T) {
	t.Parallel()
	docs := map[string]bool{}
	pkgs := map[string]bool{}
	for _, f := range sources(t) {
		pkgs[f.pkg] = pkgs[f.pkg] || (!f.test && !f.generated)
		docs[f.pkg] = docs[f.pkg] || (!f.test && f.ast.Doc != nil)
		if !strings.HasPrefix(f.source, "// SPDX-License-Identifier: Apache-2.0\n") && !f.generated {
			t.Errorf("%s: first line must be the SPDX identifier", f.path)
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && !f.generated {
				t.Errorf("%s has an init function", f.path)
			}
		}
	}
	for p := range pkgs {
		if pkgs[p] && !docs[p] {
			t.Errorf("package %s has no package comment", p)
		}
		for _, bad := range []string{"util", "utils", "common", "helpers", "types", "base", "core", "manager"} {
			if slices.Contains(strings.Split(p, "/"), bad) {
				t.Errorf("package %s: name it after what it is", p)
			}
		}
	}
}

// testRatio is lines of tests to lines of code. The portal's tests and the
// tests within rules are not Go and do not count.
const testRatio = 0.55

func TestBudgets(t *testing.T) {
	t.Parallel()
	var lengths []int
	lines, tests := map[string]int{}, 0
	code := 0
	for _, f := range sources(t) {
		if f.generated {
			continue
		}
		if f.lines > 800 {
			t.Errorf("%s has %d lines, at most 800", f.path, f.lines)
		}
		if f.test {
			tests += f.lines
			continue
		}
		code += f.lines
		lines[f.pkg] += f.lines
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				l := f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line + 1
				lengths = append(lengths, l)
				if l > 100 {
					t.Errorf("%s: %s has %d lines, at most 100", f.path, n.Name.Name, l)
				}
			case *ast.InterfaceType:
				if n.Methods != nil && len(n.Methods.List) > 6 {
					t.Errorf("%s: an interface has %d methods, at most 6", f.path, len(n.Methods.List))
				}
			}
			return true
		})
	}
	for p, n := range lines {
		if n > 6000 {
			t.Errorf("package %s has %d lines, at most 6,000", p, n)
		}
	}
	sort.Ints(lengths)
	if p95 := lengths[len(lengths)*95/100]; p95 > 60 {
		t.Errorf("95 %% of functions have up to %d lines, want 60", p95)
	}
	if float64(tests) < testRatio*float64(code) {
		t.Errorf("%d lines of tests for %d of code, want %.2f", tests, code, testRatio)
	}
}

func TestFanOut(t *testing.T) {
	t.Parallel()
	for pkg, imports := range graph(sources(t)) {
		n := 0
		for _, i := range imports {
			if _, ok := local(i); ok {
				n++
			}
		}
		if n > 15 && room(pkg) != "cmd" {
			t.Errorf("package %s imports %d packages of the module, at most 15", pkg, n)
		}
	}
}

func TestDirectDependencies(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "\t") && !strings.Contains(line, "// indirect") {
			n++
		}
	}
	if n > 30 {
		t.Errorf("%d direct dependencies, at most 30", n)
	}
}

// TestDirections proves that the checks above can fail.
func TestDirections(t *testing.T) {
	t.Parallel()
	g := map[string][]string{
		"sensor":       {module + "/wire"},
		"wire":         {module + "/state"},
		"store/duckdb": {module + "/store", "database/sql"},
	}
	if via := reach(g, "sensor"); via["state"] != "wire" {
		t.Errorf("reach does not follow imports: %v", via)
	}
	if floor("store/duckdb") != 3 || floor(".") != 0 || floor("cmd/picketd") != 5 || floor("web") != -1 {
		t.Error("floors")
	}
	if own, ok := local(module); !ok || own != "." {
		t.Error("the root package is local")
	}
	if _, ok := local("github.com/picket-edr/picketed"); ok {
		t.Error("another module is not local")
	}
}
