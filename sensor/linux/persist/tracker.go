// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"
)

// Tracker turns changes into events. Interested may be called from any
// goroutine, all else from one.
type Tracker struct {
	table    []Watch
	host     Tree
	since    int64 // seconds: what changed later is not part of the baseline
	memory   *memory
	matcher  atomic.Pointer[matcher]
	accounts accounts
	hide     func(string) string
	key      [32]byte // of the digests that stand for password hashes
	complete bool     // the baseline found room for all
}

// NewTracker returns a tracker of a host. Files of it that changed at since
// (Unix time in seconds) or later are not part of the baseline, as the news of
// that are still to come. What a line may hold of secrets is taken out by hide, in addition to
// what only configuration has.
func NewTracker(host Tree, since int64, hide func(string) string) *Tracker {
	t := &Tracker{table: table, hide: hide, host: host, since: since, memory: newMemory()}
	_, _ = rand.Read(t.key[:]) // never fails
	t.matcher.Store(newMatcher(t.table, nil))
	return t
}

// Interested reports whether a change may be of something that is watched.
func (t *Tracker) Interested(c *Change) bool {
	m := t.matcher.Load()
	if t.watched(m, c.Path) {
		return true
	}
	return c.Op == Renamed && (t.watched(m, c.OldPath) || m.leads(c.Path) || m.leads(c.OldPath))
}

func (t *Tracker) watched(m *matcher, name string) bool {
	i := m.find(name)
	return i >= 0 && !t.table[i].skips(path.Base(name))
}

func (w *Watch) skips(base string) bool {
	return passing(base) || slices.ContainsFunc(w.Skip, func(p string) bool { return glob(p, base) })
}

// Apply returns what a change means. A file that is as it was means nothing.
func (t *Tracker) Apply(c *Change) []Event { return append(t.Left(c), t.Arrived(c)...) }

// Left returns what it means that a name was removed or moved away. It may be
// asked a while after the change: one that is there again by then was changed.
func (t *Tracker) Left(c *Change) []Event {
	c = t.real(c)
	switch {
	case c.Op == Deleted:
		return t.one(c, c.Path)
	case c.Op != Renamed:
		return nil
	case !t.isFolder(c, c.Path):
		return t.one(c, c.OldPath)
	}
	var out []Event
	names := t.memory.below(c.Space + c.OldPath)
	slices.Sort(names)
	for _, key := range names {
		out = append(out, t.one(c, strings.TrimPrefix(key, c.Space))...)
	}
	return out
}

// Arrived returns what a change means for the name that it leaves behind.
func (t *Tracker) Arrived(c *Change) []Event {
	c = t.real(c)
	if c.Op == Deleted {
		return nil
	}
	if c.Op != Renamed || !t.isFolder(c, c.Path) {
		return t.one(c, c.Path)
	}
	var out []Event
	left := folderFiles
	t.visit(c.Tree, c.Path, folderDepth, &left, func(name string) {
		out = append(out, t.one(c, name)...)
	})
	return out
}

// real replaces links on the way to the files of a change.
func (t *Tracker) real(c *Change) *Change {
	if c.Tree == nil {
		return c
	}
	r := *c
	r.Path, r.OldPath = t.realName(c.Tree, c.Path), t.realName(c.Tree, c.OldPath)
	return &r
}

// realName replaces links on the way to a file, as long as it is a watched one
// by its real name.
func (t *Tracker) realName(tree Tree, name string) string {
	if name == "" {
		return ""
	}
	dir := tree.Real(path.Dir(name))
	if dir == "" || dir == path.Dir(name) {
		return name
	}
	if real := path.Join(dir, path.Base(name)); t.matcher.Load().find(real) >= 0 {
		return real
	}
	return name
}

func (t *Tracker) isFolder(c *Change, name string) bool {
	if c.Tree == nil || !t.matcher.Load().leads(name) && !t.matcher.Load().leads(c.OldPath) {
		return false
	}
	i, err := c.Tree.Look(name)
	return err == nil && i.Kind == Folder
}

const (
	folderDepth = 6
	folderFiles = 4096
)

// visit calls f with the watched files below a folder.
func (t *Tracker) visit(tree Tree, dir string, depth int, left *int, f func(string)) {
	names, err := tree.List(dir, min(*left, folderFiles))
	if err != nil || depth == 0 {
		return
	}
	for _, n := range names {
		if *left--; *left < 0 {
			return
		}
		name := path.Join(dir, n)
		if t.watched(t.matcher.Load(), name) {
			f(name)
		}
		if t.matcher.Load().leads(name) {
			t.visit(tree, name, depth-1, left, f)
		}
	}
}

