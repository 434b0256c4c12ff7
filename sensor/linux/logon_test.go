// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/logon"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// A fact becomes a row with the columns of the process and of the account.
func TestLogonRow(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	p := f.cache.add(77, 5, nil)
	p.name, p.audit, p.tty = "sshd", 9, "pts/3"
	at := time.Unix(1_790_000_000, 5000)
	f.onLogon(logon.Fact{Action: logon.Success, Type: "RemoteInteractive", Program: "sshd", PID: 77, User: "Alice", At: at,
		Remote: netip.MustParseAddr("10.1.2.3"), Port: 4022, Method: "publickey", KeyType: "ED25519", Fingerprint: "SHA256:x", Sources: []string{"audit", "journal"}})
	f.onLogon(logon.Fact{Action: logon.Failed, Type: "NewCredentials", Program: "sudo", UserID: "1000", Target: "root", Session: 4, Reason: "NotInSudoers",
		Command: "/bin/sh", Cwd: "/", Repeats: 2, Unverified: true, Host: "far", At: at, Sources: []string{"journal"}})
	rows := f.take()
	r := rows[0].(*event.DeviceLogonEvents)
	if r.ActionType != "LogonSuccess" || r.AccountName != "alice" || r.LogonId != 9 || r.LogonTty != "pts/3" || r.RemotePort != 4022 ||
		r.RemoteIPType != "Private" || r.Protocol != "publickey" || r.InitiatingProcessFileName != "sshd" || r.Timestamp != event.Time(at.UnixMicro()) {
		t.Errorf("row %v", columns(r))
	}
	if diff := cmp.Diff(map[string]any{"Program": "sshd", "IsLocalLogon": false, "KeyType": "ED25519", "KeyFingerprint": "SHA256:x",
		"Sources": []any{"audit", "journal"}}, details(t, r.AdditionalFields)); diff != "" {
		t.Error(diff)
	}
	r = rows[1].(*event.DeviceLogonEvents)
	if r.AccountName != "alice" || r.TargetAccountName != "root" || r.LogonId != 4 || r.FailureReason != "NotInSudoers" || r.RemoteDeviceName != "far" {
		t.Errorf("row %v", columns(r))
	}
	if d := details(t, r.AdditionalFields); d["Unverified"] != true || d["Command"] != "/bin/sh" || d["CurrentDirectory"] != "/" || d["Repeated"] != 2.0 {
		t.Errorf("details %v", d)
	}
}

func details(t *testing.T, s string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return m
}

func TestAccountRow(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	p := f.cache.add(78, 5, nil)
	p.name, p.audit = "useradd", record.Unset
	f.onLogon(logon.Fact{Action: logon.MemberAdded, Account: true, Program: "usermod", PID: 78, User: "ROOT", TargetID: "1000", Group: "sudo",
		Reason: "x", At: time.Unix(1, 0), Sources: []string{"log"}})
	r := f.take()[0].(*event.DeviceEvents)
	if r.ActionType != "UserAccountAddedToLocalGroup" || r.AccountName != "alice" || r.AccountSid != "1000" || r.AccountDomain != "host.test" ||
		r.InitiatingProcessFileName != "useradd" || r.InitiatingProcessLogonId != 0 {
		t.Errorf("row %v", columns(r))
	}
	if d := details(t, r.AdditionalFields); d["GroupName"] != "sudo" || d["ChangedBy"] != "root" || d["FailureReason"] != "x" {
		t.Errorf("details %v", d)
	}
}

// Who called a program is known from the start of the program, where the log
// names only the account that it ran for.
func TestCallerFromProcess(t *testing.T) {
	t.Parallel()
	f := newOffline(t, logon.Paths{})
	su := f.cache.add(79, 5, nil)
	su.name, su.called, su.calledBy, su.audit = "su", true, 1000, record.Unset
	f.onLogon(logon.Fact{Action: logon.Logoff, Program: "su", PID: 79, Target: "root", At: time.Unix(1, 0)})
	r := f.take()[0].(*event.DeviceLogonEvents)
	if r.AccountName != "alice" || r.TargetAccountName != "root" {
		t.Errorf("row %v", columns(r))
	}
}
