// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func hexadecimal(n uint64) string { return "0x" + strconv.FormatUint(n, 16) }

// octal is how modes are written.
func octal(mode uint64) string {
	s := strconv.FormatUint(mode, 8)
	return strings.Repeat("0", max(4-len(s), 0)) + s
}

// named is the name of a number, or the number.
func named(names map[uint64]string, n uint64) string {
	if s, ok := names[n]; ok {
		return s
	}
	return decimal(int64(n))
}

// numbered is the same where names follow each other from 0.
func numbered(names []string, n uint64) string {
	if n < uint64(len(names)) {
		return names[n]
	}
	return decimal(int64(n))
}

// flag is one bit and its name.
type flag struct {
	bit  uint64
	name string
}

// flagged lists the names of the bits that are set; what has no name is one
// number at the end.
func flagged(names []flag, bits uint64) []string {
	out := []string{}
	for _, f := range names {
		if bits&f.bit == f.bit {
			out, bits = append(out, f.name), bits&^f.bit
		}
	}
	if bits != 0 {
		out = append(out, hexadecimal(bits))
	}
	return out
}

var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// Capabilities lists the names of a set.
func Capabilities(set uint64) []string {
	out := []string{}
	for i, name := range capabilities {
		if set&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	if rest := set >> len(capabilities) << len(capabilities); rest != 0 {
		out = append(out, hexadecimal(rest))
	}
	return out
}

// FileCapabilities reads the value of the attribute security.capability:
// what a program that has it may do; nil when it is none.
func FileCapabilities(value []byte) []string {
	const revision1, revision2, revision3 = 1, 2, 3
	if len(value) < 12 {
		return nil
	}
	set := uint64(binary.LittleEndian.Uint32(value[4:]))
	switch value[3] {
	case revision1:
	case revision2, revision3:
		if len(value) < 20 {
			return nil
		}
		set |= uint64(binary.LittleEndian.Uint32(value[12:])) << 32
	default:
		return nil
	}
	return Capabilities(set)
}

// IsSetUID and IsSetGID report whether a mode makes a program run with the
// rights of its owner or group.
func IsSetUID(mode uint32) bool { return mode&unix.S_ISUID != 0 && mode&0o111 != 0 }

func IsSetGID(mode uint32) bool { return mode&unix.S_ISGID != 0 && mode&0o010 != 0 }

// inline is the text that stands in the arguments from one on.
func inline(r *Action, from, words int) string {
	return Clean(CString(bytesOf(r, from, words)))
}

func bytesOf(r *Action, from, words int) []byte {
	b := make([]byte, 0, 8*words)
	for _, word := range r.Args[from : from+words] {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	return b
}

// value shows the bytes of an attribute: as text where they are text.
func value(b []byte) string {
	b = bytes.TrimRight(b, "\x00")
	plain := !slices.ContainsFunc(b, func(c byte) bool { return c < 0x20 || c > 0x7e })
	if plain {
		return string(b)
	}
	return hex.EncodeToString(b)
}
