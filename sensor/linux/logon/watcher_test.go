// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/sensor/linux/journal"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sources is a folder with the sources of a host and a watcher that reads them.
type sources struct {
	*Watcher
	t     *testing.T
	dir   string
	facts []Fact
}

func newSources(t *testing.T) *sources {
	s := &sources{t: t, dir: t.TempDir()}
	in := func(name string) string { return filepath.Join(s.dir, name) }
	s.Watcher = New(Options{Lost: noLoss, Emit: func(f Fact) { s.facts = append(s.facts, f) },
		Paths: Paths{AuthLogs: []string{in("auth.log")}, Utmp: in("utmp"), Wtmp: in("wtmp"), Btmp: in("btmp"), Sessions: in("sessions"),
			Journal: []string{in("journal")}, Machine: "3d1219c7c4c5404aaa1f6d2a48adfda4"}})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
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

func (s *sources) mkdir(name string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, name), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// expect looks and compares "action user>target type ip sources" of each fact.
func (s *sources) expect(want ...string) {
	s.t.Helper()
	s.look()
	s.pass(true)
	var got []string
	for _, f := range s.facts {
		text := f.Action + " " + f.User
		if f.Target != "" {
			text += ">" + f.Target
		}
		if f.Remote.IsValid() {
			text += " " + f.Remote.String()
		}
		got = append(got, text+" "+f.Type+" "+strings.Join(f.Sources, ","))
	}
	s.facts = nil
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("facts (-want +got): %s", diff)
	}
}

func TestLogonsFromLog(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	line := func(text string) { s.add("auth.log", []byte(old+text+"\n")) }
	line("sshd[1]: Accepted password for old from 192.0.2.7 port 1 ssh2") // before the sensor
	s.expect()
	line("sshd[2]: Accepted password for alice from 192.0.2.7 port 1 ssh2")
	s.expect("LogonSuccess alice 192.0.2.7 RemoteInteractive log")
	line("sshd[3]: Failed password for root from 192.0.2.9 port 1 ssh2")
	line("sshd[3]: Connection closed by authenticating user root 192.0.2.9 port 1 [preauth]") // told already
	line("sshd[4]: Connection closed by authenticating user bob 192.0.2.9 port 1 [preauth]")
	s.expect("LogonFailed root 192.0.2.9 RemoteInteractive log", "LogonFailed bob 192.0.2.9 RemoteInteractive log")
	s.add("auth.log", []byte(old+"sudo: alice : TTY=pts/0 ; PWD=/ ; "))
	s.expect() // half a line
	s.add("auth.log", []byte("USER=root ; COMMAND=/bin/id\n"))
	s.expect("LogonSuccess alice>root NewCredentials log")
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
	s.add("auth.log", []byte(old+"sshd[2]: Accepted password for a from 192.0.2.7 port 1 ssh2\n"))
	s.expect("LogonSuccess a 192.0.2.7 RemoteInteractive log")
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	s.add("auth.log", []byte(old+"login[2]: FAILED LOGIN (1) on '/dev/tty1' FOR 'b', x\n"))
	s.expect("LogonFailed b Interactive log")
	s.add("auth.log", []byte(strings.Repeat("y", 3*maxLine)))
	s.expect()
	if n := len(s.auth[0].rest); n > maxLine {
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
	s.expect("LogonFailed eve 192.0.2.66 RemoteInteractive btmp", "LogonSuccess root 192.0.2.7 RemoteInteractive wtmp")
	s.add("wtmp", utmpBytes(l, utUser, 7, "tty1", "bob", "", nil)[100:])
	s.add("wtmp", utmpBytes(l, utDead, 6, "pts/1", "", "", nil))
	s.add("wtmp", utmpBytes(l, utDead, 6, "pts/4", "", "", nil)) // nobody was there
	s.add("wtmp", utmpBytes(l, utUser, 9, "tty2", "eve", ":0", nil))
	s.add("wtmp", utmpBytes(l, utUser, 10, "pts/7", "eve", "far.test", nil))
	s.expect("LogonSuccess bob Interactive wtmp", "Logoff root 192.0.2.7 RemoteInteractive wtmp", "LogonSuccess eve Interactive wtmp",
		"LogonSuccess eve RemoteInteractive wtmp")
}

func TestLogonsFromSessions(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	s.mkdir("sessions")
	text := "# This is private data. Do not parse.\nUID=1000\nUSER=alice\nACTIVE=1\nREMOTE=1\nTYPE=tty\nCLASS=user\nREMOTE_HOST=192.0.2.7\nSERVICE=sshd\nLEADER=44\nAUDIT=3\n"
	s.add("sessions/3", []byte(text))
	s.add("sessions/3.ref", nil)
	s.add("sessions/c2", []byte("UID=113\nUSER=gdm\nCLASS=greeter\n"))
	s.add("utmp", utmpBytes(nativeLayout(), utUser, int32(os.Getpid()), "pts/1", "alice", "192.0.2.7", []byte{192, 0, 2, 7}))
	s.add("utmp", utmpBytes(nativeLayout(), utUser, 1<<30, "pts/2", "gone", "", nil))
	s.snapshot()
	s.expect("LogonFound alice 192.0.2.7 RemoteInteractive logind,utmp")
	if got := s.LoggedOn(); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("logged on: %s", got)
	}
	s.add("sessions/4", []byte("UID=0\nUSER=root\nTTY=tty1\nCLASS=user\nSERVICE=login\n"))
	s.add("sessions/5", []byte("UID=0\nUSER=root\nCLASS=background\nSERVICE=cron\nLEADER=9\n"))
	s.add("sessions/6", []byte("UID=1000\nUSER=alice\nCLASS=manager\nSERVICE=systemd-user\nLEADER=10\n"))
	s.add("sessions/7", []byte("UID=0\nUSER=root\nCLASS=user\nSERVICE=sudo\nLEADER=11\n"))
	s.add("sessions/8", []byte("UID=0\nUSER=eve\nCLASS=user\nREMOTE=1\nREMOTE_HOST=far.test\nLEADER=12\nAUDIT=4294967295\n"))
	s.expect("LogonSuccess root Interactive logind", "LogonSuccess root Batch logind", "LogonSuccess alice Service logind", "LogonSuccess eve RemoteInteractive logind")
	if err := os.Remove(filepath.Join(s.dir, "sessions/3")); err != nil {
		t.Fatal(err)
	}
	s.expect("Logoff alice 192.0.2.7 RemoteInteractive logind")
	if got := s.LoggedOn(); !slices.Equal(got, []string{"alice", "eve", "root"}) {
		t.Errorf("logged on: %s", got)
	}
}

