// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/picket-edr/picket/rule"
)

// Load reads all rules (.yml and .yaml) below the root of a file system, in
// the order of their paths. Files that cannot be understood, and rules whose
// id or name another rule has already, are in failed; err tells that the file
// system itself could not be read.
func Load(fsys fs.FS, o Options) (rules []*rule.Rule, failed []*Error, err error) {
	err = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read rules: %w", err)
		}
		if ext := strings.ToLower(path.Ext(p)); !d.Type().IsRegular() || ext != ".yml" && ext != ".yaml" {
			return nil
		}
		data, err := read(fsys, p)
		if err != nil {
			return fmt.Errorf("read rules: %w", err)
		}
		r, f := Parse(p, data, o)
		rules, failed = append(rules, r...), append(failed, f...)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	kept, twice := unique(rules)
	return kept, append(failed, twice...), nil
}

// read returns a file, or its beginning when it is larger than any rule file
// may be; Parse refuses it then.
func read(fsys fs.FS, p string) ([]byte, error) {
	f, err := fsys.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func unique(rules []*rule.Rule) (kept []*rule.Rule, twice []*Error) {
	first := map[string]*rule.Rule{}
next:
	for _, r := range rules {
		for _, key := range []string{"id " + r.ID, "name " + r.Name} {
			if strings.HasSuffix(key, " ") {
				continue
			}
			if o, ok := first[key]; ok {
				twice = append(twice, &Error{r.File, r.Line, fmt.Sprintf("%s is that of %s, too", key, o.File)})
				continue next
			}
			first[key] = r
		}
		kept = append(kept, r)
	}
	return kept, twice
}
