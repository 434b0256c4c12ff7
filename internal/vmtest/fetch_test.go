// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var testKernel = Kernel{Name: "test", Archive: "debian", Suite: "none", Package: "linux-image-[0-9.]+-amd64"}

// pack builds a package of this system's kind with the files given.
func pack(t *testing.T, dir, name string, files map[string]string) {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is not installed")
	}
	root := t.TempDir()
	files["DEBIAN/control"] = "Package: " + name + "\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody\nDescription: test\n"
	for file, content := range files {
		at := filepath.Join(root, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("dpkg-deb", "-b", root, filepath.Join(dir, name+"_1_amd64.deb")).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

// keep puts a kernel on the shelf, as if it had been fetched some time ago.
func keep(t *testing.T, name string, age time.Duration) Image {
	t.Helper()
	s, err := openShelf(testKernel)
	if err != nil {
		t.Fatal(err)
	}
	defer s.unlock()
	dir := filepath.Join(s.dir, name)
	when := time.Now().Add(-age)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "vmlinuz"), []byte("kernel"), 0o644),
		os.WriteFile(s.stamp(), nil, 0o644), os.Chtimes(s.stamp(), when, when)); err != nil {
		t.Fatal(err)
	}
	got, err := s.current()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// What was fetched before serves for a day without asking, and longer where
// the archive cannot be asked.
func TestFetchWithoutAnArchive(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	if _, err := Fetch(t.Context(), testKernel); err == nil {
		t.Fatal("a kernel out of nothing")
	}
	keep(t, "linux-image-1.9-amd64", 0)
	for _, age := range []time.Duration{time.Hour, 48 * time.Hour} {
		want := keep(t, "linux-image-1.10-amd64", age)
		got, err := Fetch(t.Context(), testKernel)
		if err != nil || got != want || got.Package != "linux-image-1.10-amd64" {
			t.Errorf("after %v: %+v %v", age, got, err)
		}
	}
}

func TestMember(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pack(t, dir, "linux-image-1-amd64", map[string]string{"boot/System.map-1": "map", "boot/vmlinuz-1": "kernel"})
	deb, err := debOf(dir, "linux-image-1-amd64")
	if err != nil {
		t.Fatal(err)
	}
	b, name, err := member(t.Context(), deb, func(name string) bool { return strings.HasPrefix(name, "boot/vmlinuz-") })
	if err != nil || string(b) != "kernel" || name != "boot/vmlinuz-1" {
		t.Errorf("%q %s %v", b, name, err)
	}
	if _, _, err := member(t.Context(), deb, func(string) bool { return false }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	if _, _, err := member(t.Context(), filepath.Join(dir, "absent.deb"), func(string) bool { return true }); err == nil {
		t.Error("a package that is not there")
	}
}

func TestModule(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	image := keep(t, "linux-image-1-amd64", 0)
	pack(t, filepath.Dir(image.Path), image.Package, map[string]string{"lib/modules/1/net/dummy.ko": "module", "lib/modules/1/net/dummy2.ko": "other"})
	for _, gone := range []bool{false, true} { // the second time from what was kept
		b, err := image.Module(t.Context(), "dummy")
		if err != nil || string(b) != "module" {
			t.Fatalf("%q %v, package removed: %v", b, err, gone)
		}
		if err := os.RemoveAll(filepath.Join(filepath.Dir(image.Path), image.Package+"_1_amd64.deb")); err != nil {
			t.Fatal(err)
		}
	}
}
