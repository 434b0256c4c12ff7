// SPDX-License-Identifier: Apache-2.0

package content

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/detect"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule"
)

func all(t testing.TB) []*rule.Rule {
	t.Helper()
	rules, err := Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func engine(t testing.TB) *detect.Engine {
	t.Helper()
	e, err := detect.New(all(t), detect.Options{Clock: func() time.Time { return time.Unix(1_700_000_000, 0) }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestRulesAreWhole: every rule says all that an analyst needs, reads events
// that the sensor sends, and proves itself on its own samples.
func TestRulesAreWhole(t *testing.T) {
	t.Parallel()
	rules := all(t)
	if len(rules) < 60 {
		t.Fatalf("only %d rules", len(rules))
	}
	titles := map[string]string{}
	for _, r := range rules {
		complain := func(format string, args ...any) { t.Errorf("%s: %s", r.File, fmt.Sprintf(format, args...)) }
		if titles[r.Title] != "" {
			complain("has the title of %s", titles[r.Title])
		}
		titles[r.Title] = r.File
		if r.ID == "" || r.Description == "" || r.Recommended == "" || r.Author != "Picket" || r.Level == "" || len(r.FalsePositives) == 0 {
			complain("lacks id, description, recommendation, author, level or false positives")
		}
		if len(r.Techniques) == 0 || len(r.Tactics) == 0 {
			complain("names no ATT&CK technique or tactic")
		}
		if tactic := path.Dir(r.File); tactic != "test" && !slices.Contains(r.Tactics, tactic) {
			complain("lies in %s, but its tactics are %v", tactic, r.Tactics)
		}
		if len(r.Tests.Match) < 2 || len(r.Tests.Ignore) < 2 {
			complain("%d samples that match and %d that do not", len(r.Tests.Match), len(r.Tests.Ignore))
		}
		for _, w := range r.Warnings {
			complain("%s", w)
		}
		routes := r.Routes()
		if len(routes) == 0 {
			complain("no sensor sends %s", r.Source)
		}
		for _, rt := range routes {
			if len(rt.Missing) > 0 || rt.Never {
				complain("fields that %s does not have: %v", rt.Table.Name, rt.Missing)
			}
		}
		_, failed := detect.RunTests(r)
		for _, f := range failed {
			complain("line %d: %s", f.Line, f.Reason)
		}
	}
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	techniques, levels := map[string]bool{}, map[string]int{}
	for _, r := range all(t) {
		levels[r.Level]++
		for _, x := range r.Techniques {
			techniques[x] = true
		}
	}
	t.Logf("%d techniques, levels %v", len(techniques), levels)
	if len(techniques) < 50 {
		t.Errorf("only %d techniques", len(techniques))
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	fsys, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(fsys, "*/*.yml")
	if err != nil || len(names) != len(all(t)) {
		t.Errorf("%d files, %d rules, %v", len(names), len(all(t)), err)
	}
	plain := regexp.MustCompile(`^[a-z-]+/[a-z0-9_]+\.yml$`)
	for _, n := range names {
		if !plain.MatchString(n) {
			t.Errorf("%s: use lower-case letters, digits and underscores", n)
		}
	}
}

// words splits a simple shell line into arguments as a shell does.
func words(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", `eval "set -- $1"; for a; do printf '%s\n' "$a"; done`, "sh", line).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// joined is a command line as the sensor writes it.
func joined(args []string) string {
	var out []string
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\r\n\"'") {
			a = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a) + `"`
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}

// TestDetectionTest follows the detection test through the processes that it
// starts, below every kind of caller, and wants one alert.
func TestDetectionTest(t *testing.T) {
	t.Parallel()
	outer := words(t, DetectionTestCommand)
	inner := words(t, strings.TrimSuffix(outer[2], "; true"))
	sleep := []string{"sleep", "1"}
	for name, callers := range map[string][][]string{
		"interactive shell": {{"-bash"}},
		"bash -c":           {{"go-test"}, {"bash", "-c", DetectionTestCommand}},
		"sh -c in ssh":      {{"sshd: alice"}, {"bash", "-c", DetectionTestCommand}},
		"sudo":              {{"bash"}, append([]string{"sudo"}, outer...)},
		"script in script":  {{"sh", "-c", "bash -c \"" + DetectionTestCommand + "\""}, {"bash", "-c", DetectionTestCommand}},
	} {
		var b event.Builder
		chain := append(slices.Clone(callers), outer, inner, sleep)
		start := event.TimeOf(time.Unix(1_700_000_000, 0))
		guid := func(n int) string { return picket.ProcessGUID("d", name, uint32(n), 1) }
		for i := 1; i < len(chain); i++ {
			b.Add(&event.DeviceProcessEvents{Timestamp: start + event.Time(i), ReportId: int64(i), ActionType: "ProcessCreated", FolderPath: "/usr/bin/" + chain[i][0], FileName: chain[i][0],
				ProcessCommandLine: joined(chain[i]), ProcessUniqueId: guid(i), InitiatingProcessUniqueId: guid(i - 1), InitiatingProcessCommandLine: joined(chain[i-1]), AccountName: "alice"})
		}
		alerts, err := engine(t).Feed(event.Envelope{Tenant: "default", DeviceID: "d", Received: start}, &event.Batch{BootID: "b", Blocks: b.Take()})
		if err != nil {
			t.Fatal(err)
		}
		if len(alerts) != 1 || alerts[0].Count != 1 {
			t.Errorf("%s: %d alerts: %+v", name, len(alerts), alerts)
			continue
		}
		a := alerts[0]
		if a.RuleID != DetectionTestRule || a.Title != "[Test] Picket detection test" || a.Severity != picket.Medium || a.ProcessGUID != guid(len(chain)-2) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// TestDetectionTestRuns runs the detection test itself.
func TestDetectionTestRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", DetectionTestCommand)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "Picket detection test: done\n" {
		t.Errorf("%v %q", err, out)
	}
	if left, err := exec.Command("ls", "-A", dir).Output(); err != nil || len(left) > 0 {
		t.Errorf("leaves %q behind, %v", left, err)
	}
}