// One logon that several sources tell of is one fact.
func TestSourcesAgree(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	s.mkdir("sessions")
	s.add("wtmp", nil)
	s.add("auth.log", nil)
	s.expect()
	s.add("auth.log", []byte(old+"sshd[2]: Accepted password for root from 192.0.2.7 port 1 ssh2\n"))
	s.add("sessions/4", []byte("UID=0\nUSER=root\nREMOTE=1\nREMOTE_HOST=192.0.2.7\nCLASS=user\nSERVICE=sshd\nLEADER=2\n"))
	s.add("wtmp", utmpBytes(nativeLayout(), utUser, 6, "pts/1", "root", "", []byte{192, 0, 2, 7}))
	s.expect("LogonSuccess root 192.0.2.7 RemoteInteractive log,logind,wtmp")
}

func TestRunPassesOnWhatIsHeld(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Became(Fact{Program: "su", PID: 5, User: "alice", Target: "root", TTY: "/dev/pts/0"})
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	s.expect("LogonSuccess alice>root NewCredentials process")
}

func TestHookIsHonest(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	if h := s.Hook(false); h.Attached || h.Rung != "off" || h.Error == "" {
		t.Errorf("no source at all: %+v", h)
	}
	if h := s.Hook(true); !h.Attached || h.Rung != "processes" {
		t.Errorf("only processes: %+v", h)
	}
	s.add("wtmp", nil)
	if h := s.Hook(true); !h.Attached || h.Rung != "wtmp" || !strings.Contains(h.BlindSpot, "not when they fail") || !strings.Contains(h.BlindSpot, "btmp") {
		t.Errorf("only wtmp: %+v", h)
	}
	s.add("auth.log", nil)
	if h := s.Hook(true); !h.Attached || h.Rung != "log+wtmp" || strings.Contains(h.BlindSpot, "sudo") {
		t.Errorf("with a log: %+v", h)
	}
	if err := os.Remove(filepath.Join(s.dir, "auth.log")); err != nil {
		t.Fatal(err)
	}
	s.addJournal()
	s.look()
	if h := s.Hook(true); h.Rung != "journal+wtmp" || strings.Contains(h.BlindSpot, "sudo") {
		t.Errorf("with a journal: %+v", h)
	}
}

