// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
)

// actions are the ActionTypes that the sensor fills.
func actions() map[string]bool {
	out := map[string]bool{}
	for _, table := range schema.Tables {
		for _, a := range table.Actions {
			out[a.Name] = true
		}
	}
	return out
}

func TestExpectationsAreWellFormed(t *testing.T) {
	t.Parallel()
	known, seen := actions(), map[string]bool{}
	for _, e := range Expectations {
		if len(e.GUID) != 36 || e.Does == "" || strings.ContainsAny(e.Does, "|\n") || seen[e.GUID] {
			t.Errorf("%+v is incomplete or there twice", e)
		}
		seen[e.GUID] = true
		if (len(e.Rows) == 0) != (e.Shell != "") {
			t.Errorf("%s: either rows, or why there are none", e.GUID)
		}
		for _, w := range e.Rows {
			if !known[w.Action] || (w.Column == "") != (w.Value == "") {
				t.Errorf("%s: %+v", e.GUID, w)
			}
		}
	}
	if _, ok := expectation("other"); ok {
		t.Error("something is expected of no test")
	}
}

func TestWant(t *testing.T) {
	t.Parallel()
	process := &event.DeviceProcessEvents{ActionType: "ProcessCreated", ProcessCommandLine: "/usr/bin/cat /etc/passwd"}
	file := &event.DeviceFileEvents{ActionType: "FileCreated", FolderPath: "/tmp/tmp.x7"}
	for _, c := range []struct {
		want Want
		row  event.Row
		in   bool
		name string
	}{
		{ran("cat")[0], process, true, "`ProcessCreated` of `cat`"},
		{ran("passwd")[0], process, false, "`ProcessCreated` of `passwd`"},
		{made("/tmp/tmp.")[0], file, true, "`FileCreated` with `/tmp/tmp.` in `FolderPath`"},
		{made("/tmp/other")[0], file, false, "`FileCreated` with `/tmp/other` in `FolderPath`"},
		{onFile("FileDeleted", "/tmp/tmp.")[0], file, false, "`FileDeleted` with `/tmp/tmp.` in `FolderPath`"},
		{Want{Action: "FileCreated"}, file, true, "`FileCreated`"},
		{Want{"FileCreated", "NoSuchColumn", "x"}, file, false, "`FileCreated` with `x` in `NoSuchColumn`"},
	} {
		if got := c.want.in(c.row); got != c.in {
			t.Errorf("%v in %v: %v", c.want, c.row, got)
		}
		if got := c.want.String(); got != c.name {
			t.Errorf("%s, not %s", got, c.name)
		}
	}
	if got := all(ran("a", "b"), made("/c")); len(got) != 3 || got[2].Value != "/c" {
		t.Errorf("%v", got)
	}
}

func TestSaid(t *testing.T) {
	t.Parallel()
	command := `echo "$HOME" | grep 'x y'` + strings.Repeat("z", 100)
	row := func(change func(*event.DeviceProcessEvents)) event.Row {
		r := &event.DeviceProcessEvents{ActionType: "ProcessCreated", ProcessId: 7, ProcessCommandLine: `sh -c "echo \"$HOME\" | grep 'x y'` + strings.Repeat("z", 100)}
		change(r)
		return r
	}
	for name, c := range map[string]struct {
		row  event.Row
		want bool
	}{
		"right":         {row(func(*event.DeviceProcessEvents) {}), true},
		"end redacted":  {row(func(r *event.DeviceProcessEvents) { r.ProcessCommandLine = r.ProcessCommandLine[:120] + "*" }), true},
		"other command": {row(func(r *event.DeviceProcessEvents) { r.ProcessCommandLine = "sh -c ls" }), false},
		"in its place":  {row(func(r *event.DeviceProcessEvents) { r.ProcessCommandLine = r.ProcessCommandLine[len("sh -c "):] }), false},
		"other process": {row(func(r *event.DeviceProcessEvents) { r.ProcessId = 8 }), false},
		"other action":  {row(func(r *event.DeviceProcessEvents) { r.ActionType = "ProcessExited" }), false},
		"other table":   {&event.DeviceFileEvents{ActionType: "ProcessCreated"}, false},
	} {
		if got := said(c.row, 7, "sh", command); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLineage(t *testing.T) {
	t.Parallel()
	const shell = 10
	start := func(parent, pid, session int64) event.Row {
		return &event.DeviceProcessEvents{ActionType: "ProcessCreated", InitiatingProcessId: parent, ProcessId: pid, CreatedProcessSessionId: session, FileName: "start"}
	}
	file := func(pid, parent, session int64, name string) event.Row {
		return &event.DeviceFileEvents{InitiatingProcessId: pid, InitiatingProcessParentId: parent, InitiatingProcessSessionId: session, FileName: name}
	}
	got := lineage([]event.Row{
		file(13, 12, 12, "below one that left the session"), // told before its process is
		start(1, shell, shell),
		file(1, 0, 0, "the first process"),
		file(11, shell, shell, "a subshell"),
		start(11, 12, 12), // left the session
		start(12, 13, 12),
		file(14, 13, 12, "a subshell of that"),
		file(20, 1, 20, "another session"),
		&event.DeviceEvents{ActionType: "ClockChanged", FileName: "nobody"},
		&event.DeviceEvents{ActionType: "ScheduledTaskCreated", InitiatingProcessId: 20, FileName: "somebody else"},
		&event.DeviceFileEvents{FileName: "a file of nobody"},
	}, shell)
	var names []string
	for _, r := range got {
		names = append(names, text(r, "FileName"))
	}
	want := []string{"below one that left the session", "start", "a subshell", "start", "start", "a subshell of that", "nobody"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}
