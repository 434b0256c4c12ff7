// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	maxFile   = 1 << 20
	maxIndex  = 8 << 20 // files that hold all containers of a store
	maxDirs   = 64
	maxText   = 512
	maxLabels = 64
)

// read returns a whole file of at most limit bytes, nil for what is no plain
// file, larger or not there. A pipe in its place does not make it wait.
func read(name string, limit int64) []byte {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	return readAll(f, limit)
}

// readBelow is read for a folder of a user: no link leads out of it.
func readBelow(dir, name string, limit int64) []byte {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	return readAll(f, limit)
}

func readAll(f *os.File, limit int64) []byte {
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() > limit {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil
	}
	return b
}

// folders lists the folders within one.
func folders(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, err := f.ReadDir(maxDirs)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out
}

// clip makes text of a runtime fit for a row.
func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// labelsJSON encodes labels without those that Kubernetes adds for itself,
// which have columns of their own.
func labelsJSON(labels map[string]string) string {
	kept := map[string]string{}
	for k, v := range labels {
		if strings.HasPrefix(k, "io.kubernetes.") || strings.HasPrefix(k, "annotation.") || len(k) > maxText {
			continue
		}
		if kept[clip(k)] = clip(v); len(kept) == maxLabels {
			break
		}
	}
	if len(kept) == 0 {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(kept) != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}
