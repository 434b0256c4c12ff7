// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/picket-edr/picket/sensor/linux/audit"
)

// heard reads a line of an audit log; the time and serial number are added.
func heard(t *testing.T, name, text string) (note, bool) {
	t.Helper()
	r, err := audit.ParseLine("type=" + name + " msg=audit(1790000000.000:1): " + text)
	if err != nil {
		t.Fatal(err)
	}
	return fromAudit(&r)
}

func TestAuditMessages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       note
	}{
		{"USER_LOGIN", `pid=11 uid=0 auid=1001 ses=36 msg='op=login id=1001 exe="/usr/sbin/sshd" hostname=192.0.2.7 addr=192.0.2.7 terminal=/dev/pts/1 res=success'`,
			note{Fact: Fact{Action: Success, Type: "RemoteInteractive", Program: "sshd", PID: 11, UserID: "1001", Session: 36, Remote: ip, TTY: "pts/1"}}},
		{"USER_LOGIN", `pid=11 uid=0 auid=4294967295 ses=4294967295 msg='op=login acct=28696E76616C6964207573657229 exe="/usr/sbin/sshd" hostname=? addr=192.0.2.7 terminal=sshd res=failed'`,
			note{weak: true, Fact: Fact{Action: Failed, Type: "RemoteInteractive", Program: "sshd", PID: 11, Remote: ip, Reason: unknownUser}}},
		{"USER_AUTH", `pid=11 uid=0 ses=4294967295 msg='op=PAM:authentication acct="root" exe="/usr/sbin/sshd" hostname=far.test addr=? terminal=ssh res=failed'`,
			note{Fact: Fact{Action: Failed, Type: "RemoteInteractive", Program: "sshd", PID: 11, User: "root", Host: "far.test", Reason: wrongPassword}}},
		{"USER_AUTH", `pid=11 uid=0 msg='op=pubkey_auth acct="root" exe="/usr/sbin/sshd" hostname=? addr=192.0.2.7 terminal=? res=failed'`,
			note{weak: true, Fact: Fact{Action: Failed, Type: "RemoteInteractive", Program: "sshd", PID: 11, User: "root", Remote: ip, Reason: wrongPassword}}},
		{"USER_AUTH", `pid=11 uid=1000 ses=2 msg='op=PAM:authentication acct="root" exe="/bin/su" hostname=? addr=? terminal=/dev/pts/0 res=failed'`,
			note{Fact: Fact{Action: Failed, Type: "NewCredentials", Program: "su", PID: 11, UserID: "1000", Target: "root", Session: 2, TTY: "pts/0", Reason: wrongPassword}}},
		{"USER_AUTH", `pid=11 uid=1000 ses=2 msg='op=PAM:authentication acct="alice" exe="/usr/bin/sudo" hostname=? addr=? terminal=/dev/pts/0 res=failed'`,
			note{weak: true, hold: sudoAsks, Fact: Fact{Action: Failed, Type: "NewCredentials", Program: "sudo", PID: 11, User: "alice", Session: 2, TTY: "pts/0", Reason: wrongPassword}}},
		{"USER_AUTH", `pid=11 uid=0 ses=2 msg='op=PAM:authentication acct="alice" exe="/usr/libexec/gdm-session-worker" hostname=? addr=? terminal=/dev/tty1 res=success'`,
			note{weak: true, loose: true, Fact: Fact{Action: Success, Type: "Unlock", Program: "gdm-password", PID: 11, User: "alice", Session: 2, TTY: "tty1"}}},
		{"USER_ACCT", `pid=11 uid=0 msg='op=PAM:accounting acct="bob" exe="/usr/sbin/sshd" hostname=? addr=192.0.2.7 terminal=ssh res=failed'`,
			note{weak: true, Fact: Fact{Action: Failed, Type: "RemoteInteractive", Program: "sshd", PID: 11, User: "bob", Remote: ip, Reason: notAllowed}}},
		{"USER_START", `pid=11 uid=0 auid=0 ses=39 msg='op=PAM:session_open acct="root" exe="/usr/sbin/cron" hostname=? addr=? terminal=cron res=success'`,
			note{Fact: Fact{Action: Success, Type: "Batch", Program: "cron", PID: 11, User: "root", Session: 39}}},
		{"USER_START", `pid=11 uid=1000 auid=1000 ses=3 msg='op=PAM:session_open acct="root" exe="/usr/bin/sudo" hostname=? addr=? terminal=/dev/pts/0 res=success'`,
			note{weak: true, Fact: Fact{Action: Success, Type: "NewCredentials", Program: "sudo", PID: 11, Target: "root", Session: 3, TTY: "pts/0"}}},
		{"USER_END", `pid=11 uid=0 auid=0 ses=39 msg='op=PAM:session_close acct="root" exe="/usr/sbin/cron" hostname=? addr=? terminal=cron res=success'`,
			note{Fact: Fact{Action: Logoff, Type: "Batch", Program: "cron", PID: 11, User: "root", Session: 39}}},
		{"USER_CMD", `pid=11 uid=1000 auid=1000 ses=3 msg='cwd="/home/a" cmd=6C73202D6C terminal=pts/0 res=success'`,
			note{weak: true, Fact: Fact{Action: Success, Type: "NewCredentials", Program: "sudo", PID: 11, UserID: "1000", Session: 3, TTY: "pts/0", Command: "ls -l", Cwd: "/home/a"}}},
		{"USER_CMD", `pid=11 uid=1000 auid=1000 ses=3 msg='cwd="/" cmd="id" terminal=? res=failed'`,
			note{weak: true, hold: sudoAsks, Fact: Fact{Action: Failed, Type: "NewCredentials", Program: "sudo", PID: 11, UserID: "1000", Session: 3, Command: "id", Cwd: "/", Reason: commandRefused}}},
		{"ANOM_LOGIN_FAILURES", `pid=11 uid=0 msg='op=pam_faillock acct="bob" exe="/usr/sbin/sshd" hostname=? addr=192.0.2.7 terminal=ssh res=success'`,
			note{Fact: Fact{Action: Failed, Type: "RemoteInteractive", Program: "sshd", PID: 11, User: "bob", Remote: ip, Reason: tooMany}}},
	} {
		got, ok := heard(t, c.name, c.text)
		c.want.origin = "audit " + c.name
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(note{}), compareAddrs, cmpopts.IgnoreFields(Fact{}, "At")); diff != "" || !ok {
			t.Errorf("%s %s\n%s", c.name, c.text, diff)
		}
	}
}

func TestAuditChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"ADD_USER", `pid=5 msg='op=add-user id=1000 exe="/usr/sbin/useradd" res=success'`, "UserAccountCreated #1000 add-user"},
		{"ADD_USER", `pid=5 msg='op=adding user acct="bob" exe="/usr/sbin/useradd" res=success'`, "UserAccountCreated bob# adding user"},
		{"ADD_USER", `pid=5 msg='op=adding user to group acct="bob" grp="wheel" exe="/usr/sbin/useradd" res=success'`, "UserAccountAddedToLocalGroup bob#wheel adding user to group"},
		{"DEL_USER", `pid=5 msg='op=delete-user acct="bob" exe="/usr/sbin/userdel" res=success'`, "UserAccountDeleted bob# delete-user"},
		{"USER_MGMT", `pid=5 msg='op=add-user-to-group grp="wheel" acct="bob" exe="/usr/sbin/usermod" res=success'`, "UserAccountAddedToLocalGroup bob#wheel add-user-to-group"},
		{"USER_MGMT", `pid=5 msg='op=delete-user-from-group grp="wheel" acct="bob" res=success'`, "UserAccountRemovedFromLocalGroup bob#wheel delete-user-from-group"},
		{"USER_MGMT", `pid=5 msg='op=changing-shell acct="bob" res=success'`, "UserAccountModified bob# changing-shell"},
		{"ADD_GROUP", `pid=5 msg='op=add-group id=1000 exe="/usr/sbin/groupadd" res=success'`, "SecurityGroupCreated # add-group gid=1000"},
		{"DEL_GROUP", `pid=5 msg='op=delete-group acct="x" exe="/usr/sbin/groupdel" res=success'`, "SecurityGroupDeleted #x delete-group"},
		{"USER_CHAUTHTOK", `pid=5 msg='op=PAM:chauthtok acct="bob" exe="/usr/bin/passwd" res=failed'`, "PasswordChangeAttempt bob# PAM:chauthtok"},
		{"ACCT_LOCK", `pid=5 msg='op=lock acct="bob" res=success'`, "UserAccountModified bob# lock"},
		{"CONFIG_CHANGE", `auid=1000 ses=6 op="remove_rule" path="/etc/gshadow" key="auth" list=4 res=1`,
			"AuditPolicyModification # CONFIG_CHANGE op=remove_rule path=/etc/gshadow key=auth list=4 res=1"},
		{"DAEMON_END", `op=terminate auid=0 pid=9 res=success`, "AuditPolicyModification # DAEMON_END op=terminate res=success"},
		{"ANOM_PROMISCUOUS", `dev=ens4 prom=256 old_prom=0 auid=1001 uid=0 gid=0 ses=1`, "PromiscuousModeEntered # device dev=ens4 prom=256 old_prom=0"},
		{"ANOM_ABEND", `auid=4294967295 uid=48 gid=48 ses=4294967295 pid=31242 comm="httpd" reason="memory violation" sig=11`,
			"ProcessCrashed # signal sig=11 reason=memory violation comm=httpd"},
	} {
		n, ok := heard(t, c.name, c.text)
		if got := n.Action + " " + n.Target + "#" + n.Group + n.TargetID + " " + n.Detail; got != c.want || !ok || !n.Account {
			t.Errorf("%s %s\n got %s, %v", c.name, c.text, got, ok)
		}
		m := newMerger(noLoss)
		m.tell("audit", n, start)
		if got := m.flush(start, true); len(got) != 1 {
			t.Errorf("%s: %d facts", c.name, len(got))
		}
	}
}

