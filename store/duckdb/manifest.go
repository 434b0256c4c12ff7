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
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/store"
)

// manifest says which files make up the store. Once installed in a version it
// never changes.
type manifest struct {
	Version  int            `json:"version"`
	Next     int64          `json:"next"` // number of the next file
	Position store.Position `json:"position"`
	Sets     [][]string     `json:"sets"` // column names of files, sorted; files refer to them by place
	Files    []file         `json:"files"`
	Boots    bootMap        `json:"boots"`
	Lost     int64          `json:"lost"`   // rows in files that were given up
	Damage   []store.Damage `json:"damage"` // the last of them
}

// file is one sealed Parquet file.
type file struct {
	Name  string `json:"name"` // below filesDir: day/number.parquet
	Set   int    `json:"set"`  // of columns
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
	Min   int64  `json:"min"` // Timestamp, microseconds
	Max   int64  `json:"max"`
	Sum   uint32 `json:"sum"` // CRC-32C of the content
}

// boot is how far the batches of one boot of a device have come.
type boot struct {
	Seq uint64 `json:"seq"` // highest number
	At  uint64 `json:"at"`  // position of its last batch in the stream, to tell old boots
}

// bootMap is boots by device and boot id.
type bootMap map[string]map[string]boot

const (
	manifestName    = "manifest.json"
	manifestVersion = 2
	filesDir        = "events"
	damagedDir      = "damaged"
	damageKept      = 100
	bootsKept       = 8 // boots whose batch numbers are remembered for a device
	dayMicros       = 24 * 3600 * 1_000_000
)

// day is the day, since the epoch, of the file's last row: the partition that
// it lies in.
func (f file) day() int64 { return floorDay(f.Max) }

func floorDay(us int64) int64 {
	d := us / dayMicros
	if us%dayMicros < 0 {
		d--
	}
	return d
}

// dayName is how the directory of a day is called.
func dayName(day int64) string {
	return time.UnixMicro(day * dayMicros).UTC().Format(time.DateOnly)
}

func (f file) overlaps(w store.Between) bool {
	return (w.From.IsZero() || f.Max >= w.From.UnixMicro()) && (w.To.IsZero() || f.Min <= w.To.UnixMicro())
}

// loadManifest reads the manifest of a directory, or starts an empty one.
func loadManifest(dir string) (*manifest, error) {
	m := &manifest{Version: manifestVersion, Next: 1, Boots: bootMap{}}
	path := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, noFiles(dir)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%s: %v: %w", path, err, picket.Invalid)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("%s: version %d is not known here: %w", path, m.Version, picket.Invalid)
	}
	for _, f := range m.Files {
		if f.Set < 0 || f.Set >= len(m.Sets) || !filepath.IsLocal(f.Name) {
			return nil, fmt.Errorf("%s: file %q: %w", path, f.Name, picket.Invalid)
		}
	}
	if m.Boots == nil {
		m.Boots = bootMap{}
	}
	return m, nil
}

// noFiles makes sure that a directory without a manifest holds no events:
// they would be taken for remains of a crash and deleted.
func noFiles(dir string) error {
	days, err := os.ReadDir(filepath.Join(dir, filesDir))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, d := range days {
		files, err := filepath.Glob(filepath.Join(dir, filesDir, d.Name(), "*.parquet"))
		if err != nil {
			return err
		}
		if len(files) > 0 {
			return fmt.Errorf("%s is gone but %s is there: put the manifest or a backup back, or move the files away: %w", filepath.Join(dir, manifestName), files[0], picket.Invalid)
		}
	}
	return nil
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

// clone returns a copy that can be changed. Column names are shared.
func (m *manifest) clone() *manifest {
	c := *m
	c.Sets = slices.Clone(m.Sets)
	c.Files = slices.Clone(m.Files)
	c.Damage = slices.Clone(m.Damage)
	return &c
}

// set returns the place of a set of column names, sorted, adding it when new.
func (m *manifest) set(columns []string) int {
	for i, s := range m.Sets {
		if slices.Equal(s, columns) {
			return i
		}
	}
	m.Sets = append(m.Sets, columns)
	return len(m.Sets) - 1
}

// columns returns the names, in lower case, that any file has.
func (m *manifest) columns() map[string]bool {
	all := map[string]bool{}
	for _, f := range m.Files {
		for _, c := range m.Sets[f.Set] {
			all[strings.ToLower(c)] = true
		}
	}
	return all
}

// remove takes files out by name and returns those that were there.
func (m *manifest) remove(names map[string]bool) []file {
	var kept, gone []file
	for _, f := range m.Files {
		if names[f.Name] {
			gone = append(gone, f)
		} else {
			kept = append(kept, f)
		}
	}
	m.Files = kept
	return gone
}

// giveUp takes a damaged file out and remembers what was lost with it.
func (m *manifest) giveUp(f file, reason string, now time.Time) {
	m.remove(map[string]bool{f.Name: true})
	m.Lost += f.Rows
	m.Damage = append(m.Damage, store.Damage{File: f.Name, Reason: reason, Rows: f.Rows, From: time.UnixMicro(f.Min).UTC(), To: time.UnixMicro(f.Max).UTC(), Found: now.UTC()})
	if n := len(m.Damage) - damageKept; n > 0 {
		m.Damage = slices.Delete(m.Damage, 0, n)
	}
}

func (b bootMap) clone() bootMap {
	c := make(bootMap, len(b))
	for device, boots := range b {
		c[device] = maps.Clone(boots)
	}
	return c
}

// seen reports whether a batch is there already, and remembers it otherwise.
func (b bootMap) seen(device, id string, seq, at uint64) bool {
	boots := b[device]
	if boots == nil {
		boots = map[string]boot{}
		b[device] = boots
	}
	if old, ok := boots[id]; ok && seq <= old.Seq {
		return true
	}
	boots[id] = boot{seq, at}
	for len(boots) > bootsKept {
		oldest := ""
		for x := range boots {
			if x != id && (oldest == "" || boots[x].At < boots[oldest].At) {
				oldest = x
			}
		}
		delete(boots, oldest)
	}
	return false
}

// restart makes all boots older than anything of a new epoch, whose positions
// start again.
func (b bootMap) restart() {
	for _, boots := range b {
		for id, x := range boots {
			boots[id] = boot{Seq: x.Seq}
		}
	}
}
