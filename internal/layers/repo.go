// SPDX-License-Identifier: Apache-2.0

package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// module is the path of the module, the prefix of its own imports.
const module = "github.com/picket-edr/picket"

// file is one parsed Go source.
type file struct {
	path      string // relative to the root
	pkg       string // folder relative to the root, "." for the root package
	test      bool
	generated bool
	lines     int
	source    string
	ast       *ast.File
	fset      *token.FileSet
}

// imports returns the paths that the file imports.
func (f *file) imports() []string {
	var out []string
	for _, s := range f.ast.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// skipped names folders that hold no Go of ours.
var skipped = map[string]bool{".git": true, "node_modules": true, "testdata": true, "dist": true, "bin": true, "data": true}

// load parses every Go file below root.
func load(root string, read func(string) ([]byte, error)) ([]*file, error) {
	var files []*file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && skipped[d.Name()] {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		data, err := read(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, rel, data, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("parse %s: %w", rel, err)
		}
		files = append(files, &file{
			path: filepath.ToSlash(rel), pkg: filepath.ToSlash(filepath.Dir(rel)),
			test: strings.HasSuffix(rel, "_test.go"), generated: ast.IsGenerated(parsed),
			lines: strings.Count(string(data), "\n"), source: string(data), ast: parsed, fset: fset,
		})
		return nil
	})
	return files, err
}

// graph is the packages that each package imports, tests left out.
func graph(files []*file) map[string][]string {
	g := map[string]map[string]bool{}
	for _, f := range files {
		if f.test {
			continue
		}
		if g[f.pkg] == nil {
			g[f.pkg] = map[string]bool{}
		}
		for _, i := range f.imports() {
			g[f.pkg][i] = true
		}
	}
	out := map[string][]string{}
	for p, set := range g {
		for i := range set {
			out[p] = append(out[p], i)
		}
		sort.Strings(out[p])
	}
	return out
}

// reach returns all packages of the module that pkg imports, directly or not.
func reach(g map[string][]string, pkg string) map[string]string {
	via := map[string]string{}
	queue := []string{pkg}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		for _, i := range g[p] {
			own, ok := local(i)
			if !ok || own == pkg || via[own] != "" {
				continue
			}
			via[own] = p
			queue = append(queue, own)
		}
	}
	return via
}

// local returns the folder of an import of this module.
func local(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	rest, ok := strings.CutPrefix(path, module+"/")
	return rest, ok
}

// room returns the first element of a package's folder.
func room(pkg string) string {
	first, _, _ := strings.Cut(pkg, "/")
	return first
}
