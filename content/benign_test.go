// SPDX-License-Identifier: Apache-2.0

package content

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/detect"
	"github.com/picket-edr/picket/event"
)

// corpus returns public test data next to the checkout; tests skip without it.
func corpus(t testing.TB, elements ...string) string {
	t.Helper()
	p := filepath.Join(append([]string{"..", "..", "shared", "data"}, elements...)...)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("public test data is not here: %v", err)
	}
	return p
}

// commands returns the processes that a shell line starts, roughly: the shell
// that is given the whole line, and the parts between its operators.
func commands(line string) [][2]string {
	out := [][2]string{{"/usr/bin/bash", joined([]string{"bash", "-c", line})}}
	for _, part := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("|;&`", r) }) {
		w := strings.Fields(part)
		if len(w) == 0 {
			continue
		}
		image := w[0]
		if !strings.HasPrefix(image, "/") {
			image = "/usr/bin/" + image
		}
		out = append(out, [2]string{image, strings.Join(w, " ")})
	}
	return out
}

// findings feeds lines as processes, each line in a session of its own, and
// returns the worst alert and the titles for every line that raises one.
func findings(t testing.TB, e *detect.Engine, lines []string) map[int]map[string]picket.Severity {
	t.Helper()
	start := event.TimeOf(time.Unix(1_700_000_000, 0))
	out := map[int]map[string]picket.Severity{}
	report := int64(0)
	for n, line := range lines {
		var b event.Builder
		parent := picket.ProcessGUID("d", "b", uint32(n), 1)
		for _, c := range commands(line) {
			report++
			b.Add(&event.DeviceProcessEvents{Timestamp: start, ReportId: report, ActionType: "ProcessCreated", FolderPath: c[0], FileName: filepath.Base(c[0]), ProcessCommandLine: c[1],
				ProcessUniqueId: picket.ProcessGUID("d", "b", uint32(report), 2), AccountName: "alice",
				InitiatingProcessUniqueId: parent, InitiatingProcessFolderPath: "/usr/bin/bash", InitiatingProcessCommandLine: "-bash"})
		}
		alerts, err := e.Feed(event.Envelope{Tenant: "default", DeviceID: "d", Received: start}, &event.Batch{BootID: "b", Blocks: b.Take()})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range alerts {
			if out[n] == nil {
				out[n] = map[string]picket.Severity{}
			}
			out[n][a.Title] = a.Severity
		}
	}
	return out
}

// TestQuietOnBenignLines measures false alerts on ordinary command lines.
func TestQuietOnBenignLines(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(corpus(t, "linux-commands", "slp", "nl2bash.cm"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	counts := map[picket.Severity]int{}
	var shown []string
	for n, found := range findings(t, engine(t), lines) {
		worst := picket.Informational
		for title, s := range found {
			if s.Rank() > worst.Rank() {
				worst = s
			}
			shown = append(shown, string(s)+" "+title+": "+lines[n])
		}
		counts[worst]++
	}
	sort.Strings(shown)
	for _, s := range shown {
		t.Log(s)
	}
	rate := func(n int) float64 { return 100 * float64(n) / float64(len(lines)) }
	medium, high := counts[picket.Medium]+counts[picket.High], counts[picket.High]
	t.Logf("%d lines: %v; medium and above %.3f %%, high %.3f %%", len(lines), counts, rate(medium), rate(high))
	if rate(medium) >= 0.5 || rate(high) >= 0.1 {
		t.Error("too many false alerts")
	}
}

// TestAtomics measures how many of the public attack tests that run on a bare
// host raise an alert, judged by their command lines alone.
func TestAtomics(t *testing.T) {
	t.Parallel()
	dir := corpus(t, "atomic-red-team")
	var listed []struct{ Technique, Name, GUID string }
	data, err := os.ReadFile(filepath.Join(dir, "linux_bare_debian_tests.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &listed); err != nil {
		t.Fatal(err)
	}
	commands := atomicCommands(t, dir)
	e := engine(t)
	seen, worst := 0, map[picket.Severity]int{}
	for _, l := range listed {
		lines, ok := commands[l.GUID]
		if !ok {
			continue
		}
		seen++
		best := picket.Severity("")
		for _, found := range findings(t, e, lines) {
			for _, s := range found {
				if s.Rank() > best.Rank() || best == "" {
					best = s
				}
			}
		}
		worst[best]++
		t.Logf("%-13s %s %s", best, l.Technique, l.Name)
	}
	t.Logf("%d tests: %v", seen, worst)
}

// atomicCommands returns the lines of every test by its GUID, with the default
// values of its arguments.
func atomicCommands(t *testing.T, dir string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != ".yaml" {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var doc struct {
			Tests []struct {
				GUID      string `yaml:"auto_generated_guid"`
				Arguments map[string]struct {
					Default string `yaml:"default"`
				} `yaml:"input_arguments"`
				Executor struct {
					Command string `yaml:"command"`
				} `yaml:"executor"`
			} `yaml:"atomic_tests"`
		}
		if err := yaml.Unmarshal(data, &doc); err != nil {
			return err
		}
		for _, a := range doc.Tests {
			text := a.Executor.Command
			for name, v := range a.Arguments {
				text = strings.ReplaceAll(text, "#{"+name+"}", v.Default)
			}
			out[a.GUID] = strings.Split(strings.ReplaceAll(strings.TrimSpace(text), "\\\n", " "), "\n")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
