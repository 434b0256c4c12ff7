// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	logonLook   = 500 * time.Millisecond
	sameLogon   = 10 * time.Second // sources that tell of the same logon do so within this time
	maxSessions = 4096
)

// logonPaths are the files that tell of logons.
type logonPaths struct {
	authLogs         []string
	utmp, wtmp, btmp string
	sessions         string // folder of systemd-logind
}

func defaultLogonPaths() logonPaths {
	return logonPaths{authLogs: []string{"/var/log/auth.log", "/var/log/secure"},
		utmp: "/run/utmp", wtmp: "/var/log/wtmp", btmp: "/var/log/btmp", sessions: "/run/systemd/sessions"}
}

// session is one that systemd-logind or wtmp says is open.
type session struct{ note logonNote }

// logons watches every source that a host may have: the authentication log,
// the records of login, and systemd-logind. Hosts differ in which they have,
// and several may tell of one logon.
type logons struct {
	paths   logonPaths
	c       *Collector
	auth    []*tail
	wtmp    *tail
	btmp    *tail
	open    map[string]session // by session id of logind
	lines   map[string]session // by terminal, from wtmp
	failed  map[uint32]bool    // sshd processes that told of a failure
	matcher matcher
}

func newLogons(paths logonPaths, c *Collector) *logons {
	l := &logons{paths: paths, c: c, wtmp: &tail{name: paths.wtmp}, btmp: &tail{name: paths.btmp},
		open: map[string]session{}, lines: map[string]session{}, failed: map[uint32]bool{}, matcher: newMatcher()}
	for _, name := range paths.authLogs {
		l.auth = append(l.auth, &tail{name: name})
	}
	return l
}

// hook says what can be seen on this host. Without an authentication log, as
// on a Debian without a syslog daemon, some of it cannot.
func (l *logons) hook() picket.Hook {
	h := picket.Hook{Kind: "logon", Rung: "logs"}
	exists := func(name string) bool { _, err := os.Stat(name); return err == nil }
	var have, gaps []string
	if slices.ContainsFunc(l.paths.authLogs, exists) {
		have = append(have, "authentication log")
	} else {
		gaps = append(gaps, "no authentication log: sudo and su are seen when they succeed, not when they fail")
	}
	if exists(l.paths.sessions) {
		have = append(have, "systemd-logind")
	}
	if exists(l.paths.wtmp) {
		have = append(have, "wtmp")
	}
	if len(have) == 0 {
		gaps = append(gaps, "no authentication log, systemd-logind or wtmp: remote and console logons are not seen")
	}
	if !exists(l.paths.btmp) && len(gaps) > 0 {
		gaps = append(gaps, "no btmp: failed logons are not seen")
	}
	gaps = append(gaps, "programs that write to none of these; the journal is not read")
	h.BlindSpot = strings.Join(gaps, "; ")
	h.Attached = len(have) > 0 || l.c.Rung() != "off" // sudo and su show as processes
	if !h.Attached {
		h.Rung, h.Error = "off", "no source of logons"
	}
	return h
}

