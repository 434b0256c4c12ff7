// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket/sensor"
)

func TestTopTellsWhatHappenedBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	before := &sensor.Status{Lost: map[string]uint64{"ring.file": 5}, Exclusions: []sensor.RuleUsage{{Rule: "folder /a/", Rows: 3}},
		Usage: sensor.Usage{Kinds: []sensor.KindUsage{{Kind: "file", Records: 100, User: time.Second}},
			Processes: []sensor.ProcessUsage{{Path: "/bin/a", Records: 10}, {Path: "/bin/b", Records: 50}}, Limited: map[string]uint64{"ring.dns": 1}}}
	now := &sensor.Status{Lost: map[string]uint64{"ring.file": 9}, Exclusions: []sensor.RuleUsage{{Rule: "folder /a/", Rows: 10}}, CPUPercent: 3, RSSBytes: 40 << 20,
		Usage: sensor.Usage{Kinds: []sensor.KindUsage{{Kind: "file", Records: 300, User: 1200 * time.Millisecond, KernelPercent: 0.5}, {Kind: "dns", Records: 4}},
			Processes: []sensor.ProcessUsage{{Path: "/bin/b", PID: 7, Records: 450}, {Path: "/bin/a", PID: 3, Records: 10}, {Path: "/bin/c", PID: 9, Records: 40}},
			Limited:   map[string]uint64{"ring.dns": 8}, Shed: []string{"image loads"}}}
	got := compare(before, now, 2*time.Second, 1)
	want := top{Seconds: 2, CPUPercent: 3, RSSBytes: 40 << 20,
		Kinds:    []topKind{{"file", 100, 10, 0.5}, {"dns", 2, 0, 0}},
		Programs: []topProgram{{"/bin/b", 7, 200}}, Rules: []sensor.RuleUsage{{Rule: "folder /a/", Rows: 7}},
		Limited: map[string]uint64{"ring.dns": 7}, Lost: map[string]uint64{"ring.file": 4}, Shed: []string{"image loads"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var out bytes.Buffer
	if err := got.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"/bin/b", "left out by policy: 7 rows, folder /a/", "lost: 4, ring.file", "not collected at present: image loads", "file"} {
		if !strings.Contains(out.String(), s) {
			t.Errorf("%q is not in\n%s", s, out.String())
		}
	}
}
