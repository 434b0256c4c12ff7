// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"testing"
)

// corpus returns a folder of public test data next to the checkout, and skips
// the test where it is not.
func corpus(t testing.TB, elements ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{"..", "..", "..", "shared", "data"}, elements...)...)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("public test data is not here: %v", err)
	}
	return dir
}

// TestPublicRules measures how many rules of the public rule base compile and
// holds the reasons of the others to those that the specification demands.
func TestPublicRules(t *testing.T) {
	t.Parallel()
	rules, failed, err := Load(os.DirFS(corpus(t, "sigma", "sigmahq")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	demanded := regexp.MustCompile(`placeholder %([\w-]+)% has no values`)
	counts := map[string]int{}
	for _, f := range failed {
		if m := demanded.FindStringSubmatch(f.Reason); m != nil {
			counts[m[0]]++
		} else {
			t.Errorf("%v", f)
		}
	}
	warnings := 0
	for _, r := range rules {
		warnings += len(r.Warnings)
	}
	total := len(rules) + len(failed)
	t.Logf("%d of %d rules compile (%.2f %%), %d warnings", len(rules), total, 100*float64(len(rules))/float64(total), warnings)
	var reasons []string
	for r := range counts {
		reasons = append(reasons, r)
	}
	sort.Strings(reasons)
	for _, r := range reasons {
		t.Logf("%4d %s", counts[r], r)
	}
	for _, f := range failed {
		checkWithValues(t, f.File, demanded)
	}
}

// checkWithValues: a rule that lacks values for placeholders compiles when it
// is given some. It names one placeholder after the other.
func checkWithValues(t *testing.T, file string, demanded *regexp.Regexp) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(corpus(t, "sigma", "sigmahq"), file))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string][]string{}
	for range 10 {
		_, failed := Parse(file, data, Options{Placeholders: names})
		if len(failed) == 0 {
			return
		}
		m := demanded.FindStringSubmatch(failed[0].Reason)
		if m == nil || names[m[1]] != nil {
			t.Errorf("with values for its placeholders: %v", failed[0])
			return
		}
		names[m[1]] = []string{"one", "two*"}
	}
	t.Errorf("%s: placeholders without end", file)
}

// TestOtherRules: rules of other kinds are refused by name, never half read.
func TestOtherRules(t *testing.T) {
	t.Parallel()
	for _, dir := range [][]string{{"sigma-rules-extra"}, {"sigma", "specification-repo", "tests"}} {
		rules, failed, err := Load(os.DirFS(corpus(t, dir...)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: %d rules compile", dir, len(rules))
		for _, f := range failed {
			t.Logf("%v", f)
		}
	}
}
