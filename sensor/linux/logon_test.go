// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/event"
	"pgregory.net/rapid"
)

func TestParseAuthLine(t *testing.T) {
	t.Parallel()
	ip := netip.MustParseAddr("192.0.2.7")
	old, iso := "Nov  4 08:33:01 host ", "2026-11-24T08:33:01.123456+00:00 host "
	for line, want := range map[string]logonNote{
		old + "sshd[123]: Accepted publickey for root from 192.0.2.7 port 50522 ssh2: ED25519 SHA256:abc": {action: "LogonSuccess", program: "sshd",
			pid: 123, user: "root", remote: ip, port: 50522, method: "publickey"},
		iso + "sshd-session[5]: Accepted password for a b from ::ffff:192.0.2.7 port 1 ssh2": {action: "LogonSuccess", program: "sshd", pid: 5, user: "a b",
			remote: ip, port: 1, method: "password"},
		old + "sshd[1]: Failed password for invalid user x from 10.0.0.1 from 192.0.2.7 port 2 ssh2": {action: "LogonFailed", program: "sshd", pid: 1,
			user: "x from 10.0.0.1", remote: ip, port: 2, method: "password", reason: "UnknownUser"},
		old + "sshd[1]: Failed password for root from 192.0.2.7 port 2 ssh2": {action: "LogonFailed", program: "sshd", pid: 1, user: "root", remote: ip,
			port: 2, method: "password", reason: "InvalidCredentials"},
		old + "sshd[1]: message repeated 2 times: [ Failed password for root from 192.0.2.7 port 2 ssh2]": {action: "LogonFailed", program: "sshd", pid: 1,
			user: "root", remote: ip, port: 2, method: "password", reason: "InvalidCredentials", repeats: 1},
		old + "sshd[9]: Connection closed by authenticating user root 192.0.2.7 port 4 [preauth]": {action: "LogonFailed", program: "sshd", pid: 9, user: "root",
			remote: ip, port: 4, reason: "NoAcceptedCredentials"},
		old + "sshd[9]: Connection reset by invalid user no body 192.0.2.7 port 4 [preauth]": {action: "LogonFailed", program: "sshd", pid: 9, user: "no body",
			remote: ip, port: 4, reason: "UnknownUser"},
		old + "sshd[9]: pam_unix(sshd:session): session closed for user root": {action: "Logoff", program: "sshd", pid: 9, user: "root"},
		old + "sudo:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id ; x": {action: "LogonSuccess", program: "sudo", user: "alice",
			target: "root", tty: "pts/0", command: "/usr/bin/id"},
		old + "sudo[7]:    alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh": {action: "LogonFailed", program: "sudo",
			pid: 7, user: "alice", target: "root", tty: "pts/0", command: "/bin/sh", reason: "InvalidCredentials"},
		old + "sudo: bob : user NOT in sudoers ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/sh": {action: "LogonFailed", program: "sudo", user: "bob",
			target: "root", tty: "pts/1", command: "/bin/sh", reason: "NotInSudoers"},
		old + "su[8]: pam_unix(su:session): session opened for user root(uid=0) by alice(uid=1000)": {action: "LogonSuccess", program: "su", pid: 8,
			user: "alice", target: "root"},
		old + "su: pam_unix(su-l:session): session closed for user root": {action: "Logoff", program: "su", user: "root"},
		old + "su[8]: FAILED SU (to root) alice on pts/2":                {action: "LogonFailed", program: "su", pid: 8, user: "alice", target: "root", tty: "pts/2", reason: "InvalidCredentials"},
		old + "login[3]: pam_unix(login:session): session opened for user bob(uid=1001) by LOGIN(uid=0)": {action: "LogonSuccess", program: "login", pid: 3,
			user: "bob"},
		old + "login[3]: FAILED LOGIN (1) on '/dev/tty1' FOR 'bob', Authentication failure": {action: "LogonFailed", program: "login", pid: 3, user: "bob",
			tty: "tty1", reason: "InvalidCredentials"},
	} {
		got, ok := parseAuthLine(line)
		if !ok {
			t.Errorf("not understood: %s", line)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(logonNote{}), compareAddrs); diff != "" {
			t.Errorf("%s\n%s", line, diff)
		}
	}
}

