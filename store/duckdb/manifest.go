// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/store"
)

// manifest says which files make up the store.
type manifest struct {
	Version  int                          `json:"version"`
	Next     int64                        `json:"next"` // number of the next file
	Position store.Position               `json:"position"`
	Files    []file                       `json:"files"`
	Batches  map[string]map[string]uint64 `json:"batches"` // highest batch number by device and boot
	Lost     int64                        `json:"lost"`    // rows in files that were given up
}

// file is one sealed Parquet file.
type file struct {
	Name  string `json:"name"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
	Min   int64  `json:"min"` // Timestamp, microseconds
	Max   int64  `json:"max"`
}

const (
	manifestName    = "manifest.json"
	manifestVersion = 1
	filesDir        = "events"
	damagedDir      = "damaged"
	bootsKept       = 4 // boots whose batch numbers are remembered for a device
)

func (f file) day() int64 { return f.Min / (24 * time.Hour).Microseconds() }

// loadManifest reads the manifest of a directory, or starts an empty one.
func loadManifest(dir string) (*manifest, error) {
	m := &manifest{Version: manifestVersion, Next: 1, Batches: map[string]map[string]uint64{}}
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%s: %v: %w", filepath.Join(dir, manifestName), err, picket.Invalid)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("%s: version %d is not known here: %w", filepath.Join(dir, manifestName), m.Version, picket.Invalid)
	}
	return m, nil
}

// save replaces the manifest of a directory atomically and durably.
func (m *manifest) save(dir string) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, manifestName)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

func (m *manifest) clone() *manifest {
	c := *m
	c.Files = slices.Clone(m.Files)
	c.Batches = cloneBatches(m.Batches)
	return &c
}

func cloneBatches(b map[string]map[string]uint64) map[string]map[string]uint64 {
	c := make(map[string]map[string]uint64, len(b))
	for device, boots := range b {
		c[device] = maps.Clone(boots)
	}
	return c
}

// syncFile has a file's content on disk on return.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// tidy moves files that the manifest names but that are damaged or missing
// out of it, counting their rows as lost, and deletes files that it does not
// name: a crash between writing a file and naming it leaves such.
func (m *manifest) tidy(dir string, readable func(path string) (rows int64, err error)) (problems []string, err error) {
	named := map[string]bool{}
	var good []file
	for _, f := range m.Files {
		named[f.Name] = true
		path := filepath.Join(dir, filesDir, f.Name)
		rows, err := readable(path)
		if err == nil && rows == f.Rows {
			good = append(good, f)
			continue
		}
		problems = append(problems, fmt.Sprintf("%s: %d rows lost: holds %d rows, %v", f.Name, f.Rows, rows, err))
		m.Lost += f.Rows
		if err := os.MkdirAll(filepath.Join(dir, damagedDir), 0o700); err != nil {
			return problems, err
		}
		if err := os.Rename(path, filepath.Join(dir, damagedDir, f.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return problems, err
		}
	}
	m.Files = good
	entries, err := os.ReadDir(filepath.Join(dir, filesDir))
	if err != nil {
		return problems, err
	}
	for _, e := range entries {
		if !named[e.Name()] {
			if err := os.Remove(filepath.Join(dir, filesDir, e.Name())); err != nil {
				return problems, err
			}
		}
	}
	if len(problems) > 0 {
		return problems, m.save(dir)
	}
	return nil, nil
}
