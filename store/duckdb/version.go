// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/store"
)

// table is one table in memory.
type table struct {
	name    string
	columns []schema.Column // in the order of the table
}

// version is one consistent state of the store: the files and the tables in
// memory that hold its rows. It never changes.
type version struct {
	manifest *manifest
	tables   []table
	readers  int // guarded by versions.mu
}

// versions hands out the newest version and keeps what older ones need until
// nobody reads them.
type versions struct {
	mu   sync.Mutex
	all  []*version // oldest first; the last is current
	drop func(tables []string, files []string)
}

// acquire returns the current version. The caller releases it.
func (v *versions) acquire() *version {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.all[len(v.all)-1]
	c.readers++
	return c
}

func (v *versions) release(x *version) {
	v.mu.Lock()
	x.readers--
	tables, files := v.reap()
	v.mu.Unlock()
	v.drop(tables, files)
}

// install makes x the current version.
func (v *versions) install(x *version) {
	v.mu.Lock()
	v.all = append(v.all, x)
	tables, files := v.reap()
	v.mu.Unlock()
	v.drop(tables, files)
}

func (v *versions) current() *version {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.all[len(v.all)-1]
}

// reap takes out versions that nobody reads any more, oldest first, and
// returns what only they held. The caller holds mu.
func (v *versions) reap() (tables, files []string) {
	for len(v.all) > 1 && v.all[0].readers == 0 {
		old, next := v.all[0], v.all[1]
		for _, t := range old.tables {
			if !slices.ContainsFunc(next.tables, func(n table) bool { return n.name == t.name }) {
				tables = append(tables, t.name)
			}
		}
		kept := map[string]bool{}
		for _, f := range next.manifest.Files {
			kept[f.Name] = true
		}
		for _, f := range old.manifest.Files {
			if !kept[f.Name] {
				files = append(files, f.Name)
			}
		}
		v.all = v.all[1:]
	}
	return tables, files
}

// source is rows with certain columns: a table, or files of the same columns.
type source struct {
	from    string
	columns map[string]bool // lower case
}

// sources lists where rows of a span of time are. Tables in memory are always
// among them.
func (v *version) sources(dir string, w store.Between) []source {
	var out []source
	for _, t := range v.tables {
		s := source{from: memory + "." + t.name, columns: map[string]bool{}}
		for _, c := range t.columns {
			s.columns[strings.ToLower(c.Name)] = true
		}
		out = append(out, s)
	}
	bySet := make([][]string, len(v.manifest.Sets))
	for _, f := range v.manifest.Files {
		if f.overlaps(w) {
			bySet[f.Set] = append(bySet[f.Set], quote(filepath.Join(dir, filesDir, f.Name)))
		}
	}
	for i, files := range bySet {
		if len(files) == 0 {
			continue
		}
		s := source{from: readParquet(files), columns: map[string]bool{}}
		for _, c := range v.manifest.Sets[i] {
			s.columns[strings.ToLower(c)] = true
		}
		out = append(out, s)
	}
	return out
}

// readParquet makes the table function that reads quoted paths of files with
// the same columns.
func readParquet(paths []string) string {
	return "read_parquet([" + strings.Join(paths, ", ") + "], hive_partitioning = false)"
}

// prelude writes the WITH clause, without its keyword, that defines the table
// of all events and those logical tables that a statement names. A column
// that a source does not have is null there.
func (v *version) prelude(dir string, columns []schema.Column, statement string, w store.Between) string {
	var b strings.Builder
	b.WriteString(store.EventsTable + " AS NOT MATERIALIZED (")
	for i, s := range v.sources(dir, w) {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		b.WriteString("SELECT ")
		for j, c := range columns {
			if j > 0 {
				b.WriteString(", ")
			}
			if s.columns[strings.ToLower(c.Name)] {
				b.WriteString(name(c.Name))
			} else {
				fmt.Fprintf(&b, "CAST(NULL AS %s) AS %s", sqlType(c.Type), name(c.Name))
			}
		}
		b.WriteString(" FROM " + s.from)
	}
	b.WriteString(")")
	lower := strings.ToLower(statement)
	for _, t := range schema.Tables {
		if strings.Contains(lower, strings.ToLower(t.Name)) {
			b.WriteString(", " + logical(t, columns))
		}
	}
	return b.String()
}

// logical defines one logical table over the table of all events, with those
// of its columns that are defined there.
func logical(t *schema.Table, columns []schema.Column) string {
	var cols []string
	for _, c := range columns {
		if own := find(t.Columns, c.Name); own != nil {
			cols = append(cols, name(c.Name))
		}
	}
	if len(cols) == 0 { // count(*) and the like
		cols = []string{name(store.TableColumn)}
	}
	return fmt.Sprintf("%s AS NOT MATERIALIZED (SELECT %s FROM %s WHERE %s = %s)", name(t.Name), strings.Join(cols, ", "), store.EventsTable, name(store.TableColumn), quote(t.Name))
}
