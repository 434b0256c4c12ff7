// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/picket-edr/picket/detect"
	"github.com/picket-edr/picket/rule"
	"github.com/picket-edr/picket/rule/sigma"
)

type rulesCmd struct {
	Check rulesCheckCmd `cmd:"" help:"Compile all rules below a folder and say which cannot be, and which lack fields."`
	Test  rulesTestCmd  `cmd:"" help:"Run the tests that rules below a folder bring along."`
}

type rulesCheckCmd struct {
	Dir  string `arg:"" help:"Folder with rules, or one rule file."`
	JSON bool   `help:"Print JSON."`
}

type rulesTestCmd struct {
	Dir  string `arg:"" help:"Folder with rules, or one rule file."`
	JSON bool   `help:"Print JSON."`
}

// failedRule is a rule or a test that has a problem.
type failedRule struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	ID     string `json:"id,omitempty"`
	Reason string `json:"reason"`
}

func (f failedRule) String() string {
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Reason)
}

// ruleNote is something to know about a rule that compiles.
type ruleNote struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	ID    string `json:"id,omitempty"`
	Title string `json:"title"`
	Note  string `json:"note"`
}

// checkSummary is the last line of rules check.
type checkSummary struct {
	Rules    int          `json:"rules"`
	Compiled int          `json:"compiled"`
	Runnable int          `json:"runnable"` // compiled, and sensors send what they read
	Failed   []failedRule `json:"failed"`
}

// testSummary is the last line of rules test.
type testSummary struct {
	Tests  int          `json:"tests"`
	Passed int          `json:"passed"`
	Failed []failedRule `json:"failed"`
}

// loadRules reads the rules below dir, or of the one file that dir is.
func loadRules(dir string) ([]*rule.Rule, []failedRule, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, nil, err
	}
	base, fsys := dir, os.DirFS(dir)
	if !info.IsDir() {
		base = filepath.Dir(dir)
		fsys = oneFile{os.DirFS(base), filepath.Base(dir)}
	}
	rules, failed, err := sigma.Load(fsys, sigma.Options{})
	if err != nil {
		return nil, nil, err
	}
	bad := make([]failedRule, 0, len(failed))
	for _, f := range failed {
		bad = append(bad, failedRule{File: filepath.Join(base, f.File), Line: f.Line, Reason: f.Reason})
	}
	for _, r := range rules {
		r.File = filepath.Join(base, r.File)
	}
	return rules, bad, nil
}

// oneFile is a folder of which only one file is looked at.
type oneFile struct {
	fs.FS
	name string
}

// ReadDir lists the one file.
func (o oneFile) ReadDir(string) ([]fs.DirEntry, error) {
	info, err := fs.Stat(o.FS, o.name)
	if err != nil {
		return nil, err
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(info)}, nil
}

// Run checks the rules.
func (cmd rulesCheckCmd) Run(c *console) error {
	rules, failed, err := loadRules(cmd.Dir)
	if err != nil {
		return err
	}
	sum := checkSummary{Rules: len(rules) + len(failed), Compiled: len(rules), Failed: failed}
	for _, r := range rules {
		notes, runs := notesOf(r)
		if runs {
			sum.Runnable++
		}
		for _, n := range notes {
			if err := c.line(cmd.JSON, n, fmt.Sprintf("%s:%d: %s: %s", n.File, n.Line, n.Title, n.Note)); err != nil {
				return err
			}
		}
	}
	if !cmd.JSON {
		for _, f := range failed {
			fmt.Fprintln(c.out, f)
		}
	}
	text := fmt.Sprintf("%d rules, %d compiled, %d of them read what sensors send, %d failed", sum.Rules, sum.Compiled, sum.Runnable, len(failed))
	if err := c.line(cmd.JSON, sum, text); err != nil {
		return err
	}
	if len(failed) > 0 {
		return errFound
	}
	return nil
}

// notesOf says what a rule lacks to run as written, and whether it can run.
func notesOf(r *rule.Rule) (notes []ruleNote, runs bool) {
	note := func(format string, args ...any) {
		notes = append(notes, ruleNote{r.File, r.Line, r.ID, r.Title, fmt.Sprintf(format, args...)})
	}
	for _, w := range r.Warnings {
		note("%s", w)
	}
	routes := r.Routes()
	if len(routes) == 0 {
		note("log source not available: no sensor sends %s", r.Source)
		return notes, false
	}
	for _, rt := range routes {
		runs = runs || !rt.Never
		if len(rt.Missing) == 0 {
			continue
		}
		effect := "conditions on it are false"
		if rt.Never {
			effect = "the rule is not run on it"
		}
		note("field %s not available in %s (%s): %s", strings.Join(rt.Missing, ", "), rt.Table.Name, strings.Join(rt.Source.Actions, ", "), effect)
	}
	return notes, runs
}

// Run runs the tests of the rules.
func (cmd rulesTestCmd) Run(c *console) error {
	rules, failed, err := loadRules(cmd.Dir)
	if err != nil {
		return err
	}
	sum := testSummary{Failed: failed}
	for _, r := range rules {
		n, bad := detect.RunTests(r)
		sum.Tests += n
		sum.Passed += n - len(bad)
		for _, f := range bad {
			sum.Failed = append(sum.Failed, failedRule{r.File, f.Line, r.ID, f.Reason})
		}
	}
	if !cmd.JSON {
		for _, f := range sum.Failed {
			fmt.Fprintln(c.out, f)
		}
	}
	text := fmt.Sprintf("%d tests of %d rules, %d passed, %d problems", sum.Tests, len(rules), sum.Passed, len(sum.Failed))
	if err := c.line(cmd.JSON, sum, text); err != nil {
		return err
	}
	if len(sum.Failed) > 0 {
		return errFound
	}
	return nil
}

// line prints a result as JSON or as text.
func (c *console) line(asJSON bool, v any, text string) error {
	if !asJSON {
		_, err := fmt.Fprintln(c.out, text)
		return err
	}
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
