// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"strings"
	"testing"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

const (
	unset   = ^uint64(0)
	sysAll  = uint64(1)<<41 - 1
	netRaw  = uint64(1) << unix.CAP_NET_RAW
	aUserNS = 77
)

// hookOf is the account of a kind that is collected.
func hookOf(kind string) picket.Hook {
	return picket.Hook{Kind: kind, Rung: "tracepoint", Attached: true}
}

// running makes a process that has been told of, and returns its header.
func (f *offline) running(pid uint32, name string, uid uint32, caps uint64) record.Header {
	f.ticks++
	h := record.Header{Type: record.TypeExec, Len: record.HeaderSize, Time: 1000e9 + f.ticks*1e6, Start: uint64(pid) * 1e9, PID: pid, TID: pid,
		UID: uid, EUID: uid, GID: uid, EGID: uid, LoginUID: record.Unset, Audit: record.Unset, Comm: name}
	f.onExec(&record.Exec{Header: h, Exe: "/bin/" + name, Args: []byte(name + "\x00"),
		Task: record.TaskPart{Caps: caps, UsrNS: aUserNS, MntNS: 1}, Image: record.ImagePart{Ino: 5, Mode: 0o100755, Nlink: 1}})
	f.take()
	h.Type = record.TypeAction
	return h
}

// act hands over an action and returns the rows that come of it.
func (f *offline) act(h record.Header, a record.Action) []event.Row {
	f.ticks++
	h.Time = max(h.Time, 1000e9+f.ticks*1e6)
	a.Header = h
	if a.UsrNS == 0 {
		a.UsrNS, a.MntNS = aUserNS, 1
	}
	f.onAction(&a)
	return f.take()
}

// one wants exactly one row, of DeviceEvents.
func one(t *testing.T, rows []event.Row, action string, want ...string) *event.DeviceEvents {
	t.Helper()
	if len(rows) != 1 {
		for _, r := range rows {
			t.Logf("%v", columns(r))
		}
		t.Fatalf("%d rows, want one %s", len(rows), action)
	}
	r, ok := rows[0].(*event.DeviceEvents)
	if !ok || r.ActionType != action {
		t.Fatalf("%v, want %s", columns(rows[0]), action)
	}
	for _, w := range want {
		if !strings.Contains(r.AdditionalFields, w) {
			t.Errorf("%s, want %s", r.AdditionalFields, w)
		}
	}
	return r
}

func none(t *testing.T, rows []event.Row) {
	t.Helper()
	for _, r := range rows {
		t.Errorf("told for nothing: %v", columns(r))
	}
}

func TestIdentityChanges(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	h := f.running(100, "su", 0, sysAll)
	a := record.Action{Kind: record.SetUID, Args: [6]uint64{2, unset, unset}, Caps: sysAll}
	none(t, f.act(h, a)) // to what it is
	h.UID, h.EUID, a.Caps = 1000, 1000, 0
	r := one(t, f.act(h, a), "ProcessUserChanged", `"PreviousUserId":0`, `"UserId":1000`, `"Method":"setresuid"`)
	if r.InitiatingProcessFileName != "su" || r.InitiatingProcessUserId != event.LongOf(1000) {
		t.Errorf("%v", columns(r))
	}
	none(t, f.act(h, a)) // the other threads follow
	h.UID, h.EUID, a.Caps = 0, 0, sysAll
	one(t, f.act(h, a), "ProcessUserChanged", `"PreviousUserId":1000`)
	// A hook that sees both sides says what was before.
	h.UID = 5
	a.Args[1], a.Args[2] = 4, 3
	one(t, f.act(h, a), "ProcessUserChanged", `"PreviousEffectiveUserId":3,"PreviousUserId":4`)
	h.GID, h.EGID = 7, 7
	one(t, f.act(h, record.Action{Kind: record.SetGID, Args: [6]uint64{0, unset, unset}, Caps: sysAll}), "ProcessGroupChanged", `"PreviousGroupId":0`)
}

func TestCapabilityGains(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	h := f.running(100, "ping", 1000, netRaw)
	set := func(caps uint64) []event.Row { return f.act(h, record.Action{Kind: record.CapSet, Caps: caps}) }
	none(t, set(0))
	none(t, set(netRaw)) // taken up again
	one(t, set(netRaw|1), "ProcessCapabilitiesGained", `"Gained":["CAP_CHOWN"]`)
	// Another namespace has rights of its own.
	none(t, f.act(h, record.Action{Kind: record.Memfd, Caps: sysAll, UsrNS: aUserNS + 1})[1:])
}

