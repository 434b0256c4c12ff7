// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func noLoss(string, uint64) {}

var start = time.Unix(1_790_000_000, 0)

// As many facts are told as the source that saw most of them saw.
func TestMergerTellsTheMost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMerger(noLoss)
		now, told := start, 0
		counts := map[string]int{}
		for range rapid.IntRange(0, 30).Draw(t, "notes") {
			source := rapid.SampledFrom([]string{"log", "journal", "audit"}).Draw(t, "source")
			counts[source]++
			now = now.Add(time.Duration(rapid.IntRange(0, int(sameLogon/30/time.Millisecond)).Draw(t, "ms")) * time.Millisecond)
			m.tell(source, note{Fact: Fact{Action: Success, User: "a"}}, now)
			told += len(m.flush(now, false))
		}
		told += len(m.flush(now, true))
		want := 0
		for _, n := range counts {
			want = max(want, n)
		}
		if told != want {
			t.Fatalf("told %d of %v", told, counts)
		}
		if m.flush(now.Add(time.Hour), true); len(m.open)+len(m.byUser)+len(m.byPID) > 0 {
			t.Fatal("old facts are not forgotten")
		}
	})
}

// lines feeds lines of one source and returns what is told, in short.
func feed(m *merger, source string, now time.Time, lines ...string) {
	for _, l := range lines {
		if n, ok := parseAuthLine(old + l); ok {
			m.tell(source, n, now)
		}
	}
}

func short(facts []Fact) []string {
	var out []string
	for _, f := range facts {
		s := f.Action + " " + f.User
		if f.Target != "" || f.Group != "" {
			s += ">" + f.Target + f.Group
		}
		out = append(out, strings.Join(strings.Fields(s+" "+f.Type+" "+f.Reason+" "+strings.Join(f.Sources, ",")), " "))
	}
	return out
}

func expect(t *testing.T, got []Fact, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, short(got)); diff != "" {
		t.Errorf("facts (-want +got): %s", diff)
	}
}

// Three failures of one connection are three facts, however many messages and
// sources tell of them, and the end of the connection is none.
func TestFailuresOfOneConnection(t *testing.T) {
	t.Parallel()
	m := newMerger(noLoss)
	lines := []string{
		"sshd[5]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root",
		"sshd[5]: Failed password for root from 192.0.2.7 port 4 ssh2",
		"sshd[5]: Failed password for root from 192.0.2.7 port 4 ssh2",
		"sshd[5]: Failed password for root from 192.0.2.7 port 4 ssh2",
		"sshd[5]: error: maximum authentication attempts exceeded for root from 192.0.2.7 port 4 ssh2 [preauth]",
		"sshd[5]: Disconnecting authenticating user root 192.0.2.7 port 4: Too many authentication failures [preauth]",
	}
	feed(m, "log", start, lines...)
	feed(m, "journal", start.Add(time.Second), lines...)
	m.tell("btmp", note{apart: true, loose: true, Fact: Fact{Action: Failed, User: "root", PID: 6, Remote: ip}}, start)
	row := "LogonFailed root RemoteInteractive InvalidCredentials "
	expect(t, m.flush(start.Add(5*time.Second), false), row+"btmp,journal,log", row+"journal,log", row+"journal,log",
		"LogonFailed root RemoteInteractive TooManyAttempts journal,log")
	feed(m, "log", start.Add(2*time.Minute), "sshd[5]: Connection closed by authenticating user root 192.0.2.7 port 4 [preauth]")
	expect(t, m.flush(start.Add(3*time.Minute), true))
}

// The end of a connection without any other message is a failure.
func TestFailureKnownFromTheEnd(t *testing.T) {
	t.Parallel()
	m := newMerger(noLoss)
	feed(m, "journal", start, "sshd[5]: Connection closed by authenticating user root 192.0.2.7 port 4 [preauth]")
	expect(t, m.flush(start.Add(holdBack), false))
	expect(t, m.flush(start.Add(holdWeak), false), "LogonFailed root RemoteInteractive NoAcceptedCredentials journal")
}

