// SPDX-License-Identifier: Apache-2.0

//go:build linux

package logon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor/linux/audit"
	"github.com/picket-edr/picket/sensor/linux/journal"
	"golang.org/x/sys/unix"
)

const lookEvery = 500 * time.Millisecond

// Paths are the files that tell of logons. Empty ones are not looked for.
type Paths struct {
	AuthLogs         []string
	Utmp, Wtmp, Btmp string
	Sessions         string   // folder of systemd-logind
	Journal          []string // folders of systemd's journal
	Machine, Boot    string   // ids of this host and of its run, as the journal names them
	Audit            bool     // listen to the kernel's audit system
}

// HostPaths are those of a Linux host.
func HostPaths() Paths {
	return Paths{AuthLogs: []string{"/var/log/auth.log", "/var/log/secure"},
		Utmp: "/run/utmp", Wtmp: "/var/log/wtmp", Btmp: "/var/log/btmp", Sessions: "/run/systemd/sessions",
		Journal: []string{"/var/log/journal", "/run/log/journal"}, Audit: true,
		Machine: string(readSome("/etc/machine-id", 128)), Boot: string(readSome("/proc/sys/kernel/random/boot_id", 128))}
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
	journal  *journal.Reader       // nil: none
	files    atomic.Int64          // of the journal
	audit    *audit.Reader         // nil: none
	deaf     atomic.Bool           // audit ended
	refused  atomic.Pointer[error] // why there is no audit, or no journal
	closing  sync.Once
}

// New makes a watcher. Nothing that is in the logs before is told.
func New(o Options) *Watcher {
	w := &Watcher{o: o, wtmp: &tail{name: o.Paths.Wtmp}, btmp: &tail{name: o.Paths.Btmp},
		sessions: sessions{dir: o.Paths.Sessions}, lines: map[string]note{}, merger: newMerger(o.Lost)}
	for _, name := range o.Paths.AuthLogs {
		w.auth = append(w.auth, &tail{name: name})
	}
	if err := w.open(); err != nil {
		w.refused.Store(&err)
	}
	return w
}

// open opens the sources that are more than files of a known name. A host may
// do without.
func (w *Watcher) open() error {
	var errs []error
	if len(w.o.Paths.Journal) > 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return fmt.Errorf("clock: %w", err)
		}
		r, err := journal.Open(journal.Options{Dirs: w.o.Paths.Journal, Machine: w.o.Paths.Machine, Boot: w.o.Paths.Boot,
			Since: time.Duration(now.Nano()), Fields: journalFields, Want: wantEntry, Lost: w.o.Lost})
		if err == nil {
			w.journal = r
			w.files.Store(int64(r.Files()))
		}
		errs = append(errs, err)
	}
	if w.o.Paths.Audit {
		r, err := audit.Open(auditTypes, w.o.Lost)
		if err == nil {
			w.audit = r
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Close lets go of what New opened. It is for watchers that are not run any
// more and may be called more than once.
func (w *Watcher) Close() error {
	var err error
	w.closing.Do(func() {
		if w.journal != nil {
			w.journal.Close()
		}
		if w.audit != nil {
			err = w.audit.Close()
		}
	})
	return err
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	var listening sync.WaitGroup
	defer listening.Wait()
	if w.audit != nil {
		listening.Go(func() { w.listen(ctx) })
	}
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

// listen takes messages from the kernel. If that ends, the other sources are
// still watched, and the hook tells.
func (w *Watcher) listen(ctx context.Context) {
	err := w.audit.Run(ctx, func(r audit.Record) {
		if n, ok := fromAudit(&r); ok {
			w.tell("audit", n)
		}
	})
	if err != nil {
		w.o.Lost("audit.ended", 1)
		w.deaf.Store(true)
		w.refused.Store(&err)
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

// Seen says that a change of an account or a group was seen in the files that
// hold them, and has its row.
func (w *Watcher) Seen(action, account, group string) {
	if action == "PasswordChanged" {
		action = PasswordChange
	}
	w.merger.seen(note{Fact: Fact{Action: action, Account: true, Target: account, Group: group}, weak: true}, time.Now())
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
	if w.journal != nil {
		w.journal.Look(func(e journal.Entry) {
			if n, ok := fromEntry(e); ok {
				w.tell("journal", n)
			}
		})
		w.files.Store(int64(w.journal.Files()))
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
	if err := w.refused.Load(); err != nil && h.Error == "" {
		h.Error = (*err).Error()
	}
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
	told := false // programs tell of themselves somewhere
	if w.audit != nil && !w.deaf.Load() {
		switch on, err := audit.Enabled(); {
		case on, errors.Is(err, unix.EPERM): // who may not ask may listen
			have, told = append(have, "audit"), true
		case err != nil:
			gaps = append(gaps, "the kernel does not say whether anything is audited")
		default:
			gaps = append(gaps, "nothing is audited on this host")
		}
	}
	if w.files.Load() > 0 {
		have, told = append(have, "journal"), true
	}
	if slices.ContainsFunc(p.AuthLogs, exists) {
		have, told = append(have, "log"), true
	}
	for _, s := range []struct{ name, path string }{{"logind", p.Sessions}, {"wtmp", p.Wtmp}, {"btmp", p.Btmp}} {
		if exists(s.path) {
			have = append(have, s.name)
		}
	}
	if !told {
		gaps = append(gaps, "no journal, authentication log or audit: sudo and su are seen when they succeed, not when they fail; "+
			"changes of accounts, unlocked screens, cron and polkit are not seen")
		if !exists(p.Btmp) {
			gaps = append(gaps, "no btmp: failed logons are not seen")
		}
	}
	if len(have) == 0 {
		gaps = append(gaps, "no record of logins: remote and console logons are not seen")
	}
	return have, append(gaps, "programs that write to none of these; names of accounts that only a directory knows have no number")
}