// Root that no call and no image gave.
func TestUnexplainedRights(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.setHook(hookOf("privilege"))
	h := f.running(100, "exploit", 1000, 0)
	quiet := record.Action{Kind: record.Prctl, Args: [6]uint64{15}, Name: "nothing"}
	none(t, f.act(h, quiet))
	h.EUID = 0
	one(t, f.act(h, quiet), "UnexplainedPrivilegeGain", `"PreviousEffectiveUserId":1000`)
	none(t, f.act(h, quiet)) // told once
	quiet.Caps = sysAll
	one(t, f.act(h, quiet), "UnexplainedPrivilegeGain", "CAP_SYS_ADMIN")

	// Without the hooks that explain, nothing is unexplained.
	f = newOffline(t, logon.Paths{})
	h = f.running(100, "program", 1000, 0)
	h.EUID = 0
	none(t, f.act(h, quiet))

	// A root process that put its rights down may take them up in any thread.
	f = newOffline(t, logon.Paths{})
	f.setHook(hookOf("privilege"))
	h = f.running(100, "daemon", 0, sysAll)
	h.EUID = 1000
	f.act(h, record.Action{Kind: record.SetUID, Args: [6]uint64{2, unset, unset}})
	h.EUID, quiet.Caps = 0, sysAll
	none(t, f.act(h, quiet))
}

