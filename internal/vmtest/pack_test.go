// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewest(t *testing.T) {
	t.Parallel()
	packages := strings.Fields("linux-image-5.10.0-9-amd64 linux-image-5.10.0-46-amd64 linux-image-5.10.0-46-cloud-amd64 " +
		"linux-image-6.1.0-56-amd64 linux-image-6.12.9+deb13-amd64 linux-image-6.12.118+deb13-amd64 linux-image-6.12.118+deb13.1-amd64 " +
		"linux-image-6.12.120+deb12-amd64 linux-binary-7.2.13+deb14-amd64 linux-binary-7.10.1+deb14-amd64 linux-binary-7.10.1+deb14-rt-amd64 " +
		"linux-image-6.12.118+deb13-amd64-dbg")
	got := map[string]string{}
	for _, k := range Kernels {
		got[k.Name] = newest(packages, k.Package)
	}
	want := map[string]string{"5.10": "linux-image-5.10.0-46-amd64", "6.1": "linux-image-6.1.0-56-amd64",
		"6.12": "linux-image-6.12.118+deb13.1-amd64", "newest": "linux-binary-7.10.1+deb14-amd64"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if newest(nil, "x") != "" {
		t.Error("there is no newest of none")
	}
}

func TestOlder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"5.9", "5.10", true}, {"5.10", "5.9", false}, {"5.010", "5.10", false}, {"5.10", "5.10", false}, {"5.10", "5.10.1", true},
		{"6.1+deb12", "6.1+deb13", true}, {"7.2", "6.12", false},
	} {
		if got := older(c.a, c.b); got != c.want {
			t.Errorf("%s older than %s: %v", c.a, c.b, got)
		}
	}
}

// unpack reads an archive back: mode and content by name, in order.
func unpack(t *testing.T, b []byte) []string {
	t.Helper()
	var out []string
	field := func(at int) int {
		n, err := strconv.ParseUint(string(b[at:at+8]), 16, 32)
		if err != nil {
			t.Fatalf("%v in %q", err, b[at:at+8])
		}
		return int(n)
	}
	for {
		if !bytes.HasPrefix(b, []byte("070701")) {
			t.Fatalf("no entry at %s", hex.EncodeToString(b[:min(len(b), 16)]))
		}
		mode, size, nameLen := field(14), field(54), field(94)
		name := string(b[110 : 110+nameLen-1])
		b = b[(110+nameLen+3)&^3:]
		if name == "TRAILER!!!" {
			if len(b) != 0 {
				t.Errorf("%d bytes after the end", len(b))
			}
			return out
		}
		out = append(out, fmt.Sprintf("%s %o %s", name, mode, b[:size]))
		b = b[(size+3)&^3:]
	}
}

func TestInitramfs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	program := filepath.Join(root, "program")
	for _, err := range []error{
		os.WriteFile(program, []byte("static"), 0o600),
		os.MkdirAll(filepath.Join(root, "tree", "usr", "bin"), 0o755),
		os.WriteFile(filepath.Join(root, "tree", "usr", "bin", "tool"), []byte("tool"), 0o700),
		os.Symlink("usr/bin", filepath.Join(root, "tree", "bin")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	g := Guest{Init: program, Root: filepath.Join(root, "tree"), Files: map[string]File{
		"/etc/passwd": {Data: []byte("root")}, "etc/deep/x": {Data: []byte("xy"), Mode: 0o600}, "usr/lib/y": {Host: program}}}
	if err := g.initramfs(&b); err != nil {
		t.Fatal(err)
	}
	want := []string{"bin 120777 usr/bin", "usr 40755 ", "usr/bin 40755 ", "usr/bin/tool 100700 tool", "dev 40755 ", "dev/console 20600 ",
		"etc 40755 ", "etc/passwd 100644 root", "etc/deep 40755 ", "etc/deep/x 100600 xy", "usr/lib 40755 ", "usr/lib/y 100755 static", "init 100755 static"}
	if diff := cmp.Diff(want, unpack(t, b.Bytes())); diff != "" {
		t.Error(diff)
	}
	g.Init = filepath.Join(root, "absent")
	if err := g.initramfs(&b); err == nil {
		t.Error("a guest without a first program")
	}
}

func TestBootSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Boot(t.Context(), Guest{}); err == nil || !strings.Contains(err.Error(), Program) {
		t.Errorf("without the emulator: %v", err)
	}
}

func TestTailWriter(t *testing.T) {
	t.Parallel()
	var all bytes.Buffer
	w := &tailWriter{to: &all}
	for i := range 3000 {
		fmt.Fprintln(w, i)
	}
	got := w.tail()
	if len(got) != keepConsole || !bytes.HasSuffix(got, []byte("2998\n2999\n")) || !bytes.HasSuffix(all.Bytes(), got) {
		t.Errorf("%d bytes, end %q", len(got), got[len(got)-12:])
	}
}
