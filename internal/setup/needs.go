// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// need is one thing that a stage of the build looks for on the machine, and
// the Debian packages that bring it.
type need struct {
	stages   string   // the stages that need it
	paths    []string // present when one of these globs matches or is a command
	packages []string
}

var needs = []need{
	{"run test generate", []string{"gcc"}, []string{"gcc", "libc6-dev"}},
	{"run test generate", []string{"/usr/lib/gcc/*/*/libstdc++.so", "/usr/lib/gcc/*/*/libstdc++.a"}, []string{"g++"}},
	{"test", []string{"/usr/bin/chromium"}, []string{"chromium"}},
	{"test", []string{"/usr/lib/postgresql/*/bin/postgres"}, []string{"postgresql"}},
	{"test", []string{"ip"}, []string{"iproute2"}},
	{"test", []string{"nft"}, []string{"nftables"}},
	{"test", []string{"qemu-system-x86_64"}, []string{"qemu-system-x86"}},
	{"test generate", []string{"clang-19"}, []string{"clang-19"}},
	{"test generate", []string{"llvm-strip-19"}, []string{"llvm-19"}},
	{"test generate", []string{"/usr/include/bpf/bpf_helpers.h"}, []string{"libbpf-dev"}},
	{"test generate", []string{"protoc"}, []string{"protobuf-compiler"}},
}

// present reports whether a command or glob is there.
func present(pattern string) bool {
	if !strings.Contains(pattern, "/") {
		_, err := exec.LookPath(pattern)
		return err == nil
	}
	m, err := filepath.Glob(pattern)
	return err == nil && len(m) > 0
}

// missing returns the packages to install for a stage.
func missing(stage string, have func(string) bool) []string {
	var out []string
	for _, n := range needs {
		if !strings.Contains(" "+n.stages+" ", " "+stage+" ") {
			continue
		}
		found := false
		for _, p := range n.paths {
			found = found || have(p)
		}
		if !found {
			out = append(out, n.packages...)
		}
	}
	return out
}

// install brings what a stage needs, by apt on Debian as root.
func install(ctx context.Context, stage string) error {
	packages := missing(stage, present)
	if len(packages) == 0 {
		return nil
	}
	command := "apt-get install -y --no-install-recommends " + strings.Join(packages, " ")
	if os.Geteuid() != 0 || !present("apt-get") {
		return fmt.Errorf("%s needs packages that are missing; as root, run: %s", stage, command)
	}
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	if err := sh(ctx, ".", env, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	return sh(ctx, ".", env, "apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)...)
}