// one compares a file with what it was.
func (t *Tracker) one(c *Change, name string) []Event {
	i := t.matcher.Load().find(name)
	if i < 0 || t.table[i].skips(path.Base(name)) {
		return nil
	}
	f := &finding{t: t, w: &t.table[i], c: c, path: name, base: path.Base(name)}
	key := c.Space + name
	f.prev = t.memory.get(key)
	now, err := t.look(f)
	expected := slices.Contains(f.w.Except, c.Actor)
	switch {
	case errors.Is(err, ErrUnread):
		if expected {
			return nil
		}
		return t.unread(f)
	case now == nil:
		return t.missing(f, key, expected)
	case f.w.regular && f.now.Kind == Link, f.now.Kind == Folder:
		return nil
	}
	prev := f.prev
	t.memory.put(key, now)
	if f.w.mode == byLoss {
		if expected {
			return nil
		}
		return t.cleared(f)
	}
	if expected || prev != nil && !prev.ghost && same(prev, now) {
		return nil
	}
	if prev != nil && prev.ghost {
		f.prev = nil
	}
	f.known = prev == nil && t.knows(f) && c.Op != Modified || f.prev != nil && f.prev.known
	if now.known && f.known {
		f.added, f.removed = difference(prev.list(), now.list())
	}
	return t.tell(f, now)
}

// knows reports whether a file that is not remembered was not there.
func (t *Tracker) knows(f *finding) bool {
	return t.complete && f.c.Space == "" && !f.w.noBaseline
}

// same reports whether nothing that counts differs.
func same(a, b *state) bool {
	if a.info.Kind != b.info.Kind || a.info.Mode != b.info.Mode || a.info.UID != b.info.UID || a.info.GID != b.info.GID || a.info.Target != b.info.Target {
		return false
	}
	if a.read && b.read {
		return a.digest == b.digest
	}
	if a.read != b.read {
		return false
	}
	return a.info == b.info || a.info.Kind == Link
}

// look reads a file as far as its entry in the table asks for. No state
// without an error means that there is no file.
func (t *Tracker) look(f *finding) (*state, error) {
	if f.c.Tree == nil {
		return nil, ErrUnread
	}
	var info Info
	var err error
	if f.w.mode == byContent {
		limit := f.w.limit
		if limit == 0 {
			limit = defaultLimit
		}
		info, f.data, err = f.c.Tree.Read(f.path, limit)
	} else {
		info, err = f.c.Tree.Look(f.path)
	}
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at what changed: %w", err)
	}
	f.now = &info
	return t.stateOf(f), nil
}

func (t *Tracker) stateOf(f *finding) *state {
	s := &state{info: *f.now}
	if f.now.Kind == Link {
		s.items, s.known = "-> "+oneLine(f.now.Target), true
		return s
	}
	if f.data == nil {
		return s
	}
	s.digest, s.read = digest(f.data), true
	items := t.items(f)
	n := 0
	for _, i := range items {
		n += len(i) + 1
	}
	if n <= maxOwn || f.w.events != nil {
		s.items, s.known = strings.Join(items, "\n"), true
	}
	return s
}

// items splits content into what is compared.
func (t *Tracker) items(f *finding) []string {
	parse := f.w.parse
	if parse == nil {
		parse = textLines
	}
	if f.w.secret {
		return t.passwords(f.data)
	}
	return parse(f.path, f.data)
}

// missing is about a file that is not there now.
func (t *Tracker) missing(f *finding, key string, expected bool) []Event {
	was := f.prev
	t.memory.drop(key)
	if was == nil && f.c.Op != Deleted && f.c.Path == f.path && f.c.Size > 0 && f.w.mode != byLoss {
		// Editors make such files too and move them over the real one. Only
		// when its removal is told was it meant to be short.
		t.memory.put(key, &state{ghost: true})
		return nil
	}
	left := f.c.Op == Deleted || f.c.Op == Renamed && f.path == f.c.OldPath
	if expected || was == nil && (!left || t.knows(f)) {
		return nil
	}
	if was != nil && was.ghost {
		return t.shortLived(f)
	}
	if f.w.mode == byLoss {
		return t.vanished(f)
	}
	f.known = was != nil && was.known
	f.removed = was.list()
	return t.tell(f, nil)
}