// addJournal puts a journal there that systemd 252 wrote.
func (s *sources) addJournal() {
	s.t.Helper()
	f, err := os.Open("../journal/testdata/compact.journal.gz")
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mkdir("journal/3d1219c7c4c5404aaa1f6d2a48adfda4")
	s.add("journal/3d1219c7c4c5404aaa1f6d2a48adfda4/system.journal", b)
}

// A host without any log but the journal: what fails is seen too, and what a
// user wrote in the name of sshd is not.
func TestLogonsFromJournal(t *testing.T) {
	t.Parallel()
	s := newSources(t)
	s.expect()
	s.addJournal()
	s.look()
	facts := s.merger.flush(start.Add(1<<40), true)
	expect(t, facts, "LogonSuccess alice RemoteInteractive journal", "LogonFailed alice>root NewCredentials InvalidCredentials journal",
		"LogonSuccess root Batch journal")
	f := facts[0]
	if f.Session != 3 || f.PID != 812 || f.Fingerprint == "" || f.Remote.String() != "192.0.2.7" || f.Unverified {
		t.Errorf("sshd: %+v", f)
	}
	if f = facts[1]; f.PID != 900 || f.Session != 3 || f.TTY != "pts/0" || f.Cwd != "/home/alice" || !strings.HasSuffix(f.Command, " word49") {
		t.Errorf("sudo: %+v", f)
	}
	s.expect()
}

func TestWhoWroteAnEntry(t *testing.T) {
	t.Parallel()
	type answer struct{ accepted, verified bool }
	for want, entries := range map[answer][]map[string]string{
		{true, true}:  {{"_UID": "0"}, {"_UID": "1000", "_EXE": "/usr/bin/sudo"}, {"_UID": "1000", "_EXE": "/usr/bin/sudo (deleted)"}},
		{true, false}: {{"_UID": "1000"}, {}},
		{false, true}: {{"_UID": "1000", "_EXE": "/home/eve/sudo"}, {"_UID": "1000", "_EXE": "/usr/bin/logger"}, {"_UID": "1000", "_EXE": "/usr/bin/python3"}},
	} {
		for _, f := range entries {
			if accepted, verified := judge("sudo", f); accepted != want.accepted || accepted && verified != want.verified {
				t.Errorf("%v: %v, %v", f, accepted, verified)
			}
		}
	}
	if ok, _ := judge("polkit", map[string]string{"_UID": "105", "_EXE": "/usr/lib/polkit-1/polkitd"}); !ok {
		t.Error("polkitd is not believed")
	}
	n, ok := fromEntry(journal.Entry{Fields: map[string]string{"SYSLOG_IDENTIFIER": "sudo", "_UID": "1000", "_PID": "7", "_AUDIT_SESSION": "4294967295",
		"MESSAGE": "bob : user NOT in sudoers ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/sh"}})
	if !ok || !n.Unverified || n.PID != 7 || n.Session != 0 || n.Reason != notInSudoers {
		t.Errorf("got %+v, %v", n, ok)
	}
	for want, f := range map[bool]map[string]string{
		true:  {"SYSLOG_IDENTIFIER": "gdm-password]", "MESSAGE": "gkr-pam: unlocked login keyring"},
		false: {"SYSLOG_IDENTIFIER": "audit", "_TRANSPORT": "audit", "MESSAGE": "pam_unix"},
	} {
		if wantEntry(f) != want {
			t.Errorf("%v is wanted: %v", f, !want)
		}
	}
}