func TestExecRights(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.setHook(hookOf("privilege"))
	h := f.running(100, "sh", 1000, 0)
	exec := func(mode, owner uint32) string {
		f.ticks++
		h.Type, h.EUID, h.Time = record.TypeExec, 0, 1000e9+f.ticks*1e6
		f.onExec(&record.Exec{Header: h, Exe: "/bin/x", Image: record.ImagePart{Ino: 6, Mode: mode, Nlink: 1, UID: owner}})
		return f.take()[0].(*event.DeviceProcessEvents).AdditionalFields
	}
	if got := exec(0o104755, 0); !strings.Contains(got, `"SetUid":true`) || strings.Contains(got, "Unexplained") {
		t.Error(got)
	}
	f.running(100, "sh", 1000, 0)
	if got := exec(0o100755, 0); !strings.Contains(got, `"UnexplainedRoot":true`) {
		t.Error(got)
	}
	f.running(100, "sh", 1000, 0)
	if got := exec(0o102755, 0); !strings.Contains(got, `"SetGid":true`) {
		t.Error(got)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	f.o.ExcludePIDs = []int{300}
	killer, other := f.running(100, "bash", 0, sysAll), f.running(200, "auditd", 1000, 0)
	f.running(300, "picket-sensor", 0, sysAll)
	signal := func(pid uint32, start uint64) []event.Row {
		return f.act(killer, record.Action{Kind: record.Signal, Args: [6]uint64{9}, TargetPID: pid, TargetStart: start, Caps: sysAll})
	}
	r := one(t, signal(200, other.Start), "ProcessSignalSent", `"TargetIsSecurityTool":true`, `"TargetOfOtherUser":true`, `"Signal":"SIGKILL"`)
	if r.ProcessId != 200 || r.FolderPath != "/bin/auditd" || r.AccountSid != "1000" || r.ProcessCommandLine != "auditd" {
		t.Errorf("%v", columns(r))
	}
	one(t, signal(300, 300e9), "TamperingAttempt", `"TargetIsSensor":true`)
	// By the id that was passed, which counts in its own namespace.
	trace := record.Action{Kind: record.Ptrace, Args: [6]uint64{4, 200}, Caps: sysAll}
	if r := one(t, f.act(killer, trace), "PTraceDetected"); r.FileName != "auditd" {
		t.Errorf("%v", columns(r))
	}
	f.pidNS = 1
	f.cache.get(100, killer.Start).pidNS = 2
	if r := one(t, f.act(killer, trace), "PTraceDetected", `"ProcessIdInNamespace":200`); r.ProcessId != 0 || r.FileName != "" {
		t.Errorf("%v", columns(r))
	}
	f.pidNS = 0
	trace.Args[1] = 555 // not known
	if r := one(t, f.act(killer, trace), "PTraceDetected"); r.ProcessId != 555 {
		t.Errorf("%v", columns(r))
	}
	nice := record.Action{Kind: record.Priority, Args: [6]uint64{1, 100, 19}, Caps: sysAll}
	none(t, f.act(killer, nice)) // a shell is nobody's guard
	nice.Args[1] = 200
	one(t, f.act(killer, nice), "ProcessPriorityChanged", `"Nice":19`)
}

func TestImpostors(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	h := f.running(100, "miner", 0, sysAll)
	rename := func(name string) []event.Row {
		return f.act(h, record.Action{Kind: record.Prctl, Args: [6]uint64{15}, Name: name, Caps: sysAll})
	}
	none(t, rename("worker"))
	none(t, rename("miner"))
	one(t, rename("kworker/u8:1"), "ProcessRenamed", "kworker/u8:1")
	one(t, rename("sshd"), "ProcessRenamed")
	one(t, rename("wazuh-logcollec"), "ProcessRenamed") // cut by the kernel
}

func TestNamespaceEntry(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	h := f.running(100, "nsenter", 0, sysAll)
	one(t, f.act(h, record.Action{Kind: record.SetNS, Caps: sysAll, MntNS: 9, UsrNS: aUserNS}), "NamespaceEntered", `"Namespaces":["Mount"]`)
	if p := f.cache.latest(100); p.mntNS != 9 {
		t.Errorf("mount namespace %d", p.mntNS)
	}
}

// The same again within a second is one row, something else is another.
func TestRepeatedAttributes(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	h := f.running(100, "chmod", 0, sysAll)
	a := record.Action{Kind: record.Chmod, Args: [6]uint64{0o777}, Base: "/tmp", Name: "x", Caps: sysAll,
		Image: record.ImagePart{Ino: 4, Mode: 0o100777, Size: 3, UID: 9}}
	rows := f.act(h, a)
	r, ok := rows[0].(*event.DeviceFileEvents)
	if !ok || r.ActionType != "FilePermissionsModified" || r.FolderPath != "/tmp/x" || r.FileName != "x" || r.FileInode != 4 ||
		r.FileOwnerUserId != event.LongOf(9) || r.RequestProtocol != "Local" {
		t.Errorf("%v", columns(rows[0]))
	}
	none(t, f.act(h, a))
	a.Args[0] = 0o755
	if len(f.act(h, a)) != 1 {
		t.Error("another mode is not told")
	}
	h.Time += 5e9
	if len(f.act(h, a)) != 1 {
		t.Error("the same after a while is not told")
	}
}

func TestImageRows(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	h := f.running(100, "cat", 1000, 0)
	rows := f.act(h, record.Action{Kind: record.MapImage, Base: "/lib/libc.so.6", Image: record.ImagePart{Ino: 4, Size: 99, Mode: 0o100644, Nlink: 1}})
	r, ok := rows[0].(*event.DeviceImageLoadEvents)
	if !ok || r.FolderPath != "/lib/libc.so.6" || r.FileName != "libc.so.6" || r.FileSize != 99 || r.InitiatingProcessFileName != "cat" || r.ReportId == 0 {
		t.Errorf("%v", columns(rows[0]))
	}
}

func TestKernelFiles(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	h := f.running(100, "sysctl", 0, sysAll)
	f.running(200, "victim", 0, sysAll)
	written := func(path string) []event.Row {
		r := &record.File{Header: h, OpenerPID: 100, OpenerStart: h.Start, Path: path, Image: record.ImagePart{Sup: procMagic, Ino: 3, Nlink: 1}}
		f.onFile(r)
		return f.take()
	}
	rows := written("/proc/sys/kernel/core_pattern")
	if len(rows) != 2 {
		t.Fatalf("%d rows", len(rows))
	}
	one(t, rows[:1], "KernelSettingChanged", `"Setting":"kernel.core_pattern"`, `"Value":`)
	if rows := written("/proc/sys/vm/swappiness"); len(rows) != 1 {
		t.Errorf("%d rows about a setting that does not matter", len(rows))
	}
	r := one(t, written("/proc/200/task/200/mem")[:1], "WriteProcessMemoryApiCall")
	if r.ProcessId != 200 || r.FolderPath != "/proc/200/task/200/mem" {
		t.Errorf("%v", columns(r))
	}
	for _, row := range written("/proc/100/mem") { // its own
		if row, ok := row.(*event.DeviceEvents); ok {
			t.Errorf("%v", columns(row))
		}
	}
}