func TestAuditMessagesThatTellNothing(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"USER_AUTH":  `pid=11 uid=0 msg='op=PAM:authentication acct="root" exe="/usr/sbin/sshd" res=success'`,
		"USER_ACCT":  `pid=11 uid=0 msg='op=PAM:accounting acct="root" exe="/usr/sbin/sshd" res=success'`,
		"CRED_ACQ":   `pid=11 uid=0 msg='op=PAM:setcred acct="root" exe="/usr/sbin/sshd" res=success'`,
		"USER_MGMT":  `pid=5 msg='op=add-home-dir id=1000 exe="/usr/sbin/useradd" res=success'`,
		"GRP_MGMT":   `pid=5 msg='op=add-shadow-group id=1000 exe="/usr/sbin/groupadd" res=success'`,
		"ADD_USER":   `pid=5 msg='op=add-user id=1000 exe="/usr/sbin/useradd" res=failed'`,
		"USER_LOGIN": `pid=5`, "USER_END": `pid=5`, "USER_CMD": `pid=5`, "SYSCALL": `pid=5`, "ANOM_PROMISCUOUS": `dev=ens4 prom=0 old_prom=256`,
		"USER_CHAUTHTOK": `pid=5 msg='op=display aging info acct="bob" res=success'`,
	} {
		if n, ok := heard(t, name, text); ok {
			t.Errorf("%s %s was taken for %+v", name, text, n)
		}
	}
}

// The journal, the log and audit tell of one logon by sudo in different ways.
func TestAuditAddsToOthers(t *testing.T) {
	t.Parallel()
	m := newMerger(noLoss)
	for _, c := range []struct{ name, text string }{
		{"USER_AUTH", `pid=11 uid=1000 ses=2 msg='op=PAM:authentication acct="alice" exe="/usr/bin/sudo" terminal=/dev/pts/0 res=success'`},
		{"USER_CMD", `pid=11 uid=1000 auid=1000 ses=2 msg='cwd="/home/alice" cmd="id" terminal=pts/0 res=success'`},
		{"USER_START", `pid=11 uid=0 ses=2 msg='op=PAM:session_open acct="root" exe="/usr/bin/sudo" terminal=/dev/pts/0 res=success'`},
	} {
		if n, ok := heard(t, c.name, c.text); ok {
			m.tell("audit", n, start)
		}
	}
	feed(m, "journal", start, "sudo[11]: alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id",
		"sudo[11]: pam_unix(sudo:session): session opened for user root(uid=0) by alice(uid=1000)")
	m.tell("process", note{weak: true, Fact: Fact{Action: Success, Program: "sudo", Type: "NewCredentials", PID: 11, User: "alice", Target: "root"}}, start)
	got := m.flush(start.Add(time.Minute), true)
	expect(t, got, "LogonSuccess alice>root NewCredentials audit,journal,process")
	if got[0].Session != 2 || got[0].Command != "/usr/bin/id" {
		t.Errorf("got %+v", got[0])
	}
	// Two failures by sshd: audit tells of each twice, the log once.
	for range 2 {
		for _, name := range []string{"USER_AUTH", "USER_LOGIN"} {
			n, _ := heard(t, name, `pid=12 uid=0 ses=4294967295 msg='op=PAM:authentication acct="root" exe="/usr/sbin/sshd" hostname=192.0.2.7 addr=192.0.2.7 terminal=ssh res=failed'`)
			m.tell("audit", n, start)
		}
		feed(m, "log", start, "sshd[12]: Failed password for root from 192.0.2.7 port 4 ssh2")
	}
	expect(t, m.flush(start.Add(time.Minute), true), "LogonFailed root RemoteInteractive InvalidCredentials audit,log",
		"LogonFailed root RemoteInteractive InvalidCredentials audit,log")
}

func FuzzFromAudit(f *testing.F) {
	f.Add(uint16(audit.UserLogin), `pid=11 ses=36 msg='op=login acct="x" exe="/usr/sbin/sshd" hostname=h addr=192.0.2.7 terminal=/dev/pts/1 res=failed'`)
	f.Add(uint16(audit.UserMgmt), `pid=5 msg='op=add-user-to-group grp="wheel" acct="bob" res=success'`)
	f.Add(uint16(audit.ConfigChange), `auid=1000 op="remove_rule" key=61 res=1`)
	f.Fuzz(func(t *testing.T, typ uint16, text string) {
		r, err := audit.Parse(typ, "audit(1.000:1):"+text)
		if err != nil {
			return
		}
		if n, ok := fromAudit(&r); ok && (n.Action == "" || len(n.User) > maxText || len(n.Detail) > maxText) {
			t.Fatalf("%q became %+v", text, n)
		}
	})
}
