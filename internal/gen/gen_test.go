// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func TestGeneratedFilesAreCurrent(t *testing.T) {
	t.Parallel()
	tables, err := readTables(filepath.Join(root, "schema", "tables"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := outputs(tables)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is stale (%v): run make generate", name, err)
		}
	}
}

// TestEveryDefenderColumn compares the tables with the product's schema.
func TestEveryDefenderColumn(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root, "../shared/spec/schema/advanced-hunting-schema.json"))
	if err != nil {
		t.Skip("the product's schema is not at hand: ", err)
	}
	var spec struct {
		Tables map[string]struct {
			Columns []struct{ Name, Type string }
		}
	}
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	tables, err := readTables(filepath.Join(root, "schema", "tables"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tab := range tables {
		have := map[string]string{}
		for _, c := range tab.Columns {
			have[c.Name] = c.Type.String()
		}
		if len(spec.Tables[tab.Name].Columns) == 0 {
			t.Errorf("%s is not a table of the product", tab.Name)
		}
		for _, c := range spec.Tables[tab.Name].Columns {
			if have[c.Name] != c.Type {
				t.Errorf("%s.%s: have type %q, want %q", tab.Name, c.Name, have[c.Name], c.Type)
			}
		}
	}
}

func TestBadTables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"unknown word", "table T\nfoo bar", "T.table:2: unknown word"},
		{"no type", "table T\ncolumn A | x", "has no type"},
		{"bad type", "table T\ncolumn A varchar | x", "unknown type"},
		{"no text", "table T\ncolumn A string", "no text"},
		{"bad attribute", "table T\ncolumn A string colour=red | x", "unknown attribute"},
		{"optional text", "table T\ncolumn A string optional | x", "can be optional"},
		{"stray field", "table T\nfield A = B", "outside of a log source"},
		{"missing include", "table T\nuse nothing", "no such file"},
		{"other name", "table U", "its file"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "T.table"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readTables(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
