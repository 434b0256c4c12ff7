// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"path"
	"strings"
)

const (
	passwdPath    = "/etc/passwd"
	baselineNames = 65536 // names looked at in all
	baselineDepth = 6     // below a **
)

// Baseline remembers what is there, so that the first change of a file can be
// compared. It ends early when stop says so.
func (t *Tracker) Baseline(stop func() bool) {
	b := &baseline{t: t, stop: stop, left: baselineNames}
	b.remember(passwdPath) // first: it tells where homes are
	few := append([]Watch(nil), t.table...)
	for i := range few {
		if few[i].noBaseline {
			few[i].Paths = nil
		}
	}
	m := newMatcher(few, t.accounts.unusualHomes())
	b.home = m.home
	b.node(m.root, "/")
	t.complete = b.left > 0 && len(t.memory.states) < maxStates && !stop()
}

type baseline struct {
	t    *Tracker
	home *node
	stop func() bool
	left int
}

// node looks at what a part of the matcher can match below a folder.
func (b *baseline) node(n *node, dir string) {
	if b.left <= 0 || b.stop() {
		return
	}
	if n.home {
		b.node(b.home, dir)
	}
	for part, to := range n.lit {
		b.enter(to, path.Join(dir, part))
	}
	if len(n.globs)+len(n.deep) == 0 {
		return
	}
	names, err := b.t.host.List(dir, min(b.left, folderFiles))
	if err != nil {
		return // not there, or not to be read: there is no baseline of it
	}
	for _, name := range names {
		b.left--
		for _, g := range n.globs {
			if glob(g.pattern, name) {
				b.enter(g.to, path.Join(dir, name))
			}
		}
	}
	if len(n.deep) > 0 {
		b.t.visit(b.t.host, dir, baselineDepth, &b.left, b.remember)
	}
}

func (b *baseline) enter(n *node, name string) {
	b.left--
	if n.watch >= 0 {
		b.remember(name)
	}
	if !n.home && len(n.lit)+len(n.globs)+len(n.deep) == 0 {
		return
	}
	// A link to a folder is passed by: what is in it has another name.
	if i, err := b.t.host.Look(name); err == nil && i.Kind == Folder {
		b.node(n, name)
	}
}

// remember keeps what a file is now.
func (b *baseline) remember(name string) {
	t := b.t
	i := t.matcher.Load().find(name)
	if i < 0 || t.table[i].noBaseline || t.table[i].skips(path.Base(name)) || t.memory.get(name) != nil {
		return
	}
	f := &finding{t: t, w: &t.table[i], c: &Change{Path: name, Tree: t.host}, path: name, base: path.Base(name)}
	s, err := t.look(f)
	if err != nil || s == nil || f.now.Kind != Regular && f.now.Kind != Link {
		return
	}
	if name == passwdPath {
		t.learn(accountLines("", f.data))
	}
	switch vendor := strings.HasPrefix(name, "/usr/") || strings.HasPrefix(name, "/lib"); {
	case f.now.CtimeSec >= t.since:
		s = &state{} // it was there, and how it was before is not known
	case vendor && f.w.events == nil:
		s.items, s.known = "", false // many, and of little interest
	}
	t.memory.put(name, s)
}
