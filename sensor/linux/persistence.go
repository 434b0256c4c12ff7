// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/command"
	"github.com/picket-edr/picket/sensor/linux/persist"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

const (
	watchQueue = 4096
	goneWait   = 300 * time.Millisecond // for the file that an editor puts in place of one that went
	attachSlip = 2                      // s that file times may lag behind the clock, and some
)

// watchedChange is a change on its way to the watcher, with what only the
// reader knows of who did it.
type watchedChange struct {
	persist.Change
	at     event.Time
	actor  *initiating
	img    *image
	pid    uint32
	mntNS  uint32
	inside bool // a container
	origin string
	due    time.Time // of one that waits
}

// watcher tells what changed in files by which programs and accounts stay. It
// reads and compares on a goroutine of its own.
type watcher struct {
	c       *Collector
	root    string // of the host; another only in tests
	host    *persist.HostTree
	tracker *persist.Tracker
	mntNS   uint32
	queue   chan *watchedChange
	waiting []*watchedChange
}

func newWatcher(c *Collector, root string, since int64) *watcher {
	w := &watcher{c: c, root: root, queue: make(chan *watchedChange, watchQueue), mntNS: ownMountNamespace()}
	host, err := persist.OpenHost(root, false)
	if err != nil {
		c.log.Warn("what keeps programs on the host is not watched", "error", err)
		return w
	}
	w.host = host
	w.tracker = persist.NewTracker(host, since, func(s string) string {
		s, _ = command.Text(c.redactor(), s)
		return s
	})
	return w
}

func ownMountNamespace() uint32 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/mnt", &st) != nil {
		return 0
	}
	return uint32(st.Ino)
}

// watch hands a change over if it is of something that is watched. It never
// waits.
func (c *Collector) watch(change persist.Change, at event.Time, p *process) {
	w := c.watcher
	if w == nil || w.tracker == nil {
		return
	}
	if w.root != "/" {
		change.Path, change.OldPath = within(w.root, change.Path), within(w.root, change.OldPath)
	}
	if !w.tracker.Interested(&change) {
		return
	}
	n := &watchedChange{Change: change, at: at, actor: c.describe(p), img: actorImage(p)}
	if p != nil {
		n.Actor, n.pid, n.mntNS, n.inside, n.origin = p.path, p.key.pid, p.mntNS, p.container != "", packageManager(p)
	}
	select {
	case w.queue <- n:
	default:
		c.lost.add("persist.queue_full", 1)
		c.out.miss("DeviceEvents", 1)
	}
}

// within makes a path relative to a root; "" when it is outside.
func within(root, name string) string {
	if len(name) > len(root) && name[:len(root)] == root && name[len(root)] == '/' {
		return name[len(root):]
	}
	return ""
}

func (w *watcher) close() error {
	if w == nil || w.host == nil {
		return nil
	}
	return w.host.Close()
}

// run works until ctx ends and then through what is left.
func (w *watcher) run(ctx context.Context) {
	if w == nil || w.tracker == nil {
		return
	}
	w.tracker.Baseline(func() bool { return ctx.Err() != nil })
	for {
		var due <-chan time.Time // only while something waits: an idle host is left alone
		if len(w.waiting) > 0 {
			due = time.After(time.Until(w.waiting[0].due))
		}
		select {
		case n := <-w.queue:
			w.take(n)
		case now := <-due:
			w.release(now)
		case <-ctx.Done():
			w.finish()
			return
		}
	}
}

func (w *watcher) finish() {
	for {
		select {
		case n := <-w.queue:
			w.take(n)
		default:
			w.release(time.Time{})
			return
		}
	}
}

// take looks into a change. A file that went may be on the way to being
// replaced: it is looked at a moment later.
func (w *watcher) take(n *watchedChange) {
	if n.Op == persist.Deleted || n.Op == persist.Renamed {
		n.due = time.Now().Add(goneWait)
		w.waiting = append(w.waiting, n)
	}
	if n.Op != persist.Deleted {
		// It was replaced. Who removes it once more did so, not who did before.
		w.waiting = slices.DeleteFunc(w.waiting, func(gone *watchedChange) bool {
			return gone.Op == persist.Deleted && gone.Path == n.Path && gone.mntNS == n.mntNS
		})
		w.look(n, w.tracker.Arrived)
	}
}

// release looks at what waited long enough; at all of it when now is zero.
func (w *watcher) release(now time.Time) {
	for len(w.waiting) > 0 && (now.IsZero() || !now.Before(w.waiting[0].due)) {
		w.look(w.waiting[0], w.tracker.Left)
		w.waiting = w.waiting[1:]
	}
}

// look tells what a change means.
func (w *watcher) look(n *watchedChange, what func(*persist.Change) []persist.Event) {
	n.Space, n.Tree = "", w.host
	if w.foreign(n) {
		n.Space, n.Tree = fmt.Sprintf("mnt:%d", n.mntNS), nil
		if tree, err := persist.OpenHost(fmt.Sprintf("/proc/%d/root", n.pid), true); err == nil {
			defer tree.Close()
			n.Tree = tree
		}
	}
	for _, e := range what(&n.Change) {
		w.tell(n, e)
	}
}

// foreign reports whether the process that did it sees other files under the
// same names. Many services have a mount namespace of their own and yet the
// root of the host.
func (w *watcher) foreign(n *watchedChange) bool {
	if n.mntNS == 0 || n.mntNS == w.mntNS {
		return false
	}
	var own, theirs unix.Stat_t
	if unix.Stat("/", &own) != nil || unix.Stat(fmt.Sprintf("/proc/%d/root/", n.pid), &theirs) != nil {
		return n.inside
	}
	return own.Dev != theirs.Dev || own.Ino != theirs.Ino
}

// tell makes the row of one event.
func (w *watcher) tell(n *watchedChange, e persist.Event) {
	row := &event.DeviceEvents{Timestamp: n.at, ActionType: e.Action}
	w.c.plans.fill(row, n.actor)
	row.FolderPath, row.FileName = e.Path, baseName(e.Path)
	if w.root != "/" {
		row.FolderPath = path.Join(w.root, e.Path)
	}
	row.FileSize = e.File.Size
	row.AccountName, row.AccountSid = e.Account, e.AccountID
	if e.Account != "" && n.Space == "" {
		row.AccountDomain = w.c.host
	}
	if n.origin != "" && e.Fields["PackageManager"] == nil {
		e.Fields["PackageManager"] = n.origin
	}
	if group, ok := e.Fields["GroupName"].(string); n.Space == "" && (ok || e.Account != "") {
		w.c.logons.Seen(e.Action, e.Account, group) // which logs tell of too
	}
	row.AdditionalFields = toJSON(e.Fields)
	var own *image
	if e.File.Kind == persist.Regular && e.File.Size > 0 && n.Space == "" {
		part := record.ImagePart{Ino: e.File.Ino, Size: uint64(e.File.Size), CtimeSec: e.File.CtimeSec, CtimeNsec: uint32(e.File.CtimeNsec),
			Dev: deviceOf(e.File.Dev), Mode: e.File.Mode, Nlink: e.File.Nlink, UID: e.File.UID}
		own = w.c.hash.get(part, row.FolderPath, 0, runnable)
	}
	w.c.out.push(row, own, n.img, w.c.hash.backlog() <= hashBacklog)
}
