// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/picket-edr/picket"

// listed is what the go command says of a package.
type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	GoFiles    []string
	CgoFiles   []string
}

// linked lists the packages of the sensor on a platform. It opens every source
// file of this module that is in it: a cached result of this test is then
// dropped as soon as one of them changes.
func linked(t *testing.T, platform string) []listed {
	t.Helper()
	goos, arch, _ := strings.Cut(platform, "/")
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,CgoFiles", ".")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(out); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
		if strings.HasPrefix(p.ImportPath, module) {
			touch(t, p)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d packages", len(all))
	}
	return all
}

func touch(t *testing.T, p listed) {
	t.Helper()
	if _, err := os.ReadDir(p.Dir); err != nil {
		t.Fatal(err)
	}
	for _, f := range p.GoFiles {
		if _, err := os.ReadFile(filepath.Join(p.Dir, f)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLinkedPackages compares what is linked into the sensor with deps.txt: a
// new line there is a new part on every endpoint, and wants a reason.
func TestLinkedPackages(t *testing.T) {
	t.Parallel()
	var got []string
	for _, p := range linked(t, "linux/amd64") {
		if !p.Standard {
			got = append(got, p.ImportPath)
		}
	}
	slices.Sort(got)
	if *update {
		if err := os.WriteFile("deps.txt", []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Fields(string(b)), got); d != "" {
		t.Errorf("packages in the sensor (go test ./cmd/picket-sensor -update rewrites deps.txt):\n%s", d)
	}
}

// TestNothingOfTheServerIsLinked keeps the server, databases and C out of the
// sensor on every platform.
func TestNothingOfTheServerIsLinked(t *testing.T) {
	t.Parallel()
	never := []string{"runtime/cgo", "database/sql", "net/http/cgi", "plugin", "github.com/prometheus", "github.com/nats-io", "modernc.org", "github.com/duckdb"}
	for _, room := range []string{"store", "state", "bus", "auth", "pki", "api", "web", "gateway", "bench", "internal"} {
		never = append(never, module+"/"+room)
	}
	for _, platform := range []string{"linux/amd64", "linux/arm64", "windows/amd64"} {
		for _, p := range linked(t, platform) {
			for _, n := range never {
				if p.ImportPath == n || strings.HasPrefix(p.ImportPath, n+"/") {
					t.Errorf("%s: %s is linked into the sensor", platform, p.ImportPath)
				}
			}
			if len(p.CgoFiles) > 0 {
				t.Errorf("%s: %s uses C", platform, p.ImportPath)
			}
		}
	}
}

// TestBinarySize keeps the sensor from growing by more than 5 % unnoticed.
func TestBinarySize(t *testing.T) {
	t.Parallel()
	linked(t, "linux/amd64") // so that a cached result is dropped when a source changes
	program := filepath.Join(t.TempDir(), "picket-sensor")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("size.txt", fmt.Appendf(nil, "%d\n", info.Size()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("size.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want int64
	if _, err := fmt.Sscan(string(b), &want); err != nil {
		t.Fatal(err)
	}
	if limit := want + want/20; info.Size() > limit {
		t.Errorf("the sensor has %d bytes, %d were noted, at most %d are allowed (-update notes the new size: say why in the commit)", info.Size(), want, limit)
	}
}
