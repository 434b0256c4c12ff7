// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
	"github.com/picket-edr/picket/sensor/redact"
)

// ran makes the record of a process that starts to run an image.
func ran(pid, ppid uint32, args, env string) *record.Exec {
	zero := func(s string) []byte { return []byte(strings.ReplaceAll(s, "|", "\x00") + "\x00") }
	return &record.Exec{
		Header: record.Header{PID: pid, Start: uint64(pid) * 1e9, PPID: ppid, ParentStart: uint64(ppid) * 1e9, Time: uint64(pid)*1e9 + 1,
			LoginUID: record.Unset, Audit: record.Unset},
		Exe: "/usr/bin/x", Cwd: "/", Args: zero(args), Env: zero(env),
	}
}

func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	c := newOffline(t, logon.Paths{})
	c.onExec(ran(4000001, 4000000, "mysql|--password=hunter2|shop", "SSH_ORIGINAL_COMMAND=tool --token geheim"))
	c.onExec(ran(4000002, 4000001, "id", ""))
	c.onExec(ran(4000003, 4000002, "id", ""))
	c.onExit(&record.Exit{Header: record.Header{PID: 4000001, Start: 4000001e9, Time: 4000001e9 + 2}})
	want := []struct{ line, parent, env, extra string }{
		{"mysql --password=[redacted] shop", "", `{"SSH_ORIGINAL_COMMAND":"tool --token [redacted]"}`, `{"Redacted":["named-secret"]}`},
		{"id", "mysql --password=[redacted] shop", "", `{"Redacted":["named-secret"]}`},
		{"id", "id", "", ""},
		{"mysql --password=[redacted] shop", "", `{"SSH_ORIGINAL_COMMAND":"tool --token [redacted]"}`, `{"Redacted":["named-secret"]}`},
	}
	rows := c.take()
	if len(rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(rows), len(want))
	}
	for i, w := range want {
		r := rows[i].(*event.DeviceProcessEvents)
		if r.ProcessCommandLine != w.line || r.InitiatingProcessCommandLine != w.parent || r.ProcessEnvironment != w.env || r.AdditionalFields != w.extra {
			t.Errorf("row %d: %v", i, columns(r))
		}
	}
}

// The policy may change while the collector runs.
func TestRedactionFollowsThePolicy(t *testing.T) {
	t.Parallel()
	c := newOffline(t, logon.Paths{})
	var r *redact.Redactor
	c.o.Redactor = func() *redact.Redactor { return r }
	line := func(pid uint32) string {
		c.onExec(ran(pid, 1, "tool|--token=a|staff=4711", "SUDO_COMMAND=tool --token b"))
		row := c.take()[0].(*event.DeviceProcessEvents)
		return row.ProcessCommandLine + " " + row.ProcessEnvironment
	}
	for i, c := range []struct {
		policy redact.Policy
		want   string
	}{
		{redact.Policy{Off: []redact.Field{redact.CommandLine, redact.Environment}}, `tool --token=a staff=4711 {"SUDO_COMMAND":"tool --token b"}`},
		{redact.Policy{Off: []redact.Field{redact.Environment}}, `tool --token=[redacted] staff=4711 {"SUDO_COMMAND":"tool --token b"}`},
		{redact.Policy{Rules: []redact.Rule{{Name: "staff", Pattern: `staff=(\d+)`}}},
			`tool --token=[redacted] staff=[redacted] {"SUDO_COMMAND":"tool --token [redacted]"}`},
	} {
		var err error
		if r, err = redact.New(c.policy, nil); err != nil {
			t.Fatal(err)
		}
		if got := line(uint32(4000010 + i)); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
}
