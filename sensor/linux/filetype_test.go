// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// elfFile is a header with segments of the given types, and a loader's name
// where one is of type 3.
func elfFile(kind, machine uint16, order binary.AppendByteOrder, segments ...uint32) []byte {
	data := byte(1)
	if order.String() == "BigEndian" {
		data = 2
	}
	b := append([]byte("\x7fELF\x02"), data, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = order.AppendUint16(b, kind)
	b = order.AppendUint16(b, machine)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint64(b, 0)
	b = order.AppendUint64(b, 64)
	b = order.AppendUint64(b, 0)
	b = order.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, uint16(len(segments)), 0, 0, 0} {
		b = order.AppendUint16(b, v)
	}
	const loader = "/lib/ld.so\x00"
	for _, s := range segments {
		b = order.AppendUint32(b, s)
		b = order.AppendUint32(b, 0)
		b = order.AppendUint64(b, uint64(64+56*len(segments)))
		for range 2 {
			b = order.AppendUint64(b, 0)
		}
		b = order.AppendUint64(b, uint64(len(loader)))
		for range 2 {
			b = order.AppendUint64(b, 0)
		}
	}
	return append(b, loader...)
}

func TestTypeOf(t *testing.T) {
	t.Parallel()
	pe := make([]byte, 200)
	copy(pe, "MZ")
	pe[60] = 128
	copy(pe[128:], "PE\x00\x00\x64\x86")
	dll := bytes.Clone(pe)
	dll[128+23] = 0x20
	tar := make([]byte, 512)
	copy(tar[257:], "ustar")
	for name, c := range map[string]struct {
		b    []byte
		want fileType
	}{
		"program":      {elfFile(2, 62, binary.LittleEndian, 6, 3, 2), fileType{Kind: "ELF", Machine: "x86_64", Form: "Executable", Interpreter: "/lib/ld.so"}},
		"static":       {elfFile(2, 183, binary.LittleEndian, 1), fileType{Kind: "ELF", Machine: "aarch64", Form: "Executable", Static: true}},
		"pie":          {elfFile(3, 62, binary.LittleEndian, 3, 2), fileType{Kind: "ELF", Machine: "x86_64", Form: "PositionIndependent", Interpreter: "/lib/ld.so"}},
		"library":      {elfFile(3, 22, binary.BigEndian, 1, 2), fileType{Kind: "ELF", Machine: "s390", Form: "SharedObject"}},
		"object":       {elfFile(1, 247, binary.LittleEndian), fileType{Kind: "ELF", Machine: "bpf", Form: "Relocatable"}},
		"cut":          {[]byte("\x7fELF\x02\x01"), fileType{Kind: "ELF"}},
		"script":       {[]byte("#!/bin/sh -e\nx"), fileType{Kind: "Script", Interpreter: "/bin/sh"}},
		"env":          {[]byte("#! /usr/bin/env -S A=b python3 -u\n"), fileType{Kind: "Script", Interpreter: "python3"}},
		"env alone":    {[]byte("#!/usr/bin/env"), fileType{Kind: "Script", Interpreter: "/usr/bin/env"}},
		"bare":         {[]byte("#!"), fileType{Kind: "Script"}},
		"pe":           {pe, fileType{Kind: "PE", Machine: "x86_64", Form: "Executable"}},
		"dll":          {dll, fileType{Kind: "PE", Machine: "x86_64", Form: "SharedObject"}},
		"dos":          {[]byte("MZ"), fileType{Kind: "Dos"}},
		"zip":          {[]byte("PK\x03\x04"), fileType{Kind: "Zip"}},
		"deb":          {[]byte("!<arch>\ndebian-binary   1"), fileType{Kind: "DebianPackage"}},
		"tar":          {tar, fileType{Kind: "Tar"}},
		"text":         {[]byte("hello"), fileType{}},
		"nothing":      {nil, fileType{}},
		"odd segments": {append(elfFile(2, 62, binary.LittleEndian)[:56], 0xff, 0xff, 0, 0, 0, 0, 0, 0), fileType{Kind: "ELF", Machine: "x86_64", Form: "Executable"}},
	} {
		if diff := cmp.Diff(c.want, typeOf(c.b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The test itself is a real program.
func TestTypeOfThisProgram(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	got := typeOf(b[:sniffBytes])
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	if got.Kind != "ELF" || machine != "" && got.Machine != machine || got.Form == "" {
		t.Errorf("%+v", got)
	}
}

func TestFileTypeFields(t *testing.T) {
	t.Parallel()
	is := fileType{Kind: "ELF", Machine: "x86_64", Static: true}
	for in, want := range map[string]string{
		"":           `{"FileMachine":"x86_64","FileStatic":true,"FileType":"ELF"}`,
		`{"A":true}`: `{"A":true,"FileMachine":"x86_64","FileStatic":true,"FileType":"ELF"}`,
	} {
		if got := is.fields(in); got != want || !json.Valid([]byte(got)) {
			t.Errorf("%q becomes %s", in, got)
		}
		if got := (fileType{}).fields(in); got != in {
			t.Errorf("%q becomes %s", in, got)
		}
	}
}

func FuzzTypeOf(f *testing.F) {
	f.Add(elfFile(2, 62, binary.LittleEndian, 6, 3, 2))
	f.Add(elfFile(3, 22, binary.BigEndian, 3))
	f.Add([]byte("MZ" + strings.Repeat("\xff", 70)))
	f.Add([]byte("#!/usr/bin/env x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if out := typeOf(b).fields(""); out != "" && !json.Valid([]byte(out)) {
			t.Errorf("not JSON: %s", out)
		}
	})
}

func TestPackageManager(t *testing.T) {
	t.Parallel()
	apt := &process{path: "/usr/bin/apt-get", cmdline: "apt-get install x"}
	chain := func(n int, p *process) *process {
		for range n {
			p = &process{path: "/bin/sh", cmdline: "/bin/sh -c x", parent: p}
		}
		return p
	}
	for name, c := range map[string]struct {
		p    *process
		want string
	}{
		"itself":       {apt, "apt"},
		"child":        {chain(7, apt), "apt"},
		"too far":      {chain(8, apt), ""},
		"nearest":      {&process{path: "/usr/bin/dpkg", parent: apt}, "dpkg"},
		"other folder": {&process{path: "/tmp/dpkg"}, ""},
		"script":       {&process{path: "/usr/bin/python3.11", cmdline: "/usr/bin/python3 /usr/bin/dnf install x"}, "dnf"},
		"module":       {&process{path: "/usr/bin/python3.11", cmdline: "python3 -u -m pip install x"}, "pip"},
		"virtual":      {&process{path: "/usr/bin/python3.11", cmdline: "/home/a/v/bin/python /home/a/v/bin/pip install x"}, "pip"},
		"node":         {&process{path: "/usr/bin/node", cmdline: "node /usr/lib/node_modules/npm/bin/npm-cli.js i"}, "npm"},
		"fake script":  {&process{path: "/usr/bin/python3.11", cmdline: "python3 /tmp/dnf"}, ""},
		"other":        {&process{path: "/usr/bin/vim", cmdline: "vim /usr/bin/dnf"}, ""},
		"none":         {nil, ""},
		"short":        {&process{path: "/usr/bin/python3", cmdline: "python3 -m"}, ""},
	} {
		if got := packageManager(c.p); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
