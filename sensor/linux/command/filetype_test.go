// SPDX-License-Identifier: Apache-2.0

//go:build linux

package command

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
		want FileType
	}{
		"program":      {elfFile(2, 62, binary.LittleEndian, 6, 3, 2), FileType{Kind: "ELF", Machine: "x86_64", Form: "Executable", Interpreter: "/lib/ld.so"}},
		"static":       {elfFile(2, 183, binary.LittleEndian, 1), FileType{Kind: "ELF", Machine: "aarch64", Form: "Executable", Static: true}},
		"pie":          {elfFile(3, 62, binary.LittleEndian, 3, 2), FileType{Kind: "ELF", Machine: "x86_64", Form: "PositionIndependent", Interpreter: "/lib/ld.so"}},
		"library":      {elfFile(3, 22, binary.BigEndian, 1, 2), FileType{Kind: "ELF", Machine: "s390", Form: "SharedObject"}},
		"object":       {elfFile(1, 247, binary.LittleEndian), FileType{Kind: "ELF", Machine: "bpf", Form: "Relocatable"}},
		"cut":          {[]byte("\x7fELF\x02\x01"), FileType{Kind: "ELF"}},
		"script":       {[]byte("#!/bin/sh -e\nx"), FileType{Kind: "Script", Interpreter: "/bin/sh"}},
		"env":          {[]byte("#! /usr/bin/env -S A=b python3 -u\n"), FileType{Kind: "Script", Interpreter: "python3"}},
		"env alone":    {[]byte("#!/usr/bin/env"), FileType{Kind: "Script", Interpreter: "/usr/bin/env"}},
		"bare":         {[]byte("#!"), FileType{Kind: "Script"}},
		"pe":           {pe, FileType{Kind: "PE", Machine: "x86_64", Form: "Executable"}},
		"dll":          {dll, FileType{Kind: "PE", Machine: "x86_64", Form: "SharedObject"}},
		"dos":          {[]byte("MZ"), FileType{Kind: "Dos"}},
		"zip":          {[]byte("PK\x03\x04"), FileType{Kind: "Zip"}},
		"deb":          {[]byte("!<arch>\ndebian-binary   1"), FileType{Kind: "DebianPackage"}},
		"tar":          {tar, FileType{Kind: "Tar"}},
		"text":         {[]byte("hello"), FileType{}},
		"nothing":      {nil, FileType{}},
		"odd segments": {append(elfFile(2, 62, binary.LittleEndian)[:56], 0xff, 0xff, 0, 0, 0, 0, 0, 0), FileType{Kind: "ELF", Machine: "x86_64", Form: "Executable"}},
	} {
		if diff := cmp.Diff(c.want, TypeOf(c.b)); diff != "" {
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
	got := TypeOf(b[:SniffBytes])
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	if got.Kind != "ELF" || machine != "" && got.Machine != machine || got.Form == "" {
		t.Errorf("%+v", got)
	}
}

func TestFileTypeFields(t *testing.T) {
	t.Parallel()
	is := FileType{Kind: "ELF", Machine: "x86_64", Static: true}
	for in, want := range map[string]string{
		"":           `{"FileMachine":"x86_64","FileStatic":true,"FileType":"ELF"}`,
		`{"A":true}`: `{"A":true,"FileMachine":"x86_64","FileStatic":true,"FileType":"ELF"}`,
	} {
		if got := is.Fields(in); got != want || !json.Valid([]byte(got)) {
			t.Errorf("%q becomes %s", in, got)
		}
		if got := (FileType{}).Fields(in); got != in {
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
		if out := TypeOf(b).Fields(""); out != "" && !json.Valid([]byte(out)) {
			t.Errorf("not JSON: %s", out)
		}
	})
}
