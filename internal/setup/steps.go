// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// tool runs a program pinned in tools.mod.
func tool(name string, args ...string) []string {
	return append([]string{"go", "tool", "-modfile=tools.mod", name}, args...)
}

// generators derive every committed generated file.
var generators = []step{
	{name: "tables", args: []string{"go", "run", "./internal/gen"}},
	{name: "protocol", args: []string{"go", "run", "./internal/setup", "protocol"}},
	{name: "BPF objects", args: []string{"go", "generate", "./bpf"}},
	{name: "OpenAPI", args: []string{"go", "test", "./api", "-run", "OpenAPI", "-update"}},
	{name: "portal packages", args: []string{"go", "run", "./internal/setup", "web"}},
	{name: "portal types", dir: "web", args: []string{"npm", "run", "--silent", "generate"}},
}

// generated are the folders and patterns that hold what generators write.
var generated = []string{"schema/zz_*.go", "event/zz_*.go", "docs/tables/*.md", "wire/wirepb/*.go", "wire/wirepb/*/*.go", "bpf/*_bpfel.*", "api/openapi.json", "web/src/api/*.gen.ts"}

// checks is everything that make check does.
var checks = []step{
	{name: "gofmt", args: []string{"go", "run", "./internal/setup", "gofmt"}},
	{name: "vet", args: []string{"go", "vet", "./..."}},
	{name: "staticcheck", args: tool("staticcheck", "./...")},
	{name: "known vulnerabilities", args: []string{"go", "run", "./internal/setup", "vulnerabilities"}},
	{name: "house rules", args: []string{"go", "test", "-count=1", "./internal/layers"}},
	{name: "generated code", args: []string{"go", "run", "./internal/setup", "generated"}},
	{name: "built-in rules", args: []string{"go", "run", "./cmd/picket", "rules", "test", "content/rules"}},
	{name: "sensor for linux/arm64", env: []string{"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0"}, args: []string{"go", "build", "-o", os.DevNull, "./cmd/picket-sensor"}},
	{name: "sensor for windows/amd64", env: []string{"GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0"}, args: []string{"go", "build", "-o", os.DevNull, "./cmd/picket-sensor"}},
	{name: "portal", dir: "web", args: []string{"npm", "run", "--silent", "check"}},
}

// benchmarks print the figures of docs/benchmarks.md.
var benchmarks = []step{
	{name: "event encoding", args: []string{"go", "test", "-run", "^$", "-bench", ".", "./event"}},
	{name: "detection", args: []string{"go", "test", "-run", "^$", "-bench", ".", "./detect"}},
	{name: "store", args: []string{"go", "test", "-run", "^$", "-bench", ".", "./store/..."}},
	{name: "gateway", args: []string{"go", "test", "-run", "^$", "-bench", ".", "./gateway"}},
	{name: "ingest end to end", args: []string{"bin/picket", "bench", "ingest", "--json"}},
}

// protocol compiles wire.proto with the pinned plugins.
func protocol(ctx context.Context) error {
	bin, err := os.MkdirTemp("", "picket-plugins-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	if err := sh(ctx, ".", nil, "go", "build", "-modfile=tools.mod", "-o", bin+"/", "google.golang.org/protobuf/cmd/protoc-gen-go", "connectrpc.com/connect/cmd/protoc-gen-connect-go"); err != nil {
		return err
	}
	const module = "module=github.com/picket-edr/picket"
	return sh(ctx, ".", []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, "protoc", "--go_out=.", "--go_opt="+module, "--connect-go_out=.", "--connect-go_opt="+module, "wire/wire.proto")
}

// unformatted fails when a Go file is not in gofmt's form.
func unformatted(ctx context.Context) error {
	files, err := exec.CommandContext(ctx, "git", "ls-files", "*.go").Output()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "gofmt", append([]string{"-l"}, strings.Fields(string(files))...)...).Output()
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(out)) > 0 {
		return fmt.Errorf("run gofmt on:\n%s", out)
	}
	return nil
}

// vulnerabilities asks the Go vulnerability database. Where it cannot be
// reached (an air-gapped build) the check says so and passes.
func vulnerabilities(ctx context.Context) error {
	args := tool("govulncheck", "./...")
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("vuln.go.dev")) && bytes.Contains(out, []byte("fetching")) {
		fmt.Fprintln(os.Stderr, "the vulnerability database cannot be reached from here; not checked")
		return nil
	}
	os.Stderr.Write(out)
	return err
}

// sums hashes the generated files.
func sums() (map[string][32]byte, error) {
	m := map[string][32]byte{}
	for _, pattern := range generated {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			data, err := os.ReadFile(p)
			if err != nil {
				return nil, err
			}
			m[p] = sha256.Sum256(data)
		}
	}
	return m, nil
}

// regenerated runs the generators and fails when a committed file changes.
func regenerated(ctx context.Context) error {
	before, err := sums()
	if err != nil {
		return err
	}
	if err := all(ctx, generators); err != nil {
		return err
	}
	after, err := sums()
	if err != nil {
		return err
	}
	var stale []string
	for p, sum := range after {
		if before[p] != sum {
			stale = append(stale, p)
		}
	}
	for p := range before {
		if _, ok := after[p]; !ok {
			stale = append(stale, p)
		}
	}
	if len(stale) > 0 {
		sort.Strings(stale)
		return fmt.Errorf("generated files were stale, commit them: %s", strings.Join(stale, ", "))
	}
	return nil
}