// The richest account is told, and the end of a session repeats it.
func TestRichestIsTold(t *testing.T) {
	t.Parallel()
	m := newMerger(noLoss)
	feed(m, "log", start, "sshd[5]: Accepted publickey for root from 192.0.2.7 port 9 ssh2: ED25519 SHA256:abc",
		"sshd[5]: pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)")
	session, _ := parseSession([]byte("USER=root\nSERVICE=sshd\nREMOTE=1\nREMOTE_HOST=192.0.2.7\nCLASS=user\nLEADER=5\nAUDIT=12\n"))
	m.tell("logind", session, start)
	m.tell("wtmp", fromUtmp(utmpEntry{pid: 6, line: "pts/1", user: "root", host: "192.0.2.7"}, Success), start.Add(time.Second))
	got := m.flush(start.Add(holdWeak), false)
	want := Fact{Action: Success, Type: "RemoteInteractive", Program: "sshd", PID: 5, User: "root", Session: 12, Remote: ip, Port: 9, TTY: "pts/1",
		Method: "publickey", KeyType: "ED25519", Fingerprint: "SHA256:abc", At: start, Sources: []string{"log", "logind", "wtmp"}}
	if diff := cmp.Diff([]Fact{want}, got, compareAddrs); diff != "" {
		t.Error(diff)
	}
	later := start.Add(time.Hour)
	feed(m, "log", later, "sshd[5]: pam_unix(sshd:session): session closed for user root",
		"sshd[6]: Disconnected from user root 192.0.2.7 port 9")
	session.Action = Logoff
	m.tell("logind", session, later)
	got = m.flush(later.Add(holdWeak), false)
	want.Action, want.At, want.Sources = Logoff, later, []string{"log", "logind"}
	if diff := cmp.Diff([]Fact{want}, got, compareAddrs); diff != "" {
		t.Error(diff)
	}
	if len(m.known) != 0 {
		t.Errorf("%d sessions are still known", len(m.known))
	}
}

// sudo tells of wrong passwords itself once it has given up.
func TestSudoGivesUp(t *testing.T) {
	t.Parallel()
	m := newMerger(noLoss)
	feed(m, "journal", start, "sudo[5]: pam_unix(sudo:auth): authentication failure; logname=alice uid=1000 euid=0 tty=/dev/pts/0 ruser=alice rhost=  user=alice")
	expect(t, m.flush(start.Add(20*time.Second), false))
	feed(m, "journal", start.Add(20*time.Second), "sudo[5]: alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh")
	expect(t, m.flush(start.Add(23*time.Second), false), "LogonFailed alice>root NewCredentials InvalidCredentials journal")
	// A first wrong password and then the right one are a failure and a success.
	feed(m, "journal", start.Add(time.Minute), "sudo[6]: pam_unix(sudo:auth): authentication failure; logname=alice uid=1000 euid=0 tty=/dev/pts/0 ruser=alice rhost=  user=alice",
		"sudo[6]: alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", "sudo[6]: pam_unix(sudo:session): session opened for user root(uid=0) by alice(uid=1000)")
	m.tell("process", note{weak: true, Fact: Fact{Action: Success, Program: "sudo", Type: "NewCredentials", PID: 6, User: "alice", Target: "root", Command: `"/bin/sh"`}}, start.Add(time.Minute))
	expect(t, m.flush(start.Add(2*time.Minute), true), "LogonFailed alice NewCredentials InvalidCredentials journal",
		"LogonSuccess alice>root NewCredentials journal,process")
}

// One module of PAM that fails before another lets the user in is no failure.
func TestSecondModuleLetsIn(t *testing.T) {
	t.Parallel()
	m := newMerger(noLoss)
	feed(m, "log", start, "sshd[5]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=a",
		"sshd[5]: pam_sss(sshd:auth): authentication success; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7 user=a",
		"sshd[5]: Accepted password for a from 192.0.2.7 port 9 ssh2")
	expect(t, m.flush(start, true), "LogonSuccess a RemoteInteractive log")
}

