// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/picket-edr/picket/schema"
)

// table is one parsed schema/tables/*.table file.
type table struct {
	schema.Table
}

// order is the order of the tables in the catalogue. It fixes the order of
// the columns of the wide table, so append only.
var order = []string{
	"DeviceProcessEvents", "DeviceFileEvents", "DeviceNetworkEvents", "DeviceRegistryEvents",
	"DeviceLogonEvents", "DeviceImageLoadEvents", "DeviceEvents", "DeviceInfo",
	"DeviceNetworkInfo", "DeviceFileCertificateInfo",
}

// readTables parses every table file of a folder and checks the whole.
func readTables(dir string) ([]table, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.table"))
	if err != nil {
		return nil, err
	}
	var tables []table
	for _, p := range paths {
		t, err := readTable(p)
		if err != nil {
			return nil, err
		}
		if want := strings.TrimSuffix(filepath.Base(p), ".table"); t.Name != want {
			return nil, fmt.Errorf("%s: table is called %q, its file %q", p, t.Name, want)
		}
		tables = append(tables, *t)
	}
	rank := map[string]int{}
	for i, n := range order {
		rank[n] = i
	}
	for _, t := range tables {
		if _, ok := rank[t.Name]; !ok {
			return nil, fmt.Errorf("table %s: add it at the end of the order in internal/gen/parse.go", t.Name)
		}
	}
	sort.Slice(tables, func(i, j int) bool { return rank[tables[i].Name] < rank[tables[j].Name] })
	return tables, check(tables)
}

// check verifies what spans tables: one type for each column name, and field
// maps that name real columns and actions.
func check(tables []table) error {
	types := map[string]schema.Column{}
	for _, t := range tables {
		own, actions := map[string]bool{}, map[string]bool{}
		for _, a := range t.Actions {
			actions[a.Name] = true
		}
		for _, c := range t.Columns {
			if own[c.Name] {
				return fmt.Errorf("%s: column %s is defined twice", t.Name, c.Name)
			}
			own[c.Name] = true
			if o, ok := types[c.Name]; ok && (o.Type != c.Type || o.Optional != c.Optional) {
				return fmt.Errorf("%s: column %s has another type here than elsewhere", t.Name, c.Name)
			}
			types[c.Name] = c
		}
		for _, l := range t.LogSources {
			for f, col := range l.Fields {
				if !own[col] {
					return fmt.Errorf("%s: log source %s maps %s to unknown column %s", t.Name, l.Category, f, col)
				}
			}
			for _, a := range l.Actions {
				if !actions[a] {
					return fmt.Errorf("%s: log source %s names unknown action %s", t.Name, l.Category, a)
				}
			}
		}
	}
	return nil
}

// readTable parses one file and the column files that it uses.
func readTable(path string) (*table, error) {
	t := &table{}
	return t, t.read(path)
}

func (t *table) read(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i, line := range strings.Split(string(data), "\n") {
		if err := t.line(filepath.Dir(path), strings.TrimSpace(line)); err != nil {
			return fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return nil
}

func (t *table) line(dir, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "", "#":
		return nil
	case "table":
		t.Name = rest
	case "about":
		t.Doc = rest
	case "planned":
		t.Planned = strings.Split(rest, ",")
	case "use":
		return t.read(filepath.Join(dir, rest+".columns"))
	case "action":
		return t.action(rest)
	case "column":
		return t.column(rest)
	case "logsource":
		return t.logSource(rest)
	case "field":
		return t.field(rest)
	default:
		return fmt.Errorf("unknown word %q", word)
	}
	return nil
}

// split parts "name attr attr=value | text".
func split(rest string) (words []string, attrs map[string]string, text string, err error) {
	head, text, ok := strings.Cut(rest, "|")
	text = strings.TrimSpace(text)
	if !ok || text == "" {
		return nil, nil, "", fmt.Errorf("no text after |")
	}
	attrs = map[string]string{}
	for _, w := range strings.Fields(head) {
		if k, v, ok := strings.Cut(w, "="); ok {
			attrs[k] = v
		} else {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return nil, nil, "", fmt.Errorf("no name")
	}
	return words, attrs, text, nil
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (t *table) action(rest string) error {
	words, attrs, text, err := split(rest)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(t.Actions, func(a schema.Action) bool { return a.Name == words[0] }) {
		return fmt.Errorf("action %s is there twice", words[0])
	}
	t.Actions = append(t.Actions, schema.Action{Name: words[0], Doc: text, Fill: list(attrs["fill"])})
	return nil
}

func (t *table) column(rest string) error {
	words, attrs, text, err := split(rest)
	if err != nil {
		return err
	}
	if len(words) < 2 {
		return fmt.Errorf("column %s has no type", words[0])
	}
	typ, ok := schema.ParseType(words[1])
	if !ok {
		return fmt.Errorf("column %s: unknown type %q", words[0], words[1])
	}
	c := schema.Column{Name: words[0], Type: typ, Doc: text, Unit: attrs["unit"], Fill: list(attrs["fill"]), JSON: attrs["la"] == "dynamic" || typ == schema.Dynamic}
	for _, w := range words[2:] {
		if w != "optional" {
			return fmt.Errorf("column %s: unknown word %q", c.Name, w)
		}
		c.Optional = true
	}
	for k := range attrs {
		if k != "fill" && k != "unit" && k != "la" {
			return fmt.Errorf("column %s: unknown attribute %q", c.Name, k)
		}
	}
	if c.Optional && typ != schema.Long && typ != schema.Int {
		return fmt.Errorf("column %s: only long and int columns can be optional", c.Name)
	}
	t.Columns = append(t.Columns, c)
	return nil
}

func (t *table) logSource(rest string) error {
	l := schema.LogSource{Fields: map[string]string{}, Consts: map[string]string{}}
	for _, w := range strings.Fields(rest) {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "category":
			l.Category = v
		case "actions":
			l.Actions = list(v)
		default:
			return fmt.Errorf("log source: unknown attribute %q", k)
		}
	}
	if l.Category == "" || len(l.Actions) == 0 {
		return fmt.Errorf("log source: category and actions are both needed")
	}
	t.LogSources = append(t.LogSources, l)
	return nil
}

func (t *table) field(rest string) error {
	if len(t.LogSources) == 0 {
		return fmt.Errorf("field outside of a log source")
	}
	l := &t.LogSources[len(t.LogSources)-1]
	if k, v, ok := strings.Cut(rest, " := "); ok {
		l.Consts[k] = v
		return nil
	}
	k, v, ok := strings.Cut(rest, " = ")
	if !ok {
		return fmt.Errorf("field: want NAME = COLUMN or NAME := VALUE")
	}
	l.Fields[k] = v
	return nil
}
