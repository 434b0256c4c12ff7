// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMissing(t *testing.T) {
	t.Parallel()
	nothing := func(string) bool { return false }
	everything := func(string) bool { return true }
	if got := missing("run", nothing); !slices.Contains(got, "g++") || slices.Contains(got, "chromium") {
		t.Errorf("run needs %v", got)
	}
	if got := missing("test", nothing); !slices.Contains(got, "chromium") || !slices.Contains(got, "postgresql") {
		t.Errorf("test needs %v", got)
	}
	if got := missing("test", everything); len(got) != 0 {
		t.Errorf("nothing is missing, got %v", got)
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := filepath.Join(dir, "program")
	if err := os.WriteFile(in, []byte("content"), 0o755); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "a.tar.gz")
	if err := archive(out, in); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(zr)
	h, err := tr.Next()
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(tr); err != nil || h.Name != "program" || h.Mode != 0o755 || string(data) != "content" {
		t.Errorf("got %s %o %q, %v", h.Name, h.Mode, data, err)
	}
	if err := archive(filepath.Join(dir, "b.tar.gz"), filepath.Join(dir, "absent")); err == nil {
		t.Error("an absent file must be an error")
	}
}

func TestSourceSumSeesChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sum := func() string {
		t.Helper()
		s, err := sourceSum(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write("src/main.tsx", "1")
	first := sum()
	write("dist/index.html", "built")
	write("embed.go", "package web")
	if sum() != first {
		t.Error("outputs and Go files are no sources of the portal")
	}
	write("src/main.tsx", "2")
	if sum() == first {
		t.Error("a changed source must change the sum")
	}
}
