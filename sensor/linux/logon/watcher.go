// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

const lookEvery = 500 * time.Millisecond

// Paths are the files that tell of logons. Empty ones are not looked for.
type Paths struct {
	AuthLogs         []string
	Utmp, Wtmp, Btmp string
	Sessions         string // folder of systemd-logind
}

// HostPaths are those of a Linux host.
func HostPaths() Paths {
	return Paths{AuthLogs: []string{"/var/log/auth.log", "/var/log/secure"},
		Utmp: "/run/utmp", Wtmp: "/var/log/wtmp", Btmp: "/var/log/btmp", Sessions: "/run/systemd/sessions"}
}

// Options say what to watch and whereto facts go.
type Options struct {
	Paths Paths
	Emit  func(Fact)                   // called by Run's goroutine
	Lost  func(class string, n uint64) // counts what is lost, from any goroutine
}

// Watcher watches every source that a host has. Hosts differ in which they
// have, and several may tell of one logon.
type Watcher struct {
	o        Options
	auth     []*tail
	wtmp     *tail
	btmp     *tail
	sessions sessions
	lines    map[string]note // who is on a terminal, from wtmp
	merger   *merger
}

// New makes a watcher. Nothing that is in the logs before is told.
func New(o Options) *Watcher {
	w := &Watcher{o: o, wtmp: &tail{name: o.Paths.Wtmp}, btmp: &tail{name: o.Paths.Btmp},
		sessions: sessions{dir: o.Paths.Sessions}, lines: map[string]note{}, merger: newMerger(o.Lost)}
	for _, name := range o.Paths.AuthLogs {
		w.auth = append(w.auth, &tail{name: name})
	}
	return w
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	w.snapshot()
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		w.look()
		w.pass(false)
		select {
		case <-ctx.Done():
			w.look()
			w.pass(true)
			return nil
		case <-t.C:
		}
	}
}

// pass hands on the facts that have waited long enough.
func (w *Watcher) pass(all bool) {
	for _, f := range w.merger.flush(time.Now(), all) {
		if f.Type == "" && !f.Account {
			f.Type = "Unknown"
		}
		if f.Action == Failed && f.Reason == "" {
			f.Reason = wrongPassword
		}
		w.o.Emit(f)
	}
}

// Became tells that a program such as sudo or su was seen to run another as a
// different user.
func (w *Watcher) Became(f Fact) {
	f.Action = Success
	n := note{Fact: f, weak: true}
	n.complete()
	w.tell("process", n)
}

func (w *Watcher) tell(source string, n note) { w.merger.tell(source, n, time.Now()) }

// snapshot tells who is logged on already.
func (w *Watcher) snapshot() {
	for _, e := range w.loggedOnEntries() {
		n := fromUtmp(e, Found)
		w.lines[e.line] = n
		w.tell("utmp", n)
	}
	for _, n := range w.sessions.found() {
		w.tell("logind", n)
	}
}

// look asks each source for news.
func (w *Watcher) look() {
	for _, t := range w.auth {
		t.lines(func(line string) {
			if n, ok := parseAuthLine(line); ok {
				w.tell("log", n)
			}
		})
	}
	layout := nativeLayout()
	w.btmp.records(layout.size, func(b []byte) {
		for _, e := range parseUtmp(b, layout) {
			w.tell("btmp", fromUtmp(e, Failed))
		}
	})
	w.wtmp.records(layout.size, func(b []byte) {
		for _, e := range parseUtmp(b, layout) {
			w.fromWtmp(e)
		}
	})
	for _, n := range w.sessions.changes() {
		w.tell("logind", n)
	}
}

func (w *Watcher) fromWtmp(e utmpEntry) {
	switch e.kind {
	case utUser:
		n := fromUtmp(e, Success)
		if len(w.lines) < maxSessions {
			w.lines[e.line] = n
		}
		w.tell("wtmp", n)
	case utDead:
		n, ok := w.lines[e.line]
		if !ok {
			return
		}
		delete(w.lines, e.line)
		n.Action = Logoff
		w.tell("wtmp", n)
	}
}

// fromUtmp makes a note of an entry. Which program let the user in is a guess,
// and the process is one that the program started.
func fromUtmp(e utmpEntry, action string) note {
	n := note{Fact: Fact{Action: action, Program: "login", User: e.user, TTY: e.line, Remote: e.addr}, loose: true, apart: true}
	if e.pid > 0 {
		n.PID = uint32(e.pid)
	}
	if !strings.HasPrefix(e.host, ":") && (e.host != "" || e.addr.IsValid()) { // not a display of this host
		n.Program = "sshd"
		if a, err := netip.ParseAddr(e.host); err != nil {
			n.Host = e.host
		} else if !n.Remote.IsValid() {
			n.Remote = a.Unmap().WithZone("")
		}
	}
	n.complete()
	return n
}

// loggedOnEntries lists the entries of utmp whose process still runs.
func (w *Watcher) loggedOnEntries() []utmpEntry {
	var out []utmpEntry
	for _, e := range parseUtmp(readSome(w.o.Paths.Utmp, 4<<20), nativeLayout()) {
		if e.kind != utUser || e.user == "" || e.pid <= 0 {
			continue
		}
		if _, err := os.Stat("/proc/" + strconv.Itoa(int(e.pid))); err == nil {
			out = append(out, e)
		}
	}
	return out
}

// LoggedOn lists the accounts that are logged on, in lower case. It may be
// called from any goroutine.
func (w *Watcher) LoggedOn() []string {
	seen := map[string]bool{}
	for _, e := range w.loggedOnEntries() {
		seen[strings.ToLower(e.user)] = true
	}
	fresh := sessions{dir: w.o.Paths.Sessions}
	for _, n := range fresh.read() {
		if n.Type != "Service" && n.Type != "Batch" {
			seen[strings.ToLower(n.User)] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Hook says what can be seen on this host. Programs are seen to take on the
// rights of others where processes are.
func (w *Watcher) Hook(processes bool) picket.Hook {
	have, gaps := w.sources()
	h := picket.Hook{Kind: "logon", Rung: strings.Join(have, "+")}
	if processes {
		have = append(have, "processes")
	}
	h.Attached = len(have) > 0
	if !h.Attached {
		h.Rung, h.Error = "off", "no source of logons"
	} else if h.Rung == "" {
		h.Rung = "processes"
	}
	h.BlindSpot = strings.Join(gaps, "; ")
	return h
}

// sources lists the sources in use and what is not seen for want of others.
func (w *Watcher) sources() (have, gaps []string) {
	exists := func(name string) bool {
		if name == "" {
			return false
		}
		_, err := os.Stat(name)
		return err == nil
	}
	p := w.o.Paths
	text := slices.ContainsFunc(p.AuthLogs, exists)
	if text {
		have = append(have, "log")
	}
	for _, s := range []struct{ name, path string }{{"logind", p.Sessions}, {"wtmp", p.Wtmp}, {"btmp", p.Btmp}} {
		if exists(s.path) {
			have = append(have, s.name)
		}
	}
	if !text {
		gaps = append(gaps, "no authentication log: sudo and su are seen when they succeed, not when they fail")
		if !exists(p.Btmp) {
			gaps = append(gaps, "no btmp: failed logons are not seen")
		}
	}
	if len(have) == 0 {
		gaps = append(gaps, "no record of logins: remote and console logons are not seen")
	}
	gaps = append(gaps, "programs that write to none of these")
	return have, gaps
}
