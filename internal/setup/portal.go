// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// portal builds web/dist when the sources differ from those of the last build.
func portal(ctx context.Context, dir string) error {
	sum, err := sourceSum(dir)
	if err != nil {
		return err
	}
	stamp := filepath.Join(dir, "node_modules", ".picket-built")
	old, _ := os.ReadFile(stamp)
	if _, err := os.Stat(filepath.Join(dir, "dist", "index.html")); err == nil && string(old) == sum {
		return nil
	}
	if err := packages(ctx, dir); err != nil {
		return err
	}
	if err := sh(ctx, dir, nil, "npm", "run", "--silent", "build"); err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(sum), 0o644)
}

// packages installs the locked npm packages when the lock file changed.
func packages(ctx context.Context, dir string) error {
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(lock)
	stamp := filepath.Join(dir, "node_modules", ".picket-installed")
	if old, err := os.ReadFile(stamp); err == nil && string(old) == hex.EncodeToString(sum[:]) {
		return nil
	}
	if err := sh(ctx, dir, nil, "npm", "ci", "--no-audit", "--no-fund", "--silent"); err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(hex.EncodeToString(sum[:])), 0o644)
}

// sourceSum hashes everything that the portal is built from.
func sourceSum(dir string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "node_modules", "dist", "e2e":
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(path, ".go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		h.Write([]byte(path + "\x00"))
		h.Write(data)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}
