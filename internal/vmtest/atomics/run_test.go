// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

func TestLook(t *testing.T) {
	t.Parallel()
	test := Test{GUID: Expectations[1].GUID, Executor: "bash", Command: "copies"} // the file of password hashes
	rows := []event.Row{
		&event.DeviceProcessEvents{ActionType: "ProcessCreated", ProcessId: 7, ProcessCommandLine: "bash -c copies"},
		&event.DeviceProcessEvents{ActionType: "ProcessCreated", ProcessId: 8, ProcessCommandLine: "sudo cat /etc/shadow"},
		&event.DeviceProcessEvents{ActionType: "ProcessCreated", ProcessId: 9, ProcessCommandLine: "cat /etc/shadow"},
		&event.DeviceFileEvents{ActionType: "FileCreated", InitiatingProcessId: 7, FolderPath: "/tmp/T1003.008.txt"},
	}
	var r Report
	r.look(test, rows[1:], 7)
	if r.Said || len(r.Missing) != 0 || len(r.Problems()) != 0 {
		t.Errorf("without the shell: %+v", r)
	}
	r.GUID = test.GUID
	if len(r.Problems()) != 1 {
		t.Errorf("without the shell: %q", r.Problems())
	}
	r.look(test, rows, 7)
	if !r.Said || len(r.Problems()) != 0 || r.Rows["DeviceProcessEvents ProcessCreated"] != 3 || len(r.Key) != 3 ||
		r.Key[2] != "FileCreated FolderPath=/tmp/T1003.008.txt" {
		t.Errorf("all rows: %+v", r)
	}
	r.look(test, rows[:3], 7)
	if len(r.Missing) != 1 || !strings.Contains(r.Missing[0], "FileCreated") || !strings.Contains(r.String(), "cat /etc/shadow") {
		t.Errorf("without the file: %+v", r)
	}
}

// The shell runs what the test says in a session of its own.
func TestShell(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: tests are run as users")
	}
	test := Test{Executor: "sh", Root: true}
	pid, exit, out, err := test.shell(t.Context(), `echo $HOME $PathToAtomicsFolder; ps -o sid= -p $$ || echo $$; exit 3`)
	if err != nil || exit != 3 || pid <= 1 || !strings.HasPrefix(out, "/root "+folder+"\n") {
		t.Errorf("%d %d %q %v", pid, exit, out, err)
	}
	if own, err := unix.Getsid(0); err != nil || own == pid {
		t.Errorf("session %d is our own: %v", own, err)
	}
	if _, _, out, err = test.shell(t.Context(), "yes | head -c 5000"); err != nil || len(out) != 300 {
		t.Errorf("%d bytes kept: %v", len(out), err)
	}
	test.Needs = []Need{{Check: "true"}, {Check: "false", Get: "true"}}
	if n := test.provide(t.Context()); n != 1 {
		t.Errorf("%d things cannot be had", n)
	}
	test.Executor = "no-such-shell"
	if _, exit, _, err := test.shell(t.Context(), "true"); err == nil || exit != -1 {
		t.Errorf("without a shell: %d %v", exit, err)
	}
}

func TestSetUp(t *testing.T) {
	t.Parallel()
	if got := shadowed("root:x:0:0:root:/root:/bin/bash\ntester:x:1000:1000\n", ":1:"); got != "root:*:1:\ntester:*:1:\n" {
		t.Errorf("%q", got)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a", "b", "c")
	if err := write(file, "content", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := own(dir, os.Getuid(), os.Getgid()); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "content" {
		t.Errorf("%q %v", b, err)
	}
	if err := own(filepath.Join(dir, "absent"), 0, 0); err == nil {
		t.Error("gave away what is not there")
	}
	if asRoot := (Test{GUID: "d169e71b-85f9-44ec-8343-27093ff3dfc0"}); asRoot.account() != root {
		t.Error("what needs root does not run as root")
	}
	if (Test{}).account() != user || (Test{Root: true}).account() != root {
		t.Error("tests run as somebody else")
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	tests := []Test{{GUID: Expectations[0].GUID, Technique: "T1"}, {GUID: Expectations[1].GUID, Technique: "T2"}, {GUID: "other", Technique: "T3"}}
	page := Page(tests, []Report{
		{GUID: tests[0].GUID, Said: true, Rows: map[string]int{"DeviceProcessEvents ProcessCreated": 3, "DeviceFileEvents FileCreated": 1}},
		{GUID: tests[1].GUID, Said: true, Missing: []string{"x"}},
		{Lost: map[string]uint64{"hash.late": 1}},
	})
	for _, want := range []string{"seen of 1 of 3 tests; of 0 the shell", "| T1 | `" + tests[0].GUID + "` | " + Expectations[0].Does,
		"in `FolderPath` |  |\n", "| T2 | `" + tests[1].GUID + "` | " + Expectations[1].Does + " | not seen | |\n", "| T3 | `other` |  | not seen | |\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in:\n%s", want, page)
		}
	}
}

func TestBrief(t *testing.T) {
	t.Parallel()
	for want, row := range map[string]event.Row{
		"FileCreated FolderPath=/a AdditionalFields={}":             &event.DeviceFileEvents{ActionType: "FileCreated", FolderPath: "/a", AdditionalFields: "{}", SHA1: "x"},
		"ConnectionFailed RemoteIP=192.168.1.1":                     &event.DeviceNetworkEvents{ActionType: "ConnectionFailed", RemoteIP: "192.168.1.1"},
		"X ProcessCommandLine=" + strings.Repeat("y", 120):          &event.DeviceProcessEvents{ActionType: "X", ProcessCommandLine: strings.Repeat("y", 500)},
		"UserAccountCreated FolderPath=/etc/passwd AccountName=art": &event.DeviceEvents{ActionType: "UserAccountCreated", FolderPath: "/etc/passwd", AccountName: "art"},
	} {
		if got := brief(row); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	row := &event.DeviceNetworkEvents{RemotePort: 80, InitiatingProcessId: 7}
	if number(row, "InitiatingProcessId") != 7 || number(row, "NoSuchColumn") != 0 || number(row, "RemoteIP") != 0 || text(row, "InitiatingProcessId") != "" {
		t.Error("columns are taken for others")
	}
}
