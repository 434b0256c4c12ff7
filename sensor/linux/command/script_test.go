// SPDX-License-Identifier: Apache-2.0

//go:build linux

package command

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFile(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"/usr/bin/bash x.sh a":             "bash x.sh",
		"/bin/bash -eu -o pipefail x.sh":   "bash x.sh",
		"/bin/bash --rcfile /x y.sh":       "bash y.sh",
		"/bin/bash --norc -- -odd.sh":      "bash -odd.sh",
		"/bin/sh -c ls":                    "sh ",
		"/bin/sh -ec ls":                   "sh ",
		"/bin/sh +x x.sh":                  "sh x.sh",
		"/bin/sh -s":                       "sh ",
		"/bin/sh -":                        "sh ",
		"/bin/dash":                        "dash ",
		"/usr/bin/python3.11 -u -W once a": "python a",
		"/usr/bin/python3 -Wonce a.py":     "python a.py",
		"/usr/bin/python3 -m http.server":  "python ",
		"/usr/bin/python3 -c x":            "python ",
		"/usr/bin/perl -w -Ilib -Mx a.pl":  "perl a.pl",
		"/usr/bin/perl -ne x":              "perl ",
		"/usr/bin/perl -i.bak -pe x f":     "perl ",
		"/usr/bin/perl5.36 a.pl":           "perl a.pl",
		"/usr/bin/ruby -rjson a.rb":        "ruby a.rb",
		"/usr/bin/node --require x a.js":   "node a.js",
		"/usr/bin/node --eval x":           "node ",
		"/usr/bin/php -f a.php":            "php a.php",
		"/usr/bin/php -d a=b a.php":        "php a.php",
		"/usr/bin/mawk -f a.awk f":         "mawk a.awk",
		"/usr/bin/awk {print} f":           "awk ",
		"/usr/bin/expect -f a.exp":         "expect a.exp",
		"/usr/bin/pwsh -File a.ps1":        "pwsh a.ps1",
		"/usr/bin/pwsh -NoProfile a.ps1":   "pwsh a.ps1",
		"/usr/bin/pwsh -Command x":         "pwsh ",
		"/usr/bin/busybox busybox sh a.sh": "sh a.sh",
		"/usr/bin/id x.sh":                 " ",
	} {
		words := strings.Fields(line)
		args := words
		if strings.HasSuffix(words[0], "busybox") {
			args = words[1:]
		}
		interpreter, file := File(words[0], args)
		if got := interpreter + " " + file; got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if name, file := File("/bin/busybox", nil); name+file != "" {
		t.Errorf("no arguments: %q %q", name, file)
	}
	if name, file := File("/bin/busybox", []string{"sh", "a.sh"}); name != "sh" || file != "a.sh" {
		t.Errorf("by link: %q %q", name, file)
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]bool{"/bin/bash": true, "/usr/bin/zsh5": true, "/usr/bin/zsh-5.9": true, "/bin/dash": false, "/opt/bashful": false} {
		if Reads(image) != want {
			t.Errorf("%s: %v", image, !want)
		}
	}
}

// The shells of this host, where it has any.
func TestFind(t *testing.T) {
	t.Parallel()
	found := 0
	for _, name := range Shells {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		target, err := Find(name, name, "/")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if target.Offset == 0 || target.Ino == 0 || target.Function == "" {
			t.Errorf("%s: %+v", name, target)
		}
		target.File.Close()
		found++
	}
	if found == 0 {
		t.Skip("no shell is installed")
	}
}

// A shell without the function of its own has it from a library.
func TestFindInLibrary(t *testing.T) {
	t.Parallel()
	lib, err := filepath.Glob("/usr/lib/*/libreadline.so.8")
	if err != nil || len(lib) == 0 {
		t.Skip("no libreadline is installed")
	}
	target, needed, err := look(lib[0], "readline")
	if err != nil || target.Offset == 0 {
		t.Fatalf("%v %v", needed, err)
	}
	target.File.Close()
	if _, needed, err := look(lib[0], "no_such_function"); !errors.Is(err, ErrNoFunction) || len(needed) == 0 {
		t.Errorf("%v %v", needed, err)
	}
}

func TestFindRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, text := filepath.Join(dir, "bash"), filepath.Join(dir, "zsh")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pipe, text, dir + "/missing/bash", "/bin/sh", "/dev/zero"} {
		if target, err := Find(name, name, dir); err == nil {
			target.File.Close()
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := Find("/bin/bash", "/dev/zero", dir); err == nil {
		t.Error("a device was taken")
	}
}

// What a program names as its script may be anything.
func TestHostileScripts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "secret"), "outside")
	writeFile(t, filepath.Join(root, "inside"), strings.Repeat("é", maxHead))
	for name, target := range map[string]string{"up": "../secret", "away": filepath.Join(dir, "secret"), "proc": "/proc/self/exe"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/up", "/away", "/proc", "/pipe", "/missing", "/../secret", "/", ""} {
		if s := OpenScript(root, name, true); s != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	s := OpenScript(root, "/inside", true)
	if s == nil || len(s.Head) != maxHead || s.Part.Size != 2*maxHead || !strings.HasSuffix(s.Path, "/inside") {
		t.Errorf("%+v", s)
	}
	if s := OpenScript(filepath.Join(dir, "none"), "/inside", false); s != nil {
		t.Errorf("without a root: %+v", s)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestWants(t *testing.T) {
	t.Parallel()
	for i, want := range ScriptLevels {
		for j, level := range ScriptLevels {
			if got := Wants(want, level); got != (j <= i) {
				t.Errorf("%q wants %q: %v", want, level, got)
			}
		}
	}
	if !Wants("", ScriptLines) || Wants("", ScriptContent) {
		t.Error("the default is not lines")
	}
}

func TestUnmeta(t *testing.T) {
	t.Parallel()
	if got := Unmeta("a\x83\xa3b"); got != "a\x83b" {
		t.Errorf("%q", got)
	}
	if got := Unmeta("plain\x83"); got != "plain\x83" {
		t.Errorf("%q", got)
	}
}

func FuzzFile(f *testing.F) {
	f.Add("/bin/bash", "-x\x00a")
	f.Add("/bin/awk", "--\x00-f")
	f.Fuzz(func(t *testing.T, image, args string) {
		_, file := File(image, append([]string{image}, strings.Split(args, "\x00")...))
		if file != "" && !strings.Contains(args, file) {
			t.Fatalf("%q out of %q", file, args)
		}
	})
}

func FuzzELF(f *testing.F) {
	if b, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(b)
	}
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if offset, _, err := parse(bytes.NewReader(b), "main"); err == nil && offset == 0 && len(b) == 0 {
			t.Fatal("found in nothing")
		}
	})
}
