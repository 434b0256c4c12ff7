// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/store"
	"github.com/picket-edr/picket/store/duckdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const device = "0123456789abcdef0123456789abcdef01234567"

var (
	noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	at   = event.TimeOf(noon)
)

// fill returns a store that holds the rows, as sent by one device.
func fill(t *testing.T, rows ...event.Row) store.Events {
	t.Helper()
	s, err := duckdb.Open(context.Background(), duckdb.Options{Dir: t.TempDir(), MemoryMB: 512, Threads: 1, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var b event.Builder
	for _, r := range rows {
		b.Add(r)
	}
	env := event.Envelope{Tenant: "default", DeviceID: device, DeviceName: "host", Received: at + 86_400_000_000, BootID: "boot", Seq: 1}
	if err := s.Append(context.Background(), []store.Delivery{{Position: store.Position{Epoch: "e", Sequence: 1}, Envelope: env, Batch: &event.Batch{Blocks: b.Take()}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

// started is a process that started n seconds after noon.
func started(n int, guid, parent, name string) *event.DeviceProcessEvents {
	when := at + event.Time(n*1_000_000)
	return &event.DeviceProcessEvents{
		Timestamp: when, ReportId: int64(n + 1), ActionType: "ProcessCreated", ProcessUniqueId: guid, InitiatingProcessUniqueId: parent, FileName: name,
		FolderPath: "/usr/bin/" + name, ProcessId: 100, ProcessCreationTime: when, AccountName: "root",
	}
}

// outline writes a tree as indented names.
func outline(t *store.Tree) string {
	depth := map[string]int{}
	var b strings.Builder
	for _, n := range t.Nodes {
		d := 0
		if p, ok := depth[n.ParentGUID]; ok {
			d = p + 1
		}
		depth[n.GUID] = d
		mark := ""
		if n.GUID == t.Focus {
			mark = "*"
		}
		if n.Partial {
			mark += "?"
		}
		fmt.Fprintf(&b, "%s%s%s\n", strings.Repeat(" ", d), n.FileName, mark)
	}
	return b.String()
}

func tree(t *testing.T, ev store.Events, q store.TreeQuery) *store.Tree {
	t.Helper()
	q.DeviceID = device
	got, err := store.ProcessTree(context.Background(), ev, q)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTreeSurvivesReusedProcessIDs(t *testing.T) {
	ev := fill(t,
		&event.DeviceProcessEvents{Timestamp: at - 5, ReportId: 1, ActionType: "ProcessFound", ProcessUniqueId: "init", FileName: "systemd", ProcessId: 1},
		started(1, "sshd", "init", "sshd"),
		started(2, "shell", "sshd", "bash"),
		started(3, "one", "shell", "curl"),
		started(4, "two", "shell", "sh"),
		started(5, "deep", "two", "nc"),
		started(6, "stranger", "init", "cron"),
		&event.DeviceProcessEvents{Timestamp: at + 7_000_000, ReportId: 8, ActionType: "ProcessExited", ProcessUniqueId: "one", FileName: "curl", ProcessExitCode: event.LongOf(7)},
		&event.DeviceNetworkEvents{Timestamp: at + 6_500_000, ReportId: 9, ActionType: "ConnectionFailed", RemoteIP: "192.0.2.1", InitiatingProcessUniqueId: "one"},
	)
	got := tree(t, ev, store.TreeQuery{Focus: "shell"})
	want := "systemd\n sshd\n  bash*\n   curl\n   sh\n    nc\n"
	if d := cmp.Diff(want, outline(got)); d != "" {
		t.Error(d)
	}
	for _, n := range got.Nodes {
		switch n.GUID {
		case "init":
			if !n.Snapshot {
				t.Error("systemd was found running")
			}
		case "one":
			if n.ExitCode != "7" || !n.End.Equal(noon.Add(7*time.Second)) || len(n.Events) != 1 {
				t.Errorf("curl: %+v", n)
			}
		}
	}
}

func TestTreeFromWhatOthersSay(t *testing.T) {
	ev := fill(t, &event.DeviceFileEvents{
		Timestamp: at, ReportId: 1, ActionType: "FileCreated", FolderPath: "/tmp/x", InitiatingProcessUniqueId: "ghost", InitiatingProcessFileName: "daemon",
		InitiatingProcessId: 77, InitiatingProcessParentUniqueId: "gone",
	})
	got := tree(t, ev, store.TreeQuery{Focus: "ghost"})
	if d := cmp.Diff("daemon*?\n", outline(got)); d != "" {
		t.Error(d)
	}
	if n := got.Nodes[0]; n.PID != 77 || len(n.Events) != 1 {
		t.Errorf("node %+v", n)
	}
	if _, err := store.ProcessTree(context.Background(), ev, store.TreeQuery{DeviceID: device, Focus: "nobody"}); !errors.Is(err, picket.NotFound) {
		t.Errorf("unknown process: %v", err)
	}
}

func TestTreeIsBounded(t *testing.T) {
	rows := []event.Row{started(0, "root", "", "sh")}
	for i := range 50 {
		rows = append(rows, started(i+1, fmt.Sprint("child", i), "root", "true"))
		rows = append(rows, &event.DeviceFileEvents{Timestamp: at + event.Time(i), ReportId: int64(1000 + i), ActionType: "FileCreated", FolderPath: "/tmp/x", InitiatingProcessUniqueId: "root"})
	}
	got := tree(t, fill(t, rows...), store.TreeQuery{Focus: "root", MaxNodes: 10, MaxEvents: 5})
	if !got.Truncated || len(got.Nodes) > 41 {
		t.Errorf("%d nodes, truncated %v", len(got.Nodes), got.Truncated)
	}
	if n := got.Nodes[0]; len(n.Events) != 5 || n.MoreEvents != 45 {
		t.Errorf("%d events and %d more", len(n.Events), n.MoreEvents)
	}
}

func TestForgedCircleEnds(t *testing.T) {
	ev := fill(t, started(1, "a", "b", "a"), started(2, "b", "a", "b"), started(3, "self", "self", "self"))
	for _, focus := range []string{"a", "self"} {
		tree(t, ev, store.TreeQuery{Focus: focus})
	}
}

func TestTimelinePages(t *testing.T) {
	var rows []event.Row
	for i := range 25 {
		rows = append(rows, started(i, fmt.Sprint("p", i), "", "true"))
	}
	rows = append(rows, &event.DeviceFileEvents{Timestamp: at + 24_000_000, ReportId: 99, ActionType: "FileCreated", FolderPath: "/tmp/same moment"})
	ev := fill(t, rows...)
	for _, asc := range []bool{false, true} {
		seen := map[int64]bool{}
		var last time.Time
		cursor := ""
		for page := 0; ; page++ {
			got, err := store.Timeline(context.Background(), ev, store.TimelineQuery{DeviceID: device, Limit: 7, Cursor: cursor, Asc: asc})
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range got.Items {
				if seen[it.ReportID] {
					t.Fatalf("event %d twice", it.ReportID)
				}
				if !last.IsZero() && last != it.Time && last.Before(it.Time) != asc {
					t.Fatalf("%v after %v", it.Time, last)
				}
				seen[it.ReportID], last = true, it.Time
			}
			if cursor = got.Next; cursor == "" {
				break
			}
		}
		if len(seen) != 26 {
			t.Errorf("ascending %v: %d events, want 26", asc, len(seen))
		}
	}
}

func TestTimelineSearchIsText(t *testing.T) {
	ev := fill(t,
		&event.DeviceProcessEvents{Timestamp: at, ReportId: 1, ActionType: "ProcessCreated", ProcessCommandLine: `100%_sure \ 'quoted'`, FileName: "a.TXT"},
		&event.DeviceProcessEvents{Timestamp: at, ReportId: 2, ActionType: "ProcessCreated", ProcessCommandLine: "100 XX sure", FileName: "b.txt"},
	)
	for search, want := range map[string]int{
		"100%_sure": 1, "100": 2, `\ 'quoted'`: 1, "cmd:%": 1, "cmd:_": 1, "ext:txt": 2, "ext:.txt": 2, "ext:t%t": 0, "nothing:100%": 0, "'; DROP VIEW events; --": 0, "file:A.txt": 1, "": 2,
	} {
		got, err := store.Timeline(context.Background(), ev, store.TimelineQuery{DeviceID: device, Search: search})
		if err != nil || len(got.Items) != want {
			t.Errorf("%q: %d events, want %d (%v)", search, len(got.Items), want, err)
		}
	}
}

func TestTimelineRefusesBadQueries(t *testing.T) {
	ev := fill(t, started(0, "a", "", "a"))
	for name, q := range map[string]store.TimelineQuery{
		"limit":  {Limit: 5000},
		"type":   {Types: []string{"everything"}},
		"cursor": {Cursor: "!"},
	} {
		if _, err := store.Timeline(context.Background(), ev, q); !errors.Is(err, picket.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLevelsAndTypes(t *testing.T) {
	ev := fill(t,
		started(0, "a", "", "a"),
		&event.DeviceProcessEvents{Timestamp: at, ReportId: 50, ActionType: "ProcessExited"},
		&event.DeviceFileEvents{Timestamp: at, ReportId: 51, ActionType: "FileModified", FolderPath: "/var/log/x.log"},
		&event.DeviceFileEvents{Timestamp: at, ReportId: 52, ActionType: "FileModified", FolderPath: "/etc/passwd"},
		&event.DeviceEvents{Timestamp: at, ReportId: 53, ActionType: "DnsQueryRequest", DnsQueryName: "x.example"},
		&event.DeviceEvents{Timestamp: at, ReportId: 54, ActionType: "SensorStarted"},
		&event.DeviceInfo{Timestamp: at, ReportId: 55},
	)
	count := func(q store.TimelineQuery) int {
		t.Helper()
		q.DeviceID = device
		got, err := store.Timeline(context.Background(), ev, q)
		if err != nil {
			t.Fatal(err)
		}
		return len(got.Items)
	}
	for what, x := range map[string]struct{ got, want int }{
		"verbose":   {count(store.TimelineQuery{Level: store.LevelVerbose}), 7},
		"behaviors": {count(store.TimelineQuery{Level: store.LevelBehaviors}), 3},
		"dns":       {count(store.TimelineQuery{Types: []string{"dns"}}), 1},
		"sensor":    {count(store.TimelineQuery{Types: []string{"sensor"}}), 1},
		"other":     {count(store.TimelineQuery{Types: []string{"other"}}), 1},
		"two types": {count(store.TimelineQuery{Types: []string{"process", "file"}}), 4},
		"reports":   {count(store.TimelineQuery{Reports: []store.Report{{BootID: "boot", ReportID: 52}, {BootID: "x", ReportID: 53}}}), 1},
		"nothing":   {count(store.TimelineQuery{Reports: []store.Report{}}), 0},
		"window":    {count(store.TimelineQuery{From: noon.Add(time.Second)}), 0},
	} {
		if x.got != x.want {
			t.Errorf("%s: %d events, want %d", what, x.got, x.want)
		}
	}
}

func TestLoggedOnUsers(t *testing.T) {
	logon := func(n int, day int, user, kind, action string, admin bool) event.Row {
		return &event.DeviceLogonEvents{Timestamp: at - event.Time(day)*86_400_000_000, ReportId: int64(n), ActionType: action, AccountName: user, AccountDomain: "host", LogonType: kind, IsLocalAdmin: admin}
	}
	ev := fill(t,
		logon(1, 0, "alice", "RemoteInteractive", "LogonSuccess", false), logon(2, 1, "alice", "RemoteInteractive", "LogonSuccess", false),
		logon(3, 1, "alice", "Interactive", "LogonSuccess", true), logon(4, 2, "bob", "Interactive", "LogonFound", false),
		logon(5, 0, "mallory", "Network", "LogonFailed", false), logon(6, 40, "old", "Interactive", "LogonSuccess", false),
	)
	got, err := store.LoggedOnUsers(context.Background(), ev, device, noon.AddDate(0, 0, -30))
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := got[0]; a.Account != "alice" || !a.LocalAdmin || a.DaysSeen != 2 || len(a.LogonTypes) != 2 || !a.LastSeen.Equal(noon) {
		t.Errorf("alice: %+v", a)
	}
}

func TestLosses(t *testing.T) {
	ev := fill(t,
		&event.DeviceEvents{Timestamp: at, ReportId: 1, ActionType: "SensorLoss", AdditionalFields: `{"Lost":{"kernel.file":3,"hash":"4","none":0},"Total":{"kernel.file":9},"Since":"2026-11-24T11:59:00Z"}`},
		&event.DeviceEvents{Timestamp: at + 1, ActionType: "SensorGap", AdditionalFields: `{"lost":{"batches":2}}`},
		&event.DeviceEvents{Timestamp: at + 2, ReportId: 2, ActionType: "SensorLoss", AdditionalFields: `not json`},
	)
	got, err := store.Losses(context.Background(), ev, device, noon.Add(-time.Hour), noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	since := noon.Add(-time.Minute)
	gap := noon.Add(time.Microsecond)
	want := []store.Loss{{From: since, To: noon, Class: "hash", Count: 4}, {From: since, To: noon, Class: "kernel.file", Count: 3}, {From: gap, To: gap, Class: "batches", Count: 2}}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(store.Loss{})); d != "" {
		t.Error(d)
	}
}

// TestLostBatchesAreLocated has a sensor tell at noon that batches were lost
// which it had made between a quarter and half past eleven.
func TestLostBatchesAreLocated(t *testing.T) {
	s, err := duckdb.Open(context.Background(), duckdb.Options{Dir: t.TempDir(), MemoryMB: 512, Threads: 1, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	quarter, half := noon.Add(-45*time.Minute), noon.Add(-30*time.Minute)
	loss := func(first, last int) string {
		return fmt.Sprintf(`{"Lost":{"spool.low":3},"Spans":[{"Class":"spool.low","BootId":"boot","FirstSequence":%d,"LastSequence":%d}]}`, first, last)
	}
	for i, b := range []struct {
		seq  uint64
		when time.Time
		text string
	}{{3, quarter, ""}, {7, half, ""}, {8, noon, loss(4, 6)}, {9, noon, loss(1, 2)}, {10, noon, loss(500, 600)}, {11, noon, loss(-5, 1)}} {
		var rows event.Builder
		row := &event.DeviceEvents{Timestamp: event.TimeOf(b.when), ReportId: int64(i + 1), ActionType: "DnsQueryRequest"}
		if b.text != "" {
			row.ActionType, row.AdditionalFields = "SensorLoss", b.text
		}
		rows.Add(row)
		env := event.Envelope{Tenant: "default", DeviceID: device, Received: at + 1, BootID: "boot", Seq: b.seq}
		if err := s.Append(context.Background(), []store.Delivery{{Position: store.Position{Epoch: "e", Sequence: uint64(i + 1)}, Envelope: env, Batch: &event.Batch{Blocks: rows.Take()}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := store.Losses(context.Background(), s, device, quarter.Add(-time.Hour), noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	want := []store.Loss{{From: quarter, To: quarter}, {From: quarter, To: half}, {From: noon, To: noon}, {From: noon, To: noon}}
	for i := range want {
		want[i].Class, want[i].Count = "spool.low", 3
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(store.Loss{})); d != "" {
		t.Error(d)
	}
	if got, err := store.Losses(context.Background(), s, device, quarter.Add(time.Minute), half.Add(-time.Minute)); err != nil || len(got) != 1 {
		t.Errorf("between a quarter and half past: %v, %v", got, err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   any
		want string
	}{{nil, ""}, {"s", "s"}, {true, "true"}, {false, ""}, {int64(-3), "-3"}, {noon, "2026-11-24T12:00:00.000000Z"}, {1.5, "1.5"}} {
		if got := store.Text(c.in); got != c.want {
			t.Errorf("Text(%v) = %q, want %q", c.in, got, c.want)
		}
	}
}
