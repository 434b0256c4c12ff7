// SPDX-License-Identifier: Apache-2.0

//go:build linux

package fanotify

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const (
	metadataSize = 24
	infoHeader   = 4
	maxHandle    = 128 // MAX_HANDLE_SZ
)

// Kinds of information that follow an event, from linux/fanotify.h.
const (
	infoFolderName    = 2
	infoOldFolderName = 10
	infoNewFolderName = 12
)

// name is an entry of a folder.
type name struct {
	fs     fsid
	handle unix.FileHandle
	text   string
}

type event struct {
	mask         uint64
	fd           int
	pid          uint32
	at, old, new name
}

// parse reads one event and returns how many bytes it takes.
func parse(b []byte) (e event, size int, ok bool) {
	if len(b) < metadataSize {
		return e, 0, false
	}
	size = int(binary.NativeEndian.Uint32(b))
	head := int(binary.NativeEndian.Uint16(b[6:]))
	if size < metadataSize || size > len(b) || head < metadataSize || head > size || b[4] != unix.FANOTIFY_METADATA_VERSION {
		return e, 0, false
	}
	e.mask = binary.NativeEndian.Uint64(b[8:])
	e.fd = int(int32(binary.NativeEndian.Uint32(b[16:])))
	e.pid = binary.NativeEndian.Uint32(b[20:])
	for info := b[head:size]; len(info) >= infoHeader; {
		n := int(binary.NativeEndian.Uint16(info[2:]))
		if n < infoHeader || n > len(info) {
			return e, 0, false
		}
		at, good := parseName(info[infoHeader:n])
		if good {
			switch info[0] {
			case infoFolderName:
				e.at = at
			case infoOldFolderName:
				e.old = at
			case infoNewFolderName:
				e.new = at
			}
		}
		info = info[n:]
	}
	return e, size, true
}

func parseName(b []byte) (n name, ok bool) {
	if len(b) < 16 {
		return n, false
	}
	copy(n.fs[:], b)
	length := int(binary.NativeEndian.Uint32(b[8:]))
	kind := int32(binary.NativeEndian.Uint32(b[12:]))
	b = b[16:]
	if length > maxHandle || length > len(b) {
		return n, false
	}
	n.handle = unix.NewFileHandle(kind, b[:length])
	text := b[length:]
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	n.text = string(text)
	return n, true
}
