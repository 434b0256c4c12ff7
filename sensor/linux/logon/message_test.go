// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var ip = netip.MustParseAddr("192.0.2.7")

// told compares what a line tells, without its type and time.
func told(t *testing.T, line string, want note) {
	t.Helper()
	got, ok := parseAuthLine(line)
	if !ok {
		t.Errorf("not understood: %s", line)
		return
	}
	if want.Program == "" {
		want.Program = got.Program
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(note{}), compareAddrs, cmpopts.IgnoreFields(Fact{}, "Type", "At")); diff != "" {
		t.Errorf("%s\n%s", line, diff)
	}
}

const (
	old = "Nov  4 08:33:01 host "
	iso = "2026-11-24T08:33:01.123456+00:00 host "
)

func TestSSHLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]note{
		old + "sshd[123]: Accepted publickey for root from 192.0.2.7 port 50522 ssh2: ED25519 SHA256:abc": {Fact: Fact{Action: Success,
			PID: 123, User: "root", Remote: ip, Port: 50522, Method: "publickey", KeyType: "ED25519", Fingerprint: "SHA256:abc"}},
		old + "sshd[1]: Accepted publickey for root from 192.0.2.7 port 5 ssh2: RSA-CERT SHA256:abc ID me from 10.0.0.1 (serial 0) CA RSA SHA256:d": {Fact: Fact{
			Action: Success, PID: 1, User: "root", Remote: ip, Port: 5, Method: "publickey", KeyType: "RSA-CERT", Fingerprint: "SHA256:abc",
			Certificate: "me from 10.0.0.1 (serial 0) CA RSA SHA256:d"}},
		iso + "sshd-session[5]: Accepted password for a b from ::ffff:192.0.2.7 port 1 ssh2": {Fact: Fact{Action: Success, Program: "sshd", PID: 5, User: "a b",
			Remote: ip, Port: 1, Method: "password"}},
		old + "sshd[1]: Failed password for invalid user x from 10.0.0.1 from 192.0.2.7 port 2 ssh2": {Fact: Fact{Action: Failed, PID: 1,
			User: "x from 10.0.0.1", Remote: ip, Port: 2, Method: "password", Reason: unknownUser}},
		old + "sshd[1]: message repeated 2 times: [ Failed password for root from 192.0.2.7 port 2 ssh2]": {Fact: Fact{Action: Failed, PID: 1,
			User: "root", Remote: ip, Port: 2, Method: "password", Reason: wrongPassword, Repeats: 1}},
		old + "sshd[9]: Connection closed by authenticating user root 192.0.2.7 port 4 [preauth]": {weak: true, Fact: Fact{Action: Failed, PID: 9, User: "root",
			Remote: ip, Port: 4, Reason: noneAccepted}},
		old + "sshd[9]: Connection reset by invalid user no body 192.0.2.7 port 4 [preauth]": {weak: true, Fact: Fact{Action: Failed, PID: 9, User: "no body",
			Remote: ip, Port: 4, Reason: unknownUser}},
		old + "sshd[9]: Disconnecting authenticating user root 192.0.2.7 port 4: Too many authentication failures [preauth]": {weak: true, Fact: Fact{Action: Failed,
			PID: 9, User: "root", Remote: ip, Port: 4, Reason: noneAccepted}},
		old + "sshd[9]: error: maximum authentication attempts exceeded for invalid user bob from 192.0.2.7 port 4 ssh2 [preauth]": {Fact: Fact{Action: Failed,
			PID: 9, User: "bob", Remote: ip, Port: 4, Reason: tooMany}},
		old + "sshd[9]: Invalid user bob from 192.0.2.7 port 4": {weak: true, Fact: Fact{Action: Failed, PID: 9, User: "bob", Remote: ip, Port: 4, Reason: unknownUser}},
		old + "sshd[9]: User bob from 192.0.2.7 not allowed because account is locked": {weak: true, Fact: Fact{Action: Failed, PID: 9, User: "bob", Remote: ip,
			Reason: locked, Detail: "account is locked"}},
		old + "sshd[9]: User bob from far.test not allowed because not listed in AllowUsers": {weak: true, Fact: Fact{Action: Failed, PID: 9, User: "bob",
			Host: "far.test", Reason: notAllowed, Detail: "not listed in AllowUsers"}},
		old + "sshd[9]: Disconnected from user root 192.0.2.7 port 4": {weak: true, apart: true, Fact: Fact{Action: Logoff, PID: 9, User: "root", Remote: ip, Port: 4}},
		old + "dropbear[7]: Password auth succeeded for 'root' from 192.0.2.7:99": {Fact: Fact{Action: Success, PID: 7, User: "root", Remote: ip, Port: 99,
			Method: "password"}},
		old + "dropbear[7]: Pubkey auth succeeded for 'root' with ssh-ed25519 key SHA256:abc from 192.0.2.7:99": {Fact: Fact{Action: Success, PID: 7, User: "root",
			Remote: ip, Port: 99, Method: "publickey", Fingerprint: "SHA256:abc"}},
		old + "dropbear[7]: Bad password attempt for 'x from 1.1.1.1:1' from 192.0.2.7:99": {Fact: Fact{Action: Failed, PID: 7, User: "x from 1.1.1.1:1", Remote: ip,
			Port: 99, Method: "password", Reason: wrongPassword}},
		old + "dropbear[7]: Login attempt for nonexistent user from 192.0.2.7:99": {Fact: Fact{Action: Failed, PID: 7, Remote: ip, Port: 99, Reason: unknownUser}},
	} {
		told(t, line, want)
	}
}

func TestPAMLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]note{
		old + "sshd[9]: pam_unix(sshd:session): session closed for user root":                   {Fact: Fact{Action: Logoff, PID: 9, User: "root"}},
		old + "sshd[9]: pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)": {weak: true, Fact: Fact{Action: Success, PID: 9, User: "root"}},
		old + "CRON[1]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)": {Fact: Fact{Action: Success, Program: "cron", PID: 1, User: "root"}},
		old + "su[8]: pam_unix(su:session): session opened for user root(uid=0) by alice(uid=1000)": {Fact: Fact{Action: Success, PID: 8,
			User: "alice", Target: "root"}},
		old + "su: pam_unix(su-l:session): session opened for user root(uid=0) by (uid=1000)": {Fact: Fact{Action: Success, Program: "su", UserID: "1000", Target: "root"}},
		old + "su: pam_unix(su-l:session): session closed for user root":                      {Fact: Fact{Action: Logoff, Program: "su", Target: "root"}},
		old + "systemd[12]: pam_unix(systemd-user:session): session opened for user alice(uid=1000) by (uid=0)": {Fact: Fact{Action: Success,
			Program: "systemd-user", PID: 12, User: "alice"}},
		old + "login[3]: pam_unix(login:session): session opened for user bob(uid=1001) by LOGIN(uid=0)": {Fact: Fact{Action: Success, PID: 3, User: "bob"}},
		old + "sshd[5]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=x user=root": {weak: true,
			Fact: Fact{Action: Failed, PID: 5, User: "x user=root", Remote: ip, Reason: wrongPassword}},
		old + "sshd[5]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=far.test ": {weak: true,
			Fact: Fact{Action: Failed, PID: 5, Host: "far.test", Reason: unknownUser}},
		old + "sudo[5]: pam_unix(sudo:auth): authentication failure; logname=alice uid=1000 euid=0 tty=/dev/pts/0 ruser=alice rhost=  user=alice": {weak: true,
			hold: sudoAsks, Fact: Fact{Action: Failed, PID: 5, User: "alice", TTY: "pts/0", Reason: wrongPassword}},
		old + "su[5]: pam_unix(su:auth): authentication failure; logname= uid=1000 euid=0 tty=/dev/pts/0 ruser= rhost=  user=root": {weak: true,
			Fact: Fact{Action: Failed, PID: 5, UserID: "1000", Target: "root", TTY: "pts/0", Reason: wrongPassword}},
		old + "polkit-agent-helper-1[5]: pam_unix(polkit-1:auth): authentication failure; logname=a uid=1000 euid=0 tty= ruser=a rhost=  user=root": {weak: true,
			Fact: Fact{Action: Failed, Program: "polkit", PID: 5, User: "a", Target: "root", Reason: wrongPassword}},
		old + "gdm-password][7]: pam_unix(gdm-password:auth): authentication failure; logname= uid=0 euid=0 tty=/dev/tty1 ruser= rhost=  user=a": {weak: true,
			Fact: Fact{Action: Failed, Program: "gdm-password", PID: 7, User: "a", TTY: "tty1", Reason: wrongPassword}},
		old + "sshd[5]: pam_sss(sshd:auth): authentication success; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7 user=a": {weak: true, cancel: true,
			Fact: Fact{Action: Failed, PID: 5, User: "a", Remote: ip}},
		old + "sshd[5]: pam_sss(sshd:auth): received for user a: 10 (User not known to the underlying authentication module)": {weak: true,
			Fact: Fact{Action: Failed, PID: 5, User: "a", Reason: unknownUser}},
		old + "sshd[5]: pam_faillock(sshd:auth): Consecutive login failures for user a account temporarily locked": {weak: true,
			Fact: Fact{Action: Failed, PID: 5, User: "a", Reason: locked}},
		old + "su[5]: pam_tally2(su:auth): user root (0) tally 5, deny 3": {weak: true, Fact: Fact{Action: Failed, PID: 5, Target: "root", Reason: locked}},
		old + "vsftpd[5]: pam_listfile(vsftpd:auth): Refused user root for service vsftpd": {weak: true,
			Fact: Fact{Action: Failed, PID: 5, User: "root", Reason: notAllowed}},
		old + "sshd[5]: pam_unix(sshd:account): account a has expired (account expired)": {weak: true, Fact: Fact{Action: Failed, PID: 5, User: "a", Reason: expired}},
		old + "sshd[5]: pam_unix(sshd:account): expired password for user a (password aged)": {weak: true,
			Fact: Fact{Action: Failed, PID: 5, User: "a", Reason: oldPassword}},
		old + "sshd[5]: pam_access(sshd:account): access denied for user `a' from `192.0.2.7'": {weak: true,
			Fact: Fact{Action: Failed, PID: 5, User: "a", Remote: ip, Reason: notAllowed}},
		old + "sshd[5]: pam_sss(sshd:account): Access denied for user a: 6 (Permission denied)": {weak: true,
			Fact: Fact{Action: Failed, PID: 5, User: "a", Reason: notAllowed}},
		old + "passwd[5]: pam_unix(passwd:chauthtok): password changed for bob": {Fact: Fact{Action: PasswordChange, PID: 5, Target: "bob", Detail: "changed", Account: true}},
		old + "passwd[5]: pam_unix(passwd:chauthtok): authentication failure; logname= uid=1000 euid=0 tty= ruser= rhost=  user=bob": {
			Fact: Fact{Action: PasswordChange, PID: 5, Target: "bob", Detail: "refused", Reason: wrongPassword, Account: true}},
	} {
		told(t, line, want)
	}
}

func TestProgramLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]note{
		old + "sudo:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id ; x": {Fact: Fact{Action: Success, User: "alice",
			Target: "root", TTY: "pts/0", Cwd: "/home/alice", Command: "/usr/bin/id ; x"}},
		old + "sudo[7]:    alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh": {Fact: Fact{Action: Failed,
			PID: 7, User: "alice", Target: "root", TTY: "pts/0", Cwd: "/", Command: "/bin/sh", Reason: wrongPassword}},
		old + "sudo: bob : user NOT in sudoers ; TTY=unknown ; PWD=/ ; USER=root ; COMMAND=/bin/sh": {Fact: Fact{Action: Failed, User: "bob",
			Target: "root", Cwd: "/", Command: "/bin/sh", Reason: notInSudoers}},
		old + "sudo: bob : command not allowed ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/sh": {Fact: Fact{Action: Failed, User: "bob",
			Target: "root", TTY: "pts/1", Cwd: "/", Command: "/bin/sh", Reason: commandRefused}},
		old + "su[8]: FAILED SU (to root) alice on pts/2": {Fact: Fact{Action: Failed, PID: 8, User: "alice", Target: "root", TTY: "pts/2", Reason: wrongPassword}},
		old + "su[8]: (to root) alice on pts/2":           {weak: true, Fact: Fact{Action: Success, PID: 8, User: "alice", Target: "root", TTY: "pts/2"}},
		old + "login[3]: FAILED LOGIN (1) on '/dev/tty1' FOR 'bob', Authentication failure": {Fact: Fact{Action: Failed, PID: 3, User: "bob",
			TTY: "tty1", Reason: wrongPassword}},
		old + "login[3]: FAILED LOGIN (2) on '/dev/pts/1' from '192.0.2.7' FOR 'UNKNOWN', User not known": {Fact: Fact{Action: Failed, PID: 3, TTY: "pts/1",
			Remote: ip, Reason: unknownUser}},
		old + "login[3]: TOO MANY LOGIN TRIES (4) on '/dev/tty1' FOR 'bob'": {Fact: Fact{Action: Failed, PID: 3, User: "bob", TTY: "tty1", Reason: tooMany}},
		old + "login[3]: ROOT LOGIN ON tty1":                                {weak: true, Fact: Fact{Action: Success, PID: 3, User: "root", TTY: "tty1"}},
		old + "login[3]: LOGIN ON tty1 BY bob":                              {weak: true, Fact: Fact{Action: Success, PID: 3, User: "bob", TTY: "tty1"}},
		old + "pkexec[4]: alice: Executing command [USER=root] [TTY=/dev/pts/0] [CWD=/tmp] [COMMAND=/bin/sh -c [x]]": {Fact: Fact{Action: Success, PID: 4,
			User: "alice", Target: "root", TTY: "pts/0", Cwd: "/tmp", Command: "/bin/sh -c [x]"}},
		old + "pkexec[4]: bob: Error executing command as another user: Not authorized [USER=root] [TTY=unknown] [CWD=/] [COMMAND=/bin/sh]": {Fact: Fact{
			Action: Failed, PID: 4, User: "bob", Target: "root", Cwd: "/", Command: "/bin/sh", Reason: notAllowed}},
		old + "polkitd[4]: Operator of unix-session:3 successfully authenticated as unix-user:root to gain TEMPORARY authorization for action org.x.y for system-bus-name::1.9 [x] (owned by unix-user:alice)": {
			Fact: Fact{Action: Success, Program: "polkit", User: "alice", Target: "root", Detail: "org.x.y"}},
		old + "polkitd[4]: Operator of unix-session:3 FAILED to authenticate to gain authorization for action org.x.y for unix-process:1:2 [x] (owned by unix-user:alice)": {
			Fact: Fact{Action: Failed, Program: "polkit", User: "alice", Detail: "org.x.y", Reason: wrongPassword}},
		old + "gdm-password]: gkr-pam: stashed password":                     {},
		old + "gdm-password][6]: gkr-pam: unlocked login keyring":            {weak: true, loose: true, Fact: Fact{Action: Success, PID: 6}},
		old + `xscreensaver[6]: FAILED LOGIN 1 ON DISPLAY ":0", FOR "alice"`: {Fact: Fact{Action: Failed, PID: 6, User: "alice", Reason: wrongPassword}},
	} {
		if want.Action == "" {
			if n, ok := parseAuthLine(line); ok {
				t.Errorf("%q was taken for %+v", line, n)
			}
			continue
		}
		told(t, line, want)
	}
}

func TestAccountLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]note{
		"useradd[1]: new user: name=bob, UID=1001, GID=1001, home=/home/bob, shell=/bin/sh, from=/dev/pts/0": {Fact: Fact{Action: AccountCreated, Target: "bob",
			TargetID: "1001", Detail: "name=bob, UID=1001, GID=1001, home=/home/bob, shell=/bin/sh, from=/dev/pts/0"}},
		"userdel[1]: delete user 'bob'":                                     {Fact: Fact{Action: AccountDeleted, Target: "bob"}},
		"usermod[1]: change user 'bob' shell from '/bin/sh' to '/bin/bash'": {Fact: Fact{Action: AccountModified, Target: "bob", Detail: "change user 'bob' shell from '/bin/sh' to '/bin/bash'"}},
		"usermod[1]: lock user 'bob' password":                              {Fact: Fact{Action: AccountModified, Target: "bob", Detail: "lock user 'bob' password"}},
		"usermod[1]: change user 'bob' password":                            {Fact: Fact{Action: PasswordChange, Target: "bob", Detail: "change user 'bob' password"}},
		"passwd[1]: password for 'bob' changed by 'root'":                   {Fact: Fact{Action: PasswordChange, Target: "bob", User: "root", Detail: "changed"}},
		"chage[1]: changed password expiry for bob":                         {Fact: Fact{Action: AccountModified, Target: "bob", Detail: "password expiry"}},
		"chsh[1]: changed user 'bob' shell to '/bin/zsh'":                   {Fact: Fact{Action: AccountModified, Target: "bob", Detail: "changed user 'bob' shell to '/bin/zsh'"}},
		"usermod[1]: add 'bob' to group 'sudo'":                             {Fact: Fact{Action: MemberAdded, Target: "bob", Group: "sudo"}},
		"usermod[1]: add 'bob' to shadow group 'sudo'":                      {weak: true, Fact: Fact{Action: MemberAdded, Target: "bob", Group: "sudo"}},
		"usermod[1]: delete 'bob' from group 'sudo'":                        {Fact: Fact{Action: MemberRemoved, Target: "bob", Group: "sudo"}},
		"gpasswd[1]: user bob added by root to group sudo":                  {Fact: Fact{Action: MemberAdded, Target: "bob", User: "root", Group: "sudo"}},
		"gpasswd[1]: user bob removed by root from group sudo":              {Fact: Fact{Action: MemberRemoved, Target: "bob", User: "root", Group: "sudo"}},
		"groupadd[1]: new group: name=x, GID=1002":                          {Fact: Fact{Action: GroupCreated, Group: "x"}},
		"groupadd[1]: group added to /etc/group: name=x, GID=1002":          {weak: true, Fact: Fact{Action: GroupCreated, Group: "x"}},
		"groupdel[1]: group 'x' removed":                                    {Fact: Fact{Action: GroupDeleted, Group: "x"}},
		"userdel[1]: removed group 'x' owned by 'x'":                        {Fact: Fact{Action: GroupDeleted, Group: "x"}},
	} {
		want.PID, want.Account = 1, true
		told(t, old+line, want)
	}
}

