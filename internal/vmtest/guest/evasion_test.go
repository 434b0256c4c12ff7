// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"debug/elf"
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The acts do what they say: a rung that sees nothing is blind, not spared.
func TestEvasionsAreDone(t *testing.T) {
	t.Parallel()
	for _, k := range evasionKinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			if runtime.GOARCH != "amd64" {
				t.Skip("32-bit programs are those of amd64")
			}
			a, err := k.do(t.Context(), t.TempDir())
			if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOEXEC) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if k.Action == "FileDeleted" {
				if _, err := os.Stat(a.Path("gone")); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the file is there still: %v", err)
				}
				return
			}
			if got, err := os.ReadFile(a.Path("made")); string(got) != "12345" {
				t.Errorf("%q %v", got, err)
			}
		})
	}
}

func TestSmallProgram(t *testing.T) {
	t.Parallel()
	name := t.TempDir() + "/small"
	if err := os.WriteFile(name, smallProgram("/a/made", "/a/gone"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Class != elf.ELFCLASS32 || f.Machine != elf.EM_386 || len(f.Progs) != 1 || f.Entry != f.Progs[0].Vaddr+52+32 {
		t.Errorf("program %+v", f.FileHeader)
	}
	b := make([]byte, f.Progs[0].Filesz)
	if _, err := f.Progs[0].ReadAt(b, 0); err != nil || string(b[len(b)-22:]) != "12345\x00/a/made\x00/a/gone\x00" {
		t.Errorf("texts %q %v", b, err)
	}
}
