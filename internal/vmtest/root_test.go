// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestUserlandUnpack(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("tar is not installed")
	}
	dir, root := t.TempDir(), filepath.Join(t.TempDir(), "root")
	pack(t, dir, "tool", map[string]string{"bin/tool": "old place", "usr/bin/other": "new place", "usr/share/doc/tool/copyright": "long"})
	pack(t, dir, "lib", map[string]string{"lib/x/lib.so": "library", "etc/lib.conf": "conf"})
	pack(t, dir, "lib-perl", map[string]string{"usr/bin/script": "script"})
	u := Userland{Suite: "none", Leave: []string{"*-perl"}, Without: []string{"./usr/share/doc"}}
	if err := u.unpack(t.Context(), dir, root); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"usr/bin/tool": "old place", "bin/other": "new place", "usr/lib/x/lib.so": "library", "etc/lib.conf": "conf",
		"usr/share/doc/tool/copyright": "", "usr/bin/script": ""} {
		got, err := os.ReadFile(filepath.Join(root, name))
		if string(got) != want || want == "" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	for _, name := range merged {
		if to, err := os.Readlink(filepath.Join(root, name)); err != nil || to != "usr/"+name {
			t.Errorf("%s leads to %q: %v", name, to, err)
		}
	}
}

func TestUserlandWithABadPackage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad_1_amd64.deb"), []byte("no package"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (Userland{}).unpack(t.Context(), dir, filepath.Join(t.TempDir(), "root")); err == nil {
		t.Error("unpacked what is no package")
	}
}

// What was unpacked once serves without the archive, for the same choice.
func TestUserlandWithoutAnArchive(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	u := Userland{Suite: "none", Packages: []string{"bash"}}
	if _, err := u.Unpack(t.Context()); err == nil {
		t.Fatal("programs out of nothing")
	}
	s, err := openShelf(Kernel{Name: "userland"})
	if err != nil {
		t.Fatal(err)
	}
	s.unlock()
	kept := filepath.Join(s.dir, u.name())
	if err := os.Mkdir(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := u.Unpack(t.Context()); err != nil || got != kept {
		t.Errorf("%s %v", got, err)
	}
	names := map[string]bool{}
	for _, other := range []Userland{u, {Suite: "other", Packages: u.Packages}, {Suite: "none", Packages: []string{"bash", "dash"}},
		{Suite: "none", Packages: u.Packages, Leave: []string{"x"}}, {Suite: "none", Packages: u.Packages, Without: []string{"x"}}} {
		names[other.name()] = true
	}
	if len(names) != 5 {
		t.Errorf("%d names of five choices", len(names))
	}
}
