// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"testing"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"/home/a", "x", "/home/a/x"},
		{"/home/a", "../b/./x", "/home/b/x"},
		{"/home/a", "/etc//passwd", "/etc/passwd"},
		{"/home/a", "", ""},
		{"/", "x", "/x"},
	} {
		if got := resolve(c[0], c[1]); got != c[2] {
			t.Errorf("resolve(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestPassed(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"/home/a", "x", "/home/a/x"},
		{"/home/a", "../b", "/home/b"},
		{"/", "/etc//passwd", "/etc/passwd"},
		{"", "/etc/passwd", "/etc/passwd"},
		{"/srv/jail", "/etc/passwd", "/srv/jail/etc/passwd"},
		{"/srv/jail", "/../../etc", "/srv/jail/etc"},
		{"/srv/jail", "", ""},
	} {
		if got := passed(c[0], c[1]); got != c[2] {
			t.Errorf("passed(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestTTYName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"pts3": "pts/3", "tty1": "tty1", "": "", "ptsx": "ptsx", "ttyS0": "ttyS0"} {
		if got := ttyName(in); got != want {
			t.Errorf("ttyName(%q) = %q, want %q", in, got, want)
		}
	}
}
