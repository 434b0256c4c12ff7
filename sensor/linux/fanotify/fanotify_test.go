// SPDX-License-Identifier: Apache-2.0

//go:build linux

package fanotify

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMounts(t *testing.T) {
	t.Parallel()
	text := `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:20 / /proc rw,nosuid - proc proc rw
24 22 0:21 / /mnt/with\040blank rw,relatime shared:2 master:3 - xfs /dev/vdb rw
25 22 0:22 / /net rw - nfs4 server:/x rw
26 22 0:23 / /tmp rw - tmpfs tmpfs rw
27 22 0:24 / /cut rw -
nonsense
`
	want := []MountPoint{{"/", "ext4"}, {"/mnt/with blank", "xfs"}, {"/tmp", "tmpfs"}}
	if diff := cmp.Diff(want, Mounts([]byte(text))); diff != "" {
		t.Error(diff)
	}
}

func info(kind byte, fs, handle, text string) []byte {
	b := make([]byte, 4+8+8)
	b[0] = kind
	copy(b[4:], fs)
	binary.NativeEndian.PutUint32(b[12:], uint32(len(handle)))
	binary.NativeEndian.PutUint32(b[16:], 1)
	b = append(append(append(b, handle...), text...), 0)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.NativeEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func message(mask uint64, pid uint32, infos ...[]byte) []byte {
	b := make([]byte, metadataSize)
	for _, i := range infos {
		b = append(b, i...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	b[4] = 3
	binary.NativeEndian.PutUint16(b[6:], metadataSize)
	binary.NativeEndian.PutUint64(b[8:], mask)
	binary.NativeEndian.PutUint32(b[16:], 0xffffffff)
	binary.NativeEndian.PutUint32(b[20:], pid)
	return b
}

func TestParse(t *testing.T) {
	t.Parallel()
	b := message(0x10000000, 77, info(infoOldFolderName, "12345678", "handle01", "from"), info(infoNewFolderName, "12345678", "handle02", "to"))
	e, n, ok := parse(append(b, 1, 2, 3))
	if !ok || n != len(b) || e.pid != 77 || e.fd != -1 || e.mask != 0x10000000 {
		t.Fatalf("%+v %d %v", e, n, ok)
	}
	if e.old.text != "from" || e.new.text != "to" || string(e.old.handle.Bytes()) != "handle01" || string(e.new.fs[:]) != "12345678" {
		t.Errorf("old %+v new %+v", e.old, e.new)
	}
	for i := range b {
		if _, _, ok := parse(b[:i]); ok {
			t.Errorf("accepted %d of %d bytes", i, len(b))
		}
	}
	b[metadataSize+2] = 0xff // an information block beyond the end
	if _, _, ok := parse(b); ok {
		t.Error("an information block beyond the end was accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(8, 1, info(infoFolderName, "12345678", "handle", "x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, n, ok := parse(b); ok && (n > len(b) || n < metadataSize || len(e.at.text) > n) {
			t.Fatalf("%d of %d bytes: %+v", n, len(b), e)
		}
		Mounts(b)
	})
}
