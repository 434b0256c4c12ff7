// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
)

var families = []string{"process", "processold", "file", "fileold", "filelsm", "filefentry", "filekprobe", "filekprobeold",
	"network", "dns", "stream",
	"attribute", "attributeold", "image", "imageold", "privilege", "privilegeold", "kernel", "kernelold", "socket", "socketold", "script"}

// object reads a committed object, of this architecture or the other.
func object(t *testing.T, name string) *ebpf.CollectionSpec {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("parse %s: %v", name, err)
	}
	return spec
}

func TestObjectsShareTheirMaps(t *testing.T) {
	for _, arch := range []string{"x86", "arm64"} {
		first := object(t, "process_"+arch+"_bpfel.o")
		for _, family := range families {
			spec := object(t, family+"_"+arch+"_bpfel.o")
			for _, name := range []string{"counters", "priority", "bulk", "excluded", "woken"} {
				got, want := spec.Maps[name], first.Maps[name]
				if got == nil || want == nil {
					t.Errorf("%s %s: map %s is missing", arch, family, name)
					continue
				}
				if got.Type != want.Type || got.KeySize != want.KeySize || got.ValueSize != want.ValueSize || got.MaxEntries != want.MaxEntries {
					t.Errorf("%s %s: map %s is %v, want %v", arch, family, name, got, want)
				}
			}
			if spec.ByteOrder.String() != "LittleEndian" {
				t.Errorf("%s %s: byte order %s", arch, family, spec.ByteOrder)
			}
		}
	}
}

func TestArchitecturesHoldTheSamePrograms(t *testing.T) {
	for _, family := range families {
		programs := map[string]map[string]string{}
		for _, arch := range []string{"x86", "arm64"} {
			programs[arch] = map[string]string{}
			for name, p := range object(t, family+"_"+arch+"_bpfel.o").Programs {
				programs[arch][name] = p.SectionName
			}
		}
		if len(programs["x86"]) == 0 {
			t.Errorf("%s holds no program", family)
		}
		if diff := cmp.Diff(programs["x86"], programs["arm64"]); diff != "" {
			t.Errorf("%s: x86 and arm64 differ: %s", family, diff)
		}
	}
}

func TestLoadersReturnTheirObjects(t *testing.T) {
	load := map[string]func() (*ebpf.CollectionSpec, error){
		"process_exec": LoadProcess, "file_close": LoadFile, "network_state": LoadNetwork, "udp_egress": LoadDNS,
		"attribute_chmod": LoadAttribute, "image_mmap": LoadImage, "privilege_signal": LoadPrivilege, "kernel_bpf": LoadKernel, "socket_connect": LoadSocket, "script_readline": LoadScript,
	}
	for program, f := range load {
		spec, err := f()
		if err != nil {
			t.Fatal(err)
		}
		if spec.Programs[program] == nil {
			t.Errorf("%s is missing", program)
		}
	}
}

// Whoever compiles must get the committed bytes.
func TestObjectsAreReproducible(t *testing.T) {
	if _, err := exec.LookPath("clang-19"); err != nil {
		t.Skip("clang-19 is not installed: the committed objects cannot be compiled again")
	}
	if testing.Short() {
		t.Skip("compiles for seconds")
	}
	// A copy elsewhere in the tree shows paths that slip into the objects.
	dir, err := os.MkdirTemp("..", ".bpf-rebuild-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sources, err := filepath.Glob("*.[ch]")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(sources, "generate.sh", "doc.go") {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.Command("./generate.sh")
	run.Dir = dir
	if out, err := run.CombinedOutput(); err != nil {
		t.Skipf("the compiler does not run here: %v\n%s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*_bpfel.*"))
	if err != nil || len(made) != len(families)*2*2 {
		t.Fatalf("made %d files: %v", len(made), err)
	}
	for _, name := range made {
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the sources compile to: run bpf/generate.sh", filepath.Base(name))
		}
		if strings.HasSuffix(name, ".o") && bytes.Contains(want, []byte(filepath.Dir(here(t)))) {
			t.Errorf("%s names a folder of the machine that compiled it", name)
		}
	}
}

func here(t *testing.T) string {
	t.Helper()
	abs, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
