// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"encoding/binary"
	"net/netip"
	"runtime"

	"github.com/picket-edr/picket/sensor/linux/record"
)

// Kinds of entry in utmp, wtmp and btmp that matter here.
const (
	utUser = 7 // somebody logged on
	utDead = 8 // a session ended
)

// utmpEntry is one record of utmp, wtmp or btmp.
type utmpEntry struct {
	kind     int16
	pid      int32
	line     string // terminal
	user     string
	host     string
	addr     netip.Addr
	unixTime int64
}

// utmpLayout is where fields lie: 32-bit times on amd64, 64-bit ones on arm64.
type utmpLayout struct{ size, seconds, address int }

func layoutOf(arch string) utmpLayout {
	if arch == "arm64" {
		return utmpLayout{size: 400, seconds: 344, address: 360}
	}
	return utmpLayout{size: 384, seconds: 340, address: 348}
}

func nativeLayout() utmpLayout { return layoutOf(runtime.GOARCH) }

// parseUtmp reads whole records; what follows the last one is left.
func parseUtmp(b []byte, l utmpLayout) []utmpEntry {
	var out []utmpEntry
	for ; len(b) >= l.size; b = b[l.size:] {
		e := utmpEntry{
			kind: int16(binary.LittleEndian.Uint16(b)),
			pid:  int32(binary.LittleEndian.Uint32(b[4:])),
			line: record.Clean(record.CString(b[8:40])),
			user: record.Clean(record.CString(b[44:76])),
			host: record.Clean(record.CString(b[76:332])),
			addr: utmpAddress(b[l.address : l.address+16]),
		}
		if l.size == 400 {
			e.unixTime = int64(binary.LittleEndian.Uint64(b[l.seconds:]))
		} else {
			e.unixTime = int64(binary.LittleEndian.Uint32(b[l.seconds:]))
		}
		out = append(out, e)
	}
	return out
}

// utmpAddress reads 16 bytes of which an IPv4 address takes the first four.
func utmpAddress(b []byte) netip.Addr {
	a := netip.AddrFrom16([16]byte(b))
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	for _, x := range b[4:] {
		if x != 0 {
			return a.Unmap()
		}
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}