func TestAuthLinesThatTellNothing(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "x", "Nov 24 08:33:01 host", "Nov 24 08:33:01 host sshd[1]: Server listening on 0.0.0.0 port 22.",
		"Nov 24 08:33:01 host sshd[x]: Accepted password for root from 192.0.2.7 port 1 ssh2",
		"Nov 24 08:33:01 host sshd[1]: Accepted password for root from here port 1 ssh2",
		"Nov 24 08:33:01 host sshd[1]: Accepted password for root from 192.0.2.7 port 99999 ssh2",
		"Nov 24 08:33:01 host sshd[1]: Failed none for root from 192.0.2.7 port 1 ssh2",
		"Nov 24 08:33:01 host sshd[1]: pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)", // Accepted told it
		"Nov 24 08:33:01 host sshd[1]: Connection closed by 192.0.2.7 port 1 [preauth]",
		"Nov 24 08:33:01 host sshd[1]: message repeated 0 times: [ Failed password for root from 192.0.2.7 port 2 ssh2]",
		"Nov 24 08:33:01 host sudo: pam_unix(sudo:session): session opened for user root(uid=0) by (uid=1000)",
		"Nov 24 08:33:01 host sudo: alice : unable to resolve host x",
		"Nov 24 08:33:01 host CRON[1]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
		"Nov 24 08:33:01 host evil: sshd[1]: Accepted password for root from 192.0.2.7 port 1 ssh2",
	} {
		if n, ok := parseAuthLine(line); ok {
			t.Errorf("%q was taken for %+v", line, n)
		}
	}
}

// utmpBytes is one record as the system library writes it.
func utmpBytes(l utmpLayout, kind int16, pid int32, line, user, host string, addr []byte) []byte {
	b := make([]byte, l.size)
	binary.LittleEndian.PutUint16(b, uint16(kind))
	binary.LittleEndian.PutUint32(b[4:], uint32(pid))
	copy(b[8:40], line)
	copy(b[44:76], user)
	copy(b[76:332], host)
	binary.LittleEndian.PutUint32(b[l.seconds:], 1_700_000_000)
	copy(b[l.address:], addr)
	return b
}

func TestParseUtmp(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"amd64", "arm64"} {
		l := layoutOf(arch)
		v6 := netip.MustParseAddr("2001:db8::7").As16()
		b := utmpBytes(l, utUser, 77, "pts/0", "root", "host.test", []byte{192, 0, 2, 7})
		b = append(b, utmpBytes(l, utDead, 77, "pts/0", strings.Repeat("u", 40), "", v6[:])...)
		got := parseUtmp(append(b, 1, 2, 3), l)
		want := []utmpEntry{
			{kind: utUser, pid: 77, line: "pts/0", user: "root", host: "host.test", addr: netip.MustParseAddr("192.0.2.7"), unixTime: 1_700_000_000},
			{kind: utDead, pid: 77, line: "pts/0", user: strings.Repeat("u", 32), addr: netip.MustParseAddr("2001:db8::7"), unixTime: 1_700_000_000},
		}
		want[1].host = ""
		// A field that is full has no NUL and ends where the next begins.
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(utmpEntry{}), compareAddrs); diff != "" {
			t.Errorf("%s: %s", arch, diff)
		}
	}
}

// host is a folder with the sources of a host and a collector that reads them.
type sources struct {
	*offline
	t   *testing.T
	dir string
}

func newSources(t *testing.T) *sources {
	dir := t.TempDir()
	paths := logonPaths{authLogs: []string{filepath.Join(dir, "auth.log")}, utmp: filepath.Join(dir, "utmp"),
		wtmp: filepath.Join(dir, "wtmp"), btmp: filepath.Join(dir, "btmp"), sessions: filepath.Join(dir, "sessions")}
	return &sources{newOffline(t, paths), t, dir}
}

func (s *sources) add(name string, b []byte) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// look returns "action account>target type ip" of each new row.
func (s *sources) look() []string {
	s.logons.look()
	var out []string
	for _, row := range s.take() {
		r := row.(*event.DeviceLogonEvents)
		text := r.ActionType + " " + r.AccountName
		if r.TargetAccountName != "" {
			text += ">" + r.TargetAccountName
		}
		out = append(out, strings.TrimSpace(text+" "+r.LogonType+" "+r.RemoteIP))
	}
	return out
}

func (s *sources) expect(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.look()); diff != "" {
		s.t.Errorf("rows (-want +got): %s", diff)
	}
}

