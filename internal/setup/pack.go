// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// platforms that the sensor and the command line are packaged for.
var platforms = []struct{ os, arch string }{{"linux", "amd64"}, {"linux", "arm64"}, {"windows", "amd64"}}

// pack writes dist/*.tar.gz and dist/SHA256SUMS: the static programs for every
// platform, and the server for this one (it links an engine in C++).
func pack(ctx context.Context, version string) error {
	if version == "" {
		version = "0.1.0"
	}
	if err := os.MkdirAll("dist", 0o755); err != nil {
		return err
	}
	var archives []string
	for _, p := range platforms {
		for _, program := range []string{"picket-sensor", "picket"} {
			a, err := packStatic(ctx, program, version, p.os, p.arch)
			if err != nil {
				return err
			}
			archives = append(archives, a)
		}
	}
	server := filepath.Join("dist", "picketd-"+version+"-linux.tar.gz")
	if err := archive(server, "bin/picketd", "LICENSE", "README.md"); err != nil {
		return err
	}
	return checksums(append(archives, server))
}

func packStatic(ctx context.Context, program, version, goos, arch string) (string, error) {
	dir, err := os.MkdirTemp("", "picket-package-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	name := program
	if goos == "windows" {
		name += ".exe"
	}
	binary := filepath.Join(dir, name)
	env := []string{"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + arch}
	ld := "-s -w -X github.com/picket-edr/picket.Version=" + version
	if err := sh(ctx, ".", env, "go", "build", "-trimpath", "-ldflags", ld, "-o", binary, "./cmd/"+program); err != nil {
		return "", err
	}
	out := filepath.Join("dist", fmt.Sprintf("%s-%s-%s-%s.tar.gz", program, version, goos, arch))
	return out, archive(out, binary, "LICENSE")
}

// archive writes files, without their folders, into a gzipped tar.
func archive(out string, files ...string) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	zw := gzip.NewWriter(f)
	tw := tar.NewWriter(zw)
	for _, path := range files {
		if err := add(tw, path); err != nil {
			return fmt.Errorf("%s: %s: %w", out, path, err)
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	return f.Close()
}

func add(tw *tar.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: filepath.Base(path), Mode: int64(info.Mode().Perm()), Size: info.Size(), Format: tar.FormatPAX}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

func checksums(files []string) error {
	out, err := os.Create("dist/SHA256SUMS")
	if err != nil {
		return err
	}
	defer out.Close()
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%x  %s\n", sha256.Sum256(data), filepath.Base(path))
	}
	return out.Close()
}
