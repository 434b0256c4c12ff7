// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/bpf"
)

// actionBytes writes a record as the kernel programs do.
func actionBytes(r *Action, base1, name1, base2, name2 string) []byte {
	le := binary.LittleEndian
	b := make([]byte, HeaderSize)
	le.PutUint16(b, TypeAction)
	le.PutUint64(b[8:], r.Time)
	le.PutUint64(b[16:], r.Start)
	le.PutUint32(b[36:], r.PID)
	le.PutUint32(b[40:], r.TID)
	b = le.AppendUint32(b, uint32(r.Kind))
	b = le.AppendUint32(b, uint32(r.Result))
	for _, a := range r.Args {
		b = le.AppendUint64(b, a)
	}
	b = le.AppendUint32(b, r.TargetPID)
	b = le.AppendUint32(b, r.TargetUID)
	b = le.AppendUint64(b, r.TargetStart)
	b = le.AppendUint64(b, r.Caps)
	b = le.AppendUint64(b, r.Image.Ino)
	b = le.AppendUint64(b, r.Image.Size)
	b = le.AppendUint64(b, uint64(r.Image.CtimeSec))
	for _, v := range []uint32{r.Image.CtimeNsec, r.Image.Dev, r.Image.Mode, r.Image.Nlink, r.Image.Sup, r.Image.UID, r.MntNS, r.PidNS, r.UsrNS, 0} {
		b = le.AppendUint32(b, v)
	}
	for _, s := range []string{base1, name1, base2, name2} {
		b = le.AppendUint32(b, uint32(len(s)))
	}
	b = append(b, base1+name1+base2+name2...)
	le.PutUint32(b[4:], uint32(len(b)))
	return b
}

func TestDecodeAction(t *testing.T) {
	t.Parallel()
	want := &Action{Kind: Mount, Result: -1, Args: [6]uint64{1, 2, 3, 4, 5, 6}, TargetPID: 7, TargetUID: 8, TargetStart: 9, Caps: 10,
		Image: ImagePart{Ino: 11, Size: 12, CtimeSec: 13, CtimeNsec: 14, Dev: 15, Mode: 16, Nlink: 17, Sup: 18, UID: 19}, MntNS: 20, PidNS: 21, UsrNS: 22,
		Base: "/srv/data", Name: "x", BaseNew: "/dev", NameNew: "sda1"}
	want.Time, want.Start, want.PID, want.TID = 100, 50, 30, 31
	b := actionBytes(want, "data\x00srv\x00", "x\x00", "dev\x00", "sda1\x00")
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want.Type, want.Len = TypeAction, uint32(len(b))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got: %s", diff)
	}
	for n := range b {
		if _, err := Decode(b[:n]); !errors.Is(err, ErrShort) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	// A folder that is not there is no root.
	got, err = Decode(actionBytes(want, "", "x\x00", "", ""))
	if a, ok := got.(*Action); err != nil || !ok || a.Base != "" || a.Name != "x" || a.BaseNew != "" {
		t.Errorf("%+v %v", got, err)
	}
}

// The decoder and the compiled programs agree on sizes and kinds.
func TestActionLayout(t *testing.T) {
	t.Parallel()
	spec, err := bpf.LoadPrivilege()
	if err != nil {
		t.Fatal(err)
	}
	var s *btf.Struct
	if err := spec.Types.TypeByName("action_record", &s); err != nil {
		t.Fatal(err)
	}
	if n := len(actionBytes(&Action{}, "", "", "", "")); int(s.Size) != n {
		t.Errorf("a record has %d bytes in the kernel, %d here", s.Size, n)
	}
	var e *btf.Enum
	if err := spec.Types.TypeByName("action", &e); err != nil {
		t.Skip("the object does not carry the names of the actions")
	}
	kinds := map[string]ActionKind{"ACT_CHMOD": Chmod, "ACT_MAP_IMAGE": MapImage, "ACT_SETUID": SetUID, "ACT_PERSONALITY": Personality,
		"ACT_MODULE_LOAD": ModuleLoad, "ACT_QUOTA": Quota, "ACT_RAW_SOCKET": RawSocket, "ACT_NETLINK": Netlink}
	for _, v := range e.Values {
		if k, ok := kinds[v.Name]; ok && uint64(k) != v.Value {
			t.Errorf("%s is %d in the kernel, %d here", v.Name, v.Value, k)
		}
	}
}

func FuzzDecodeAction(f *testing.F) {
	f.Add(actionBytes(&Action{Kind: Chmod}, "tmp\x00", "x\x00", "", ""))
	f.Add(actionBytes(&Action{Kind: Netlink, Result: -13}, "", "", "a\x00", "b\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2 {
			binary.LittleEndian.PutUint16(b, TypeAction)
		}
		rec, err := Decode(b)
		if err == nil && rec.(*Action).Type != TypeAction {
			t.Fatalf("%+v", rec)
		}
	})
}
