// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import "testing"

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
