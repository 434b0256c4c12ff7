// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"slices"
	"testing"
)

func TestLately(t *testing.T) {
	t.Parallel()
	l := &Lately{}
	r, told := &Action{Kind: Chmod}, &Told{Path: "/x"}
	for i, c := range []struct {
		at   uint64
		mode uint64
		want bool
	}{{1e9, 1, false}, {1.5e9, 1, true}, {1.6e9, 2, false}, {2.1e9, 1, true}, {9e9, 1, false}, {9.5e9, 2, false}} {
		r.Time, r.Args[0] = c.at, c.mode
		if got := l.Again(r, told); got != c.want {
			t.Errorf("%d: told before: %v", i, got)
		}
	}
	for i := range maxLately + 10 {
		l.again(repeatKey{pid: uint32(i)}, 9e9)
	}
	if len(l.now) != maxLately {
		t.Errorf("%d are remembered", len(l.now))
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	b := Rights{Known: true, UID: 1, EUID: 2, GID: 3, EGID: 4, MntNS: 5, PidNS: 6, NetNS: 7, UsrNS: 8}
	unset := ^uint64(0)
	for kind, want := range map[ActionKind][2]uint64{SetUID: {1, 2}, SetGID: {3, 4}, CapSet: {unset, unset}} {
		r := &Action{Kind: kind, Args: [6]uint64{0, unset, unset}}
		if b.Complete(r); r.Args[1] != want[0] || r.Args[2] != want[1] {
			t.Errorf("%d: %v, want %v", kind, r.Args, want)
		}
	}
	r := &Action{MntNS: 5, PidNS: 9, UsrNS: 10}
	r.NetNS = 7
	if got := b.Entered(r); !slices.Equal(got, []string{"Pid", "User"}) {
		t.Errorf("%v", got)
	}
	if !Explains(Unshare) || Explains(Memfd) {
		t.Error("the wrong calls change rights")
	}
}
