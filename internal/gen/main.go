// SPDX-License-Identifier: Apache-2.0

// Command gen derives code and reference pages from schema/tables. Run it from
// the root of the repository: go run ./internal/gen
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes every generated file below root.
func run(root string) error {
	tables, err := readTables(filepath.Join(root, "schema", "tables"))
	if err != nil {
		return err
	}
	files, err := outputs(tables)
	if err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
			continue
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// outputs maps each generated file, relative to the root, to its content.
func outputs(tables []table) (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, text := range map[string]string{
		"schema/zz_tables.go": catalogue(tables),
		"event/zz_rows.go":    rows(tables),
	} {
		src, err := format.Source([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files[name] = src
	}
	for _, t := range tables {
		files["docs/tables/"+t.Name+".md"] = []byte(page(t))
	}
	files["docs/tables/README.md"] = []byte(index(tables))
	return files, nil
}