func TestLogonsFromLog(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	line := func(text string) { s.add("auth.log", []byte("Nov 24 08:33:01 host "+text+"\n")) }
	line("sshd[1]: Accepted password for old from 192.0.2.7 port 1 ssh2") // before the sensor
	s.expect()
	line("sshd[2]: Accepted password for Alice from 192.0.2.7 port 1 ssh2")
	s.expect("LogonSuccess alice RemoteInteractive 192.0.2.7")
	line("sshd[3]: Failed password for root from 192.0.2.9 port 1 ssh2")
	line("sshd[3]: Connection closed by authenticating user root 192.0.2.9 port 1 [preauth]") // told already
	line("sshd[4]: Connection closed by authenticating user bob 192.0.2.9 port 1 [preauth]")
	s.expect("LogonFailed root RemoteInteractive 192.0.2.9", "LogonFailed bob RemoteInteractive 192.0.2.9")
	s.add("auth.log", []byte("Nov 24 08:33:01 host sudo: alice : TTY=pts/0 ; PWD=/ ; "))
	s.expect() // half a line
	s.add("auth.log", []byte("USER=root ; COMMAND=/bin/id\n"))
	s.expect("LogonSuccess alice>root NewCredentials")
}

func TestLogRotation(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	name := filepath.Join(s.dir, "auth.log")
	s.add("auth.log", []byte("x\n"))
	s.expect()
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	s.expect()
	s.add("auth.log", []byte("Nov 24 08:33:01 host sshd[2]: Accepted password for a from 192.0.2.7 port 1 ssh2\n"))
	s.expect("LogonSuccess a RemoteInteractive 192.0.2.7")
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	s.add("auth.log", []byte("Nov 24 08:33:01 host login[2]: FAILED LOGIN (1) on '/dev/tty1' FOR 'b', x\n"))
	s.expect("LogonFailed b Interactive")
	s.add("auth.log", []byte(strings.Repeat("y", 3*maxLine)))
	s.expect()
	if n := len(s.logons.auth[0].rest); n > maxLine {
		t.Errorf("%d bytes of a line without end are kept", n)
	}
}

func TestLogonsFromRecords(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	l := nativeLayout()
	s.add("wtmp", utmpBytes(l, utUser, 5, "pts/9", "old", "", nil))
	s.add("btmp", nil)
	s.expect()
	s.add("wtmp", utmpBytes(l, utUser, 6, "pts/1", "root", "192.0.2.7", []byte{192, 0, 2, 7}))
	s.add("wtmp", utmpBytes(l, utUser, 7, "tty1", "bob", "", nil)[:100])
	s.add("btmp", utmpBytes(l, 6, 8, "ssh:notty", "eve", "192.0.2.66", []byte{192, 0, 2, 66}))
	s.expect("LogonFailed eve RemoteInteractive 192.0.2.66", "LogonSuccess root RemoteInteractive 192.0.2.7")
	s.add("wtmp", utmpBytes(l, utUser, 7, "tty1", "bob", "", nil)[100:])
	s.add("wtmp", utmpBytes(l, utDead, 6, "pts/1", "", "", nil))
	s.add("wtmp", utmpBytes(l, utDead, 6, "pts/4", "", "", nil)) // nobody was there
	s.expect("LogonSuccess bob Interactive", "Logoff root RemoteInteractive 192.0.2.7")
}

