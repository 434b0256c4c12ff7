// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/schema"
	"github.com/picket-edr/picket/sensor/spool"
)

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``: "", `{}`: "", ` {"flushMilliseconds":10} `: "", `{"spoolBytes":1048576,"logLevel":"warn","disabledKinds":["dns","file"]}`: "",
		`{"exclude":{"folders":["/var/cache/","C:\\Temp\\x"],"processes":["/usr/bin/rsync"]}}`:               "",
		`{"redact":{"off":["script"],"correlate":true,"rules":[{"name":"staff","pattern":"staff=(\\d+)"}]}}`: "",
		`{"redact":{"rules":[{"name":"digits","pattern":"\\d+"}]}}`:                                          "in every match",
		`{"scriptContent":"content"}`: "", `{"scriptContent":"everything"}`: "want one of off, hashes, lines, content",
		`{"redact":{"off":["logs"]}}`:         "unknown field",
		`{"redact":{"rule":[]}}`:              "unknown field",
		`[]`:                                  "cannot unmarshal",
		`{"unknown":1}`:                       `unknown field "unknown"`,
		`{} {}`:                               "more than one",
		`{"flushMilliseconds":9}`:             "10 to 5000",
		`{"flushMilliseconds":-1}`:            "10 to 5000",
		`{"healthSeconds":61}`:                "5 to 60",
		`{"spoolBytes":1}`:                    "spoolBytes",
		`{"disabledKinds":["everything"]}`:    "unknown kind",
		`{"logLevel":"loud"}`:                 "log level",
		`{"exclude":{"folders":["/"]}}`:       "not the root",
		`{"exclude":{"folders":["/x/.."]}}`:   "not the root",
		`{"exclude":{"processes":["rsync"]}}`: "absolute path",
		`{"exclude":{"folders":["` + strings.Repeat(`/a","`, maxExclusions) + `/a"]}}`: "at most",
		`"` + strings.Repeat("x", maxPolicy) + `"`:                                     "too large",
	} {
		_, err := ParsePolicy([]byte(text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%.80s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.80s: %v, want %q", text, err, want)
		case err != nil && !errors.Is(err, picket.Invalid) && !errors.Is(err, picket.TooLarge):
			t.Errorf("%.80s: kind of %v", text, err)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(`{"exclude":{"folders":["/var/cache"]},"flushMilliseconds":100}`))
	f.Add([]byte(`{"disabledKinds":["dns"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePolicy(data)
		if err != nil {
			return
		}
		if d := p.flush(time.Second); d < 10*time.Millisecond || d > 5*time.Second {
			t.Errorf("flush %v", d)
		}
		if d := p.health(15 * time.Second); d < 5*time.Second || d > time.Minute {
			t.Errorf("health %v", d)
		}
		newFilter(p).drops(&event.DeviceFileEvents{FolderPath: "/var/cache/x"})
	})
}

func TestFilter(t *testing.T) {
	t.Parallel()
	f := newFilter(&Policy{DisabledKinds: []string{"logon", "dns", "stream"}, Exclude: Exclusions{Folders: []string{"/var/cache/", `C:\Temp`}, Processes: []string{"/usr/bin/rsync"}}})
	all := newFilter(&Policy{DisabledKinds: Kinds})
	if newFilter(&Policy{}) != nil {
		t.Error("an empty policy filters")
	}
	for _, c := range []struct {
		row  event.Row
		some bool // dropped by f
		all  bool // dropped by all
	}{
		{&event.DeviceProcessEvents{FolderPath: "/usr/bin/rsync"}, false, true},
		{&event.DeviceFileEvents{FolderPath: "/var/cache/apt/x"}, true, true},
		{&event.DeviceFileEvents{FolderPath: "/var/cache"}, false, true},
		{&event.DeviceFileEvents{FolderPath: "/var/cached/x"}, false, true},
		{&event.DeviceFileEvents{FolderPath: `C:\Temp\x`}, true, true},
		{&event.DeviceFileEvents{FolderPath: "/etc/passwd", InitiatingProcessFolderPath: "/usr/bin/rsync"}, true, true},
		{&event.DeviceNetworkEvents{InitiatingProcessFolderPath: "/usr/bin/rsync"}, true, true},
		{&event.DeviceNetworkEvents{InitiatingProcessFolderPath: "/usr/bin/rsync2"}, false, true},
		{&event.DeviceNetworkEvents{ActionType: "ConnectionClosed"}, false, true},
		{&event.DeviceNetworkEvents{ActionType: "SslConnectionInspected"}, true, true},
		{&event.DeviceLogonEvents{}, true, true},
		{&event.DeviceEvents{ActionType: "DnsQueryRequest"}, true, true},
		{&event.DeviceEvents{ActionType: "FirewallRuleChanged"}, false, true},
		{&event.DeviceEvents{ActionType: "NetworkInterfaceUp"}, false, true},
		{&event.DeviceEvents{ActionType: "TunnelCreated"}, false, true},
		{&event.DeviceEvents{ActionType: "ScriptContent"}, false, true},
		{&event.DeviceEvents{ActionType: "SensorLoss"}, false, false},
		{&event.DeviceEvents{ActionType: "TamperingAttempt"}, false, false},
		{&event.DeviceEvents{ActionType: "PTraceDetected"}, false, true},
		{&event.DeviceEvents{ActionType: "DriverLoad"}, false, true},
		{&event.DeviceEvents{ActionType: "RawSocketCreated"}, false, true},
		{&event.DeviceEvents{ActionType: "FileTimestampModificationEvent", FolderPath: "/var/cache/x"}, true, true},
		{&event.DeviceFileEvents{ActionType: "FilePermissionsModified", FolderPath: "/etc/x"}, false, true},
		{&event.DeviceImageLoadEvents{FolderPath: "/var/cache/x.so"}, true, true},
		{&event.DeviceImageLoadEvents{FolderPath: "/usr/lib/x.so"}, false, true},
		{&event.DeviceInfo{}, false, false},
	} {
		if got := f.drops(c.row); got != c.some {
			t.Errorf("%T %+v: dropped %v", c.row, c.row, got)
		}
		if got := all.drops(c.row); got != c.all {
			t.Errorf("%T %+v: dropped by all %v", c.row, c.row, got)
		}
	}
}

// Kinds of attributes and files are switched off apart, and each name of an
// action is one of the tables.
func TestKindsOfActions(t *testing.T) {
	t.Parallel()
	files := newFilter(&Policy{DisabledKinds: []string{"file"}})
	attributes := newFilter(&Policy{DisabledKinds: []string{"attribute"}})
	mode, content := &event.DeviceFileEvents{ActionType: "FilePermissionsModified"}, &event.DeviceFileEvents{ActionType: "FileModified"}
	equal(t, []bool{false, true, true, false}, []bool{files.drops(mode), files.drops(content), attributes.drops(mode), attributes.drops(content)})
	known := map[string]bool{}
	for _, table := range schema.Tables {
		for _, a := range table.Actions {
			known[a.Name] = len(a.Fill) > 0
		}
	}
	for kind, actions := range kindsOfActions {
		if !slices.Contains(Kinds, kind) {
			t.Errorf("%s is no kind", kind)
		}
		for _, a := range actions {
			if !known[a] {
				t.Errorf("%s: no sensor tells %s", kind, a)
			}
		}
	}
}

func TestIntakeBatches(t *testing.T) {
	t.Parallel()
	q := newIntake()
	if !q.add(&event.DeviceFileEvents{ActionType: "FileModified"}) || !q.add(&event.DeviceProcessEvents{ActionType: "ProcessCreated"}) {
		t.Fatal("rows refused")
	}
	<-q.wake
	if q.full() {
		t.Error("two rows make a full unit")
	}
	units := q.take()
	equal(t, []spool.Class{spool.High, spool.Low}, []spool.Class{units[0].class, units[1].class})
	equal(t, []int{1, 0}, []int{units[0].rest, units[1].rest})
	if q.empty() {
		t.Error("empty before the units are done")
	}
	// Rows that come while a unit is being kept wake the batcher again.
	q.add(&event.DeviceFileEvents{ActionType: "FileModified"})
	<-q.wake
	for _, u := range append(units, q.take()...) {
		q.done(u)
	}
	if !q.empty() || q.size != 0 {
		t.Errorf("%d rows and %d bytes remain", q.rows, q.size)
	}
	for range batchRows {
		q.add(&event.DeviceFileEvents{ActionType: "FileModified"})
	}
	if !q.full() {
		t.Error("enough rows, no unit")
	}
	equal(t, map[string]uint64{"DeviceFileEvents": 2 + batchRows, "DeviceProcessEvents": 1}, q.counts())
	q.take()
	q.add(&event.DeviceFileEvents{ActionType: "FileModified", AdditionalFields: strings.Repeat("x", batchBytes)})
	if !q.full() {
		t.Error("enough bytes, no unit")
	}
}

func TestIntakeRefusesLowClassesFirst(t *testing.T) {
	t.Parallel()
	q := newIntake()
	rows := map[spool.Class]event.Row{
		spool.Low: &event.DeviceFileEvents{ActionType: "FileModified"}, spool.Normal: &event.DeviceFileEvents{ActionType: "FileCreated"},
		spool.High: &event.DeviceProcessEvents{ActionType: "ProcessCreated"},
	}
	taken := 0
	for _, c := range []spool.Class{spool.Low, spool.Normal, spool.High} {
		for q.add(rows[c]) {
			taken++
		}
		equal(t, queueRows*shares[c]/4, taken)
	}
	for _, u := range q.take() {
		q.done(u)
	}
	for c, r := range rows {
		if !q.add(r) {
			t.Errorf("%s refused by an empty intake", c)
		}
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	n := &notes{log: discard()}
	for i := range maxNotes + 10 {
		n.add(noteContact, fmt.Sprint(i))
	}
	taken := n.take()
	equal(t, maxNotes, len(taken))
	equal(t, "10", taken[0].Text)
	equal(t, true, n.none())
	n.add(noteStopped, "last")
	n.putBack(taken)
	all := n.take()
	equal(t, []any{maxNotes, "11", "last"}, []any{len(all), all[0].Text, all[maxNotes-1].Text})
	seen := map[uint32]bool{}
	for i, k := range NoteKinds {
		if seen[k.ID] || (i > 0 && k.ID < NoteKinds[i-1].ID) {
			t.Errorf("note %d is there twice or out of order", k.ID)
		}
		seen[k.ID] = true
		if _, ok := slogLevels[k.Level]; !ok || k.Meaning == "" {
			t.Errorf("note %d: level %q, meaning %q", k.ID, k.Level, k.Meaning)
		}
		if k.Level == "error" && k.Action == "" {
			t.Errorf("note %d: an error without an action", k.ID)
		}
	}
}