func TestLogindFields(t *testing.T) {
	t.Parallel()
	m := message{program: "systemd-logind", pid: 400, text: "New session 3 of user alice.", fields: map[string]string{
		"MESSAGE_ID": "8d45620c1a4348dbb17410da57c60c66", "SESSION_ID": "3", "USER_ID": "alice", "LEADER": "77"}}
	n, ok := m.parse()
	if !ok || n.Action != Success || n.User != "alice" || n.PID != 77 || n.Session != 3 || !n.weak || !n.loose {
		t.Errorf("got %+v, %v", n, ok)
	}
	m.fields["MESSAGE_ID"], m.fields["SESSION_ID"] = "3354939424b4456d9802ca8333ed424a", "c1"
	if n, ok := m.parse(); !ok || n.Action != Logoff || n.Session != 0 {
		t.Errorf("got %+v, %v", n, ok)
	}
	m.fields = nil
	if n, ok := m.parse(); ok {
		t.Errorf("text alone was taken for %+v", n)
	}
}

func TestLinesThatTellNothing(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "x", "Nov 24 08:33:01 host", old + "sshd[1]: Server listening on 0.0.0.0 port 22.",
		old + "sshd[x]: Accepted password for root from 192.0.2.7 port 1 ssh2",
		old + "sshd[1]: Accepted password for root from here port 1 ssh2",
		old + "sshd[1]: Accepted password for root from 192.0.2.7 port 99999 ssh2",
		old + "sshd[1]: Failed none for root from 192.0.2.7 port 1 ssh2",
		old + "sshd[1]: Connection closed by 192.0.2.7 port 1 [preauth]",
		old + "sshd[1]: Connection closed by authenticating user root 192.0.2.7 port 1",
		old + "sshd[1]: User x not allowed here",
		old + "sshd[1]: message repeated 0 times: [ Failed password for root from 192.0.2.7 port 2 ssh2]",
		old + "sshd[1]: PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root",
		old + "sudo: alice : unable to resolve host x",
		old + "evil: sshd[1]: Accepted password for root from 192.0.2.7 port 1 ssh2",
		old + "evil: new user: name=x, UID=0", old + "useradd: new user: x", old + "usermod: add 'x'",
		old + "sshd[1]: pam_unix(sshd:auth): check pass; user unknown", old + "sshd[1]: pam_unix(sshd", old + "x[1]: pam_unix(a b:auth): authentication failure;",
		old + "su[1]: (to root) ", old + "login[1]: FAILED LOGIN (", old + "pkexec[1]: alice: hello", old + "dropbear[1]: Password auth succeeded for 'x from y",
	} {
		if n, ok := parseAuthLine(line); ok {
			t.Errorf("%q was taken for %+v", line, n)
		}
	}
}

func FuzzAuthLine(f *testing.F) {
	f.Add(old + "sshd[1]: Failed password for invalid user x from 10.0.0.1 from 192.0.2.7 port 2 ssh2: A B C")
	f.Add(old + "sudo: alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh")
	f.Add(old + "su[8]: pam_unix(su:session): session opened for user root(uid=0) by alice(uid=1000)")
	f.Add(old + "sshd[5]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=x")
	f.Add(old + "login[3]: FAILED LOGIN (1) on '/dev/tty1' from 'h' FOR 'bob', Authentication failure")
	f.Add(old + "useradd[1]: new user: name=bob, UID=1001, GID=1001")
	f.Add(old + "pkexec[4]: alice: Executing command [USER=root] [TTY=/dev/pts/0] [CWD=/tmp] [COMMAND=/bin/sh]")
	f.Add(old + "dropbear[7]: Bad password attempt for 'x' from 192.0.2.7:99")
	f.Fuzz(func(t *testing.T, line string) {
		n, ok := parseAuthLine(line)
		if !ok {
			return
		}
		if n.Action == "" || n.Program == "" || n.User == "" && n.Target == "" && n.Group == "" && n.PID == 0 && n.UserID == "" {
			t.Fatalf("%q became %+v", line, n)
		}
		if len(n.User) > maxText || len(n.Command) > maxText {
			t.Fatal("a text without bound")
		}
	})
}