func (t *Tracker) shortLived(f *finding) []Event {
	if f.c.Op != Deleted {
		return nil
	}
	f.prev = nil
	var out []Event
	for _, action := range []string{f.w.Actions.Created, f.w.Actions.Deleted} {
		if action == "" {
			continue
		}
		e := f.event(action, "Deleted")
		e.Fields["ShortLived"] = true
		out = append(out, e)
	}
	return out
}

// unread tells of a change that cannot be looked into.
func (t *Tracker) unread(f *finding) []Event {
	action, operation := f.w.Actions.Changed, "Changed"
	switch f.c.Op {
	case Deleted:
		action, operation = f.w.Actions.Deleted, "Deleted"
	case Created:
		action, operation = f.w.Actions.Created, "Created"
	case Renamed:
		if f.path == f.c.OldPath {
			action, operation = f.w.Actions.Deleted, "Deleted"
		}
	}
	if f.w.mode == byLoss && f.c.Op != Deleted && !f.c.Truncated || action == "" {
		return nil
	}
	e := f.event(action, operation)
	e.Fields["ContentRead"] = false
	return []Event{e}
}

// tell makes the events of a file that differs from what it was.
func (t *Tracker) tell(f *finding, now *state) []Event {
	operation := "Changed"
	action := f.w.Actions.Changed
	switch {
	case f.now == nil:
		operation, action = "Deleted", f.w.Actions.Deleted
	case f.prev == nil && (f.known || f.c.Op != Modified && f.c.Op != Attributes):
		operation, action = "Created", f.w.Actions.Created
	}
	if f.w.events != nil {
		return f.w.events(f)
	}
	if action == "" {
		return nil
	}
	e := f.event(action, operation)
	f.content(&e, now)
	t.owner(f, &e)
	if f.w.detail != nil {
		for k, v := range f.w.detail(f) {
			e.Fields[k] = v
		}
	}
	return []Event{e}
}

// event begins an event with what all have.
func (f *finding) event(action, operation string) Event {
	e := Event{Action: action, Path: f.path, Fields: map[string]any{"Category": f.w.Category, "Operation": operation}}
	if f.w.Technique != "" {
		e.Fields["AttackTechnique"] = f.w.Technique
	}
	if f.now != nil {
		e.File = *f.now
	}
	return e
}

const (
	tellItems = 32  // of each list
	tellBytes = 400 // of each item
)

// content says what was added and removed.
func (f *finding) content(e *Event, now *state) {
	if !f.known && f.prev == nil && now != nil && now.known && e.Fields["Operation"] == "Created" {
		f.added, f.known = now.list(), true
	}
	if !f.known {
		e.Fields["PreviousKnown"] = false
	}
	if f.now != nil && f.now.Kind == Link {
		e.Fields["LinksTo"] = cut(oneLine(f.now.Target), tellBytes)
	}
	f.list(e, "Added", f.added)
	f.list(e, "Removed", f.removed)
	if f.now == nil || f.prev == nil || f.prev.info.Kind == 0 {
		return
	}
	was := f.prev.info
	if was.Mode != f.now.Mode {
		e.Fields["PreviousMode"], e.Fields["Mode"] = octal(was.Mode), octal(f.now.Mode)
	}
	if was.UID != f.now.UID || was.GID != f.now.GID {
		e.Fields["PreviousOwner"], e.Fields["Owner"] = owner(was), owner(*f.now)
	}
	if f.known && now.known && len(f.added)+len(f.removed) == 0 && f.prev.digest != now.digest {
		e.Fields["OrderOrSpacingOnly"] = true
	}
}

func (f *finding) list(e *Event, key string, items []string) {
	if len(items) == 0 {
		return
	}
	n := min(len(items), tellItems)
	out := make([]string, n)
	for i := range out {
		if out[i] = items[i]; !f.w.plain {
			out[i] = f.t.redact(out[i])
		}
		out[i] = cut(out[i], tellBytes)
	}
	e.Fields[key] = out
	if n < len(items) {
		e.Fields[key+"Omitted"] = len(items) - n
	}
}

func octal(mode uint32) string { return fmt.Sprintf("%04o", mode&0o7777) }

func owner(i Info) string { return fmt.Sprintf("%d:%d", i.UID, i.GID) }