// run watches until ctx ends.
func (l *logons) run(ctx context.Context) error {
	l.snapshot()
	t := time.NewTicker(logonLook)
	defer t.Stop()
	for {
		l.look()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// snapshot tells who is logged on already.
func (l *logons) snapshot() {
	for _, e := range l.loggedOnEntries() {
		n := fromUtmp(e, "LogonFound")
		l.lines[e.line] = session{note: n}
		l.tell("utmp", n)
	}
	l.open = l.readSessions()
	for _, id := range slices.Sorted(maps.Keys(l.open)) {
		n := l.open[id].note
		n.action = "LogonFound"
		l.tell("logind", n)
	}
}

// look asks each source for news.
func (l *logons) look() {
	for _, t := range l.auth {
		t.lines(func(line string) {
			if n, ok := parseAuthLine(line); ok {
				l.fromLog(n)
			}
		})
	}
	layout := nativeLayout()
	l.btmp.records(layout.size, func(b []byte) {
		for _, e := range parseUtmp(b, layout) {
			n := fromUtmp(e, "LogonFailed")
			n.reason = "InvalidCredentials"
			l.tell("btmp", n)
		}
	})
	l.wtmp.records(layout.size, func(b []byte) {
		for _, e := range parseUtmp(b, layout) {
			l.fromWtmp(e)
		}
	})
	l.compareSessions()
}

// fromLog passes on a line of the log. A connection that ends before a logon
// is a failure of its own only if no other line told of one.
func (l *logons) fromLog(n logonNote) {
	if n.program == "sshd" && n.action == "LogonFailed" && n.pid != 0 {
		closing := n.method == ""
		if closing && l.failed[n.pid] {
			delete(l.failed, n.pid)
			return
		}
		if !closing {
			if len(l.failed) >= maxSessions {
				clear(l.failed)
			}
			l.failed[n.pid] = true
		}
	}
	l.tell("log", n)
}

func (l *logons) fromWtmp(e utmpEntry) {
	switch e.kind {
	case utUser:
		n := fromUtmp(e, "LogonSuccess")
		if len(l.lines) < maxSessions {
			l.lines[e.line] = session{note: n}
		}
		l.tell("wtmp", n)
	case utDead:
		s, ok := l.lines[e.line]
		if !ok {
			return
		}
		delete(l.lines, e.line)
		s.note.action = "Logoff"
		l.tell("wtmp", s.note)
	}
}

func fromUtmp(e utmpEntry, action string) logonNote {
	n := logonNote{action: action, program: "login", user: e.user, tty: e.line, remote: e.addr}
	if e.pid > 0 {
		n.pid = uint32(e.pid)
	}
	if e.host != "" || e.addr.IsValid() {
		n.program = "sshd"
		if a, err := netip.ParseAddr(e.host); err == nil && !n.remote.IsValid() {
			n.remote = a.Unmap()
		}
	}
	return n
}

// compareSessions finds sessions of systemd-logind that came or went.
func (l *logons) compareSessions() {
	now := l.readSessions()
	for id, s := range now {
		if _, ok := l.open[id]; !ok {
			l.tell("logind", s.note)
		}
	}
	for id, s := range l.open {
		if _, ok := now[id]; !ok {
			s.note.action = "Logoff"
			l.tell("logind", s.note)
		}
	}
	l.open = now
}

func (l *logons) readSessions() map[string]session {
	out := map[string]session{}
	d, err := os.Open(l.paths.sessions)
	if err != nil {
		return out
	}
	defer d.Close()
	names, err := d.Readdirnames(maxSessions)
	if err != nil {
		return out
	}
	for _, id := range names {
		if strings.HasSuffix(id, ".ref") {
			continue
		}
		if s, ok := parseSession(readSome(filepath.Join(l.paths.sessions, id), 64<<10)); ok {
			out[id] = s
		}
	}
	return out
}

// parseSession reads the file that systemd-logind keeps of a session. Those of
// services, greeters and cron are no logons of people.
func parseSession(b []byte) (session, bool) {
	v := keyValues(b)
	if v["USER"] == "" || v["CLASS"] != "user" && v["CLASS"] != "" || v["SERVICE"] == "cron" || v["SERVICE"] == "crond" {
		return session{}, false
	}
	n := logonNote{action: "LogonSuccess", program: "login", user: v["USER"], tty: v["TTY"]}
	if s := v["SERVICE"]; s == "sshd" || v["REMOTE"] == "1" {
		n.program = "sshd"
	} else if s == "su" || s == "su-l" || s == "sudo" {
		return session{}, false // told by the program that was run
	}
	if a, err := netip.ParseAddr(v["REMOTE_HOST"]); err == nil {
		n.remote = a.Unmap()
	}
	if pid, err := strconv.ParseUint(v["LEADER"], 10, 32); err == nil {
		n.pid = uint32(pid)
	}
	return session{n}, true
}

// tell passes a note to the reader's goroutine unless another source has told
// the same.
func (l *logons) tell(source string, n logonNote) {
	if !l.c.do(func() {
		if l.matcher.fresh(source, n, time.Now()) {
			l.c.onLogon(n)
		}
	}) {
		l.c.lost.add("inbox.full", 1)
		l.c.out.miss("DeviceLogonEvents", 1)
	}
}

// loggedOnEntries lists the entries of utmp whose process still runs.
func (l *logons) loggedOnEntries() []utmpEntry {
	var out []utmpEntry
	for _, e := range parseUtmp(readSome(l.paths.utmp, 4<<20), nativeLayout()) {
		if e.kind != utUser || e.user == "" || e.pid <= 0 {
			continue
		}
		if _, err := os.Stat("/proc/" + strconv.Itoa(int(e.pid))); err == nil {
			out = append(out, e)
		}
	}
	return out
}

// loggedOn is the value of LoggedOnUsers.
func (l *logons) loggedOn(domain string) string {
	seen := map[string]bool{}
	for _, e := range l.loggedOnEntries() {
		seen[strings.ToLower(e.user)] = true
	}
	for _, s := range l.readSessions() {
		seen[strings.ToLower(s.note.user)] = true
	}
	var out []map[string]string
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		out = append(out, map[string]string{"UserName": name, "DomainName": domain})
	}
	return anyJSON(out)
}

// matcher recognises one logon that several sources tell of: for each kind of
// note within a short time, as many are fresh as the source with most told.
type matcher struct{ groups map[string]*noteGroup }

type noteGroup struct {
	last   time.Time
	counts map[string]int
	fresh  int
}

func newMatcher() matcher { return matcher{groups: map[string]*noteGroup{}} }

func (m matcher) fresh(source string, n logonNote, now time.Time) bool {
	key := strings.Join([]string{n.action, strings.ToLower(n.user), n.target}, "\x00")
	if n.action != "Logoff" && n.remote.IsValid() {
		key += "\x00" + n.remote.String()
	}
	g := m.groups[key]
	if g == nil || now.Sub(g.last) > sameLogon {
		if len(m.groups) >= maxSessions {
			for k, old := range m.groups {
				if now.Sub(old.last) > sameLogon {
					delete(m.groups, k)
				}
			}
			if len(m.groups) >= maxSessions {
				clear(m.groups)
			}
		}
		g = &noteGroup{counts: map[string]int{}}
		m.groups[key] = g
	}
	g.last = now
	g.counts[source]++
	if g.counts[source] <= g.fresh {
		return false
	}
	g.fresh = g.counts[source]
	return true
}

// logonTypes by program, in the words of the product.
var logonTypes = map[string]string{"sshd": "RemoteInteractive", "login": "Interactive", "sudo": "NewCredentials", "su": "NewCredentials"}

// onLogon makes the row of a logon, logoff or failure.
func (c *Collector) onLogon(n logonNote) {
	var p *process
	if n.pid != 0 {
		p = c.cache.latest(n.pid)
	}
	at := c.clock.time(c.clock.now())
	row := &event.DeviceLogonEvents{Timestamp: at, ActionType: n.action, IsSnapshot: n.action == "LogonFound"}
	c.plans.fill(row, c.describe(p))
	row.LogonType = logonTypes[n.program]
	row.AccountName, row.TargetAccountName = strings.ToLower(n.user), strings.ToLower(n.target)
	if id, ok := c.users.id(n.user); ok {
		row.AccountSid, row.AccountDomain = strconv.FormatUint(uint64(id), 10), c.host
		row.IsLocalAdmin = c.users.admin(n.user)
	}
	row.FailureReason, row.Protocol, row.LogonTty = n.reason, n.method, n.tty
	if p != nil {
		if p.audit != record.Unset {
			row.LogonId = int64(p.audit)
		}
		if row.LogonTty == "" {
			row.LogonTty = p.tty
		}
	}
	if n.remote.IsValid() {
		row.RemoteIP, row.RemoteIPType, row.RemotePort = n.remote.String(), addressKind(n.remote), int64(n.port)
	}
	extra := map[string]any{"Program": n.program, "IsLocalLogon": !n.remote.IsValid()}
	if n.command != "" {
		extra["Command"] = n.command
	}
	if n.repeats > 0 {
		extra["Repeated"] = n.repeats
	}
	row.AdditionalFields = toJSON(extra)
	c.out.push(row, nil, actorImage(p), false)
}

// becameUser recognises sudo and su by what they do: a program that they
// start runs as another user than the one who called them.
func (c *Collector) becameUser(p *process) {
	by := p.parent
	if by == nil || by.told || (by.name != "sudo" && by.name != "su") || p.uid == by.calledBy || !by.called {
		return
	}
	by.told = true
	n := logonNote{action: "LogonSuccess", program: by.name, pid: by.key.pid, user: c.users.name(by.calledBy),
		target: c.users.name(p.uid), tty: p.tty}
	if by.name == "sudo" {
		n.command = p.cmdline
	}
	if c.logons.matcher.fresh("process", n, time.Now()) {
		c.onLogon(n)
	}
}