// A keyring that opens is an unlocked screen only where no session begins.
func TestUnlock(t *testing.T) {
	t.Parallel()
	m := newMerger(noLoss)
	feed(m, "journal", start, "gdm-password][5]: gkr-pam: unlocked login keyring",
		"gdm-password][5]: pam_unix(gdm-password:session): session opened for user alice(uid=1000) by (uid=0)",
		"gdm-password][6]: gkr-pam: unlocked login keyring")
	expect(t, m.flush(start, true), "LogonSuccess alice Interactive journal", "LogonSuccess Unlock journal")
}

// One command writes several lines about one change.
func TestAccountChangesMerge(t *testing.T) {
	t.Parallel()
	m := newMerger(noLoss)
	lines := []string{"useradd[5]: group added to /etc/group: name=bob, GID=1001", "useradd[5]: group added to /etc/gshadow: name=bob",
		"useradd[5]: new group: name=bob, GID=1001", "useradd[5]: new user: name=bob, UID=1001, GID=1001",
		"useradd[5]: add 'bob' to group 'sudo'", "useradd[5]: add 'bob' to shadow group 'sudo'", "useradd[5]: add 'bob' to group 'adm'"}
	feed(m, "log", start, lines...)
	feed(m, "journal", start, lines...)
	expect(t, m.flush(start, true), "SecurityGroupCreated >bob journal,log", "UserAccountCreated >bob journal,log",
		"UserAccountAddedToLocalGroup >bobsudo journal,log", "UserAccountAddedToLocalGroup >bobadm journal,log")
}

// A change that was seen in the files of accounts has its row, whether logs
// tell of it before or after. One that was refused is seen only by them.
func TestChangesSeenInFiles(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		m := newMerger(noLoss)
		saw := func() {
			for _, f := range []Fact{{Action: AccountCreated, Target: "bob"}, {Action: MemberAdded, Target: "bob", Group: "sudo"}, {Action: GroupCreated, Group: "bob"}} {
				f.Account = true
				m.seen(note{Fact: f, weak: true}, start)
			}
		}
		if first {
			saw()
		}
		for _, source := range []string{"log", "journal"} {
			feed(m, source, start, "useradd[5]: new user: name=bob, UID=1001, GID=1001", "useradd[5]: add 'bob' to group 'sudo'", "useradd[5]: new group: name=bob, GID=1001",
				"useradd[5]: add 'bob' to group 'adm'", "passwd[6]: pam_unix(passwd:chauthtok): authentication failure; logname= uid=1000 euid=0 tty= ruser= rhost=  user=bob")
		}
		if !first {
			saw()
		}
		m.seen(note{Fact: Fact{Action: PasswordChange, Account: true, Target: "bob"}, weak: true}, start)
		expect(t, m.flush(start, true), "UserAccountAddedToLocalGroup >bobadm journal,log", "PasswordChangeAttempt >bob InvalidCredentials journal,log")
		if m.flush(start.Add(time.Hour), true); len(m.open)+len(m.byUser)+len(m.byPID) > 0 {
			t.Error("old facts are not forgotten")
		}
	}
}

func TestMergerIsBounded(t *testing.T) {
	t.Parallel()
	var lost uint64
	m := newMerger(func(class string, n uint64) {
		if class != "logon.full" {
			t.Errorf("lost to %s", class)
		}
		lost += n
	})
	for i := range maxOpen + 7 {
		m.tell("log", note{Fact: Fact{Action: Failed, User: strconv.Itoa(i), PID: uint32(i)}}, start)
	}
	if lost != 7 || len(m.open) != maxOpen || len(m.failed) > maxKnown {
		t.Errorf("lost %d, %d open, %d failed", lost, len(m.open), len(m.failed))
	}
	m = newMerger(noLoss)
	for i := range 3 * maxKnown {
		m.tell("log", note{Fact: Fact{Action: Success, User: "a", PID: uint32(i + 1)}}, start.Add(time.Duration(i)*time.Minute))
		m.flush(start.Add(time.Duration(i)*time.Minute), true)
	}
	if len(m.known) > maxKnown {
		t.Errorf("%d sessions are known", len(m.known))
	}
	m.tell("log", note{Fact: Fact{Action: Success}}, start)
	if len(m.flush(start, true)) != 0 {
		t.Error("a logon of nobody was told")
	}
}
