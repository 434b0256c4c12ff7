// SPDX-License-Identifier: Apache-2.0

//go:build linux

package command

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxELF      = 64 << 20
	maxSymbols  = 16 << 20 // bytes of a table
	maxSections = 1024
)

// ErrNoFunction says that a file has no function by which lines are read.
var ErrNoFunction = errors.New("the shell names no function that reads lines")

// Functions by which shells read lines, by the name of the shell.
var readers = map[string]string{"bash": "readline", "rbash": "readline", "zsh": "zleentry"}

// Shells lists files that are looked for when a sensor starts.
var Shells = []string{"/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash", "/bin/zsh", "/usr/bin/zsh", "/usr/local/bin/zsh"}

// Reads reports whether an image is a shell whose lines can be seen.
func Reads(image string) bool {
	return readers[strings.TrimRight(path.Base(image), "0123456789.-")] != ""
}

// Target is a function in an open file.
type Target struct {
	File     *os.File // by its path only; the caller closes it
	Function string
	Offset   uint64
	Dev, Ino uint64
}

// Find opens a shell, or the library that it reads lines by, and finds the
// function in it. The file is opened by a name that leads to it, image tells
// what it is called; libraries are looked for below root.
func Find(image, file, root string) (*Target, error) {
	function := readers[strings.TrimRight(path.Base(image), "0123456789.-")]
	if function == "" {
		return nil, ErrNoFunction
	}
	t, needed, err := look(file, function)
	if err == nil || !errors.Is(err, ErrNoFunction) {
		return t, err
	}
	for _, lib := range needed {
		if !strings.HasPrefix(lib, "libreadline.so") || strings.Contains(lib, "/") {
			continue
		}
		for _, dir := range libraryDirs() {
			if t, _, err := look(filepath.Join(root, dir, lib), function); err == nil {
				return t, nil
			}
		}
	}
	return nil, err
}

func libraryDirs() []string {
	return []string{"lib64", "usr/lib64", "lib", "usr/lib", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu",
		"lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/local/lib"}
}

// look finds a function in one file, and which libraries the file needs.
func look(name, function string) (*Target, []string, error) {
	// Looked at before it is opened: a pipe or device in its place must not be.
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", name, err)
	}
	keep := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxELF) {
		err = errors.New("no plain file of a fair size")
	}
	var offset uint64
	var needed []string
	if err == nil {
		var f *os.File
		if f, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
			offset, needed, err = parse(f, function)
			f.Close()
		}
	}
	if err != nil {
		keep.Close()
		return nil, needed, err
	}
	return &Target{File: keep, Function: function, Offset: offset, Dev: st.Dev, Ino: st.Ino}, nil, nil
}

// parse reads an ELF file, which may be made to harm. The library that does it
// promises nothing for such: it is kept from unpacking sections, and what it
// does not survive becomes an error.
func parse(r io.ReaderAt, function string) (offset uint64, needed []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged ELF file: %v", p)
		}
	}()
	f, err := elf.NewFile(r)
	if err != nil {
		return 0, nil, err
	}
	if len(f.Sections) > maxSections {
		return 0, nil, errors.New("too many sections")
	}
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_COMPRESSED != 0 || s.Type != elf.SHT_NOBITS && s.FileSize > maxSymbols && isTable(s.Type) {
			return 0, nil, fmt.Errorf("section %.32q is not as a linker makes it", s.Name)
		}
	}
	needed, _ = f.ImportedLibraries() // a static one has none
	symbols, _ := f.DynamicSymbols()
	if more, err := f.Symbols(); err == nil {
		symbols = append(symbols, more...)
	}
	for _, s := range symbols {
		if s.Name != function || elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Section == elf.SHN_UNDEF || s.Value == 0 {
			continue
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && s.Value >= p.Vaddr && s.Value-p.Vaddr < p.Filesz {
				return s.Value - p.Vaddr + p.Off, needed, nil
			}
		}
	}
	return 0, needed, ErrNoFunction
}

func isTable(t elf.SectionType) bool {
	return t == elf.SHT_DYNSYM || t == elf.SHT_SYMTAB || t == elf.SHT_STRTAB || t == elf.SHT_DYNAMIC
}

// Unmeta undoes how zsh keeps bytes that mean something to itself.
func Unmeta(s string) string {
	const meta = 0x83
	if strings.IndexByte(s, meta) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == meta && i+1 < len(s) {
			i++
			b.WriteByte(s[i] ^ 32)
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