func TestLogonsFromSessions(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	if err := os.Mkdir(filepath.Join(s.dir, "sessions"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "# This is private data. Do not parse.\nUID=1000\nUSER=Alice\nACTIVE=1\nREMOTE=1\nTYPE=tty\nCLASS=user\nREMOTE_HOST=192.0.2.7\nSERVICE=sshd\nLEADER=44\nAUDIT=3\n"
	s.add("sessions/3", []byte(text))
	s.add("sessions/3.ref", nil)
	s.add("sessions/c1", []byte("UID=0\nUSER=root\nCLASS=user\nSERVICE=cron\n"))
	s.add("sessions/c2", []byte("UID=113\nUSER=gdm\nCLASS=greeter\n"))
	s.logons.snapshot()
	s.expect("LogonFound alice RemoteInteractive 192.0.2.7")
	if got := s.logons.loggedOn("d"); got != `[{"DomainName":"d","UserName":"alice"}]` {
		t.Errorf("logged on: %s", got)
	}
	s.add("sessions/4", []byte("UID=0\nUSER=root\nTTY=tty1\nCLASS=user\nSERVICE=login\n"))
	s.expect("LogonSuccess root Interactive")
	if err := os.Remove(filepath.Join(s.dir, "sessions/3")); err != nil {
		t.Fatal(err)
	}
	s.expect("Logoff alice RemoteInteractive 192.0.2.7")
}

// One logon that three sources tell of is one row.
func TestSourcesAgree(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	if err := os.Mkdir(filepath.Join(s.dir, "sessions"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.add("wtmp", nil)
	s.add("auth.log", nil)
	s.expect()
	s.add("auth.log", []byte("Nov 24 08:33:01 host sshd[2]: Accepted password for root from 192.0.2.7 port 1 ssh2\n"))
	s.add("sessions/4", []byte("UID=0\nUSER=root\nREMOTE=1\nREMOTE_HOST=192.0.2.7\nCLASS=user\nSERVICE=sshd\n"))
	s.add("wtmp", utmpBytes(nativeLayout(), utUser, 6, "pts/1", "root", "", []byte{192, 0, 2, 7}))
	s.expect("LogonSuccess root RemoteInteractive 192.0.2.7")
}

func TestLogonHookIsHonest(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	if h := s.logons.hook(); h.Attached || h.Rung != "off" || h.Error == "" {
		t.Errorf("no source at all: %+v", h)
	}
	s.add("wtmp", nil)
	if h := s.logons.hook(); !h.Attached || !strings.Contains(h.BlindSpot, "not when they fail") || !strings.Contains(h.BlindSpot, "btmp") {
		t.Errorf("only wtmp: %+v", h)
	}
	s.add("auth.log", nil)
	if h := s.logons.hook(); !h.Attached || strings.Contains(h.BlindSpot, "sudo") {
		t.Errorf("with a log: %+v", h)
	}
}

// As many notes are told as the source that saw most of them saw.
func TestMatcherTellsTheMost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMatcher()
		now, told := time.Unix(1, 0), 0
		counts := map[string]int{}
		for range rapid.IntRange(0, 30).Draw(t, "notes") {
			source := rapid.SampledFrom([]string{"log", "wtmp", "logind"}).Draw(t, "source")
			counts[source]++
			now = now.Add(time.Duration(rapid.IntRange(0, int(sameLogon/time.Millisecond)).Draw(t, "ms")) * time.Millisecond)
			if m.fresh(source, logonNote{action: "LogonSuccess", user: "a"}, now) {
				told++
			}
		}
		want := 0
		for _, n := range counts {
			want = max(want, n)
		}
		if told != want {
			t.Fatalf("told %d of %v", told, counts)
		}
	})
}

func TestMatcherIsBounded(t *testing.T) {
	t.Parallel()
	m := newMatcher()
	for i := range 3 * maxSessions {
		m.fresh("log", logonNote{action: "LogonFailed", user: strconv.Itoa(i)}, time.Unix(1, 0))
	}
	if len(m.groups) > maxSessions {
		t.Errorf("%d groups", len(m.groups))
	}
}

func FuzzAuthLine(f *testing.F) {
	f.Add("Nov 24 08:33:01 host sshd[1]: Failed password for invalid user x from 10.0.0.1 from 192.0.2.7 port 2 ssh2")
	f.Add("2026-11-24T08:33:01+00:00 host sudo: a : 1 incorrect password attempt ; TTY=x ; USER=root ; COMMAND=y")
	f.Add("Nov 24 08:33:01 host login[3]: FAILED LOGIN (1) on '/dev/tty1' FOR 'bob', Authentication failure")
	f.Fuzz(func(t *testing.T, line string) {
		n, ok := parseAuthLine(line)
		if ok && (n.action == "" || n.program == "") {
			t.Fatalf("%q became %+v", line, n)
		}
	})
}

func FuzzLoginRecords(f *testing.F) {
	f.Add(utmpBytes(layoutOf("amd64"), utUser, 1, "pts/0", "root", "h", []byte{1}))
	f.Add([]byte("USER=a\nLEADER=x\nREMOTE_HOST=\"\\x\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseUtmp(b, layoutOf("amd64"))
		parseUtmp(b, layoutOf("arm64"))
		if s, ok := parseSession(b); ok && s.note.user == "" {
			t.Fatal("a session of nobody")
		}
	})
}
