// SPDX-License-Identifier: Apache-2.0

//go:build linux

package command

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"path"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/record"
)

// SniffBytes is how much of a file is looked at to tell what it is.
const SniffBytes = 4096

// FileType is what the first bytes of a file say that it is.
type FileType struct {
	Kind        string // ELF, Script, PE, Zip, ...
	Machine     string // of ELF and PE: x86_64, aarch64, ...
	Form        string // of ELF: Executable, PositionIndependent, SharedObject, Relocatable, Core
	Static      bool   // an ELF executable that needs no loader
	Interpreter string // of a script, or loader of an ELF executable
}

// magics are the beginnings of kinds of file that are told by them alone.
var magics = []struct{ magic, kind string }{
	{"PK\x03\x04", "Zip"}, {"\x1f\x8b", "Gzip"}, {"\xfd7zXZ\x00", "Xz"}, {"BZh", "Bzip2"}, {"\x28\xb5\x2f\xfd", "Zstandard"}, {"7z\xbc\xaf\x27\x1c", "7Zip"},
	{"Rar!\x1a\x07", "Rar"}, {"!<arch>\ndebian-binary", "DebianPackage"}, {"!<arch>\n", "Ar"}, {"\xed\xab\xee\xdb", "RpmPackage"}, {"hsqs", "SquashFS"},
	{"\xca\xfe\xba\xbe", "JavaClass"}, {"%PDF-", "Pdf"}, {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "OleDocument"}, {"\x00asm", "WebAssembly"}, {"dex\n", "Dex"},
	{"070701", "Cpio"}, {"070702", "Cpio"}, {"\xcf\xfa\xed\xfe", "MachO"}, {"SQLite format 3\x00", "SQLite"},
}

// TypeOf tells a file by its first bytes; Kind is empty when nothing is known.
func TypeOf(b []byte) FileType {
	switch {
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		return elfType(b)
	case bytes.HasPrefix(b, []byte("#!")):
		return FileType{Kind: "Script", Interpreter: shebang(b)}
	case bytes.HasPrefix(b, []byte("MZ")):
		return peType(b)
	case len(b) > 262 && string(b[257:262]) == "ustar":
		return FileType{Kind: "Tar"}
	}
	for _, m := range magics {
		if bytes.HasPrefix(b, []byte(m.magic)) {
			return FileType{Kind: m.kind}
		}
	}
	return FileType{}
}

// shebang returns the program that a script names; for env, the one that it
// looks for.
func shebang(b []byte) string {
	line, _, _ := bytes.Cut(b[2:min(len(b), 256)], []byte("\n"))
	f := strings.Fields(record.Clean(string(line)))
	if len(f) == 0 {
		return ""
	}
	if path.Base(f[0]) != "env" {
		return f[0]
	}
	for _, arg := range f[1:] {
		if !strings.HasPrefix(arg, "-") && !strings.Contains(arg, "=") {
			return arg
		}
	}
	return f[0]
}

// elfType reads the header of an ELF file and, as far as they are there, those
// of its segments. Nothing that they say is trusted with more than a look.
func elfType(b []byte) FileType {
	t := FileType{Kind: "ELF"}
	if len(b) < 52 || b[elf.EI_CLASS] != 1 && b[elf.EI_CLASS] != 2 {
		return t
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		order = binary.BigEndian
	}
	wide := b[elf.EI_CLASS] == byte(elf.ELFCLASS64)
	if wide && len(b) < 64 {
		return t
	}
	t.Machine = machineName(elf.Machine(order.Uint16(b[18:])))
	interp, dynamic, whole := elfSegments(b, order, wide)
	switch elf.Type(order.Uint16(b[16:])) {
	case elf.ET_EXEC:
		t.Form = "Executable"
	case elf.ET_DYN:
		t.Form = "SharedObject"
		if interp != "" || whole && !dynamic {
			t.Form = "PositionIndependent"
		}
	case elf.ET_REL:
		t.Form = "Relocatable"
	case elf.ET_CORE:
		t.Form = "Core"
	}
	t.Interpreter = interp
	t.Static = interp == "" && whole && t.Form == "Executable"
	return t
}

// elfSegments looks for the name of the loader. whole says that all headers of
// segments were in sight.
func elfSegments(b []byte, order binary.ByteOrder, wide bool) (interp string, dynamic, whole bool) {
	var at uint64
	var size, n int
	if wide {
		at, size, n = order.Uint64(b[32:]), int(order.Uint16(b[54:])), int(order.Uint16(b[56:]))
	} else {
		at, size, n = uint64(order.Uint32(b[28:])), int(order.Uint16(b[42:])), int(order.Uint16(b[44:]))
	}
	need := 32
	if wide {
		need = 56
	}
	if size < need || at > uint64(len(b)) {
		return "", false, false
	}
	whole = true
	for i := range n {
		from := int(at) + i*size
		if from+need > len(b) {
			return interp, dynamic, false
		}
		h := b[from : from+need]
		switch elf.ProgType(order.Uint32(h)) {
		case elf.PT_DYNAMIC:
			dynamic = true
		case elf.PT_INTERP:
			offset, length := uint64(order.Uint32(h[4:])), uint64(order.Uint32(h[16:]))
			if wide {
				offset, length = order.Uint64(h[8:]), order.Uint64(h[32:])
			}
			if offset >= uint64(len(b)) || length > 256 || length > uint64(len(b))-offset {
				whole = false
				continue
			}
			name, _, _ := bytes.Cut(b[offset:offset+length], []byte{0})
			interp = record.Clean(string(name))
		}
	}
	return interp, dynamic, whole
}

// machineName is how the kernel calls a kind of processor.
func machineName(m elf.Machine) string {
	switch m {
	case elf.EM_X86_64:
		return "x86_64"
	case elf.EM_386:
		return "i386"
	case elf.EM_AARCH64:
		return "aarch64"
	case elf.EM_ARM:
		return "arm"
	case elf.EM_BPF:
		return "bpf"
	}
	return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
}

// peType reads the kind of processor of a Windows program.
func peType(b []byte) FileType {
	t := FileType{Kind: "Dos"}
	if len(b) < 64 {
		return t
	}
	at := binary.LittleEndian.Uint32(b[60:])
	if uint64(at)+24 > uint64(len(b)) || string(b[at:at+4]) != "PE\x00\x00" {
		return t
	}
	t.Kind = "PE"
	switch binary.LittleEndian.Uint16(b[at+4:]) {
	case 0x8664:
		t.Machine = "x86_64"
	case 0x14c:
		t.Machine = "i386"
	case 0xaa64:
		t.Machine = "aarch64"
	}
	t.Form = "Executable"
	if binary.LittleEndian.Uint16(b[at+22:])&0x2000 != 0 {
		t.Form = "SharedObject"
	}
	return t
}

// Fields adds what is known to a JSON object of AdditionalFields, without
// taking apart what is there: that was written here and holds none of them.
func (t FileType) Fields(object string) string {
	if t.Kind == "" {
		return object
	}
	m := map[string]any{"FileType": t.Kind}
	for key, value := range map[string]string{"FileMachine": t.Machine, "FileForm": t.Form, "Interpreter": t.Interpreter} {
		if value != "" {
			m[key] = value
		}
	}
	if t.Static {
		m["FileStatic"] = true
	}
	added := JSON(m)
	if object == "" {
		return added
	}
	return strings.TrimSuffix(object, "}") + "," + added[1:]
}
