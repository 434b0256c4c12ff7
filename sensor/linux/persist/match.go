// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"path"
	"strings"
)

// matcher finds the entry of the table that a path belongs to. Patterns are
// paths in which
//
//	{a,b}  stands for either
//	*      stands for any text within one component
//	/**/   stands for any folders, also none
//	~      at the start stands for every home folder
//	...    at the start stands for any folder at all
//
// Nearly all paths of a host match nothing, and are done with after two looks
// into a map.
type matcher struct {
	root *node
	home *node // what follows ~
	// anywhere holds patterns of the last components by the last folder's name.
	anywhere map[string][]tailPattern
}

type tailPattern struct {
	parts []string // folder, ..., base name
	watch int
}

type node struct {
	lit   map[string]*node
	globs []globEdge
	deep  []deepEdge
	watch int  // of the table, -1: none
	home  bool // a home folder
}

type globEdge struct {
	pattern string
	to      *node
}

// deepEdge is a ** and the base name after it.
type deepEdge struct {
	pattern string
	watch   int
}

func newNode() *node { return &node{lit: map[string]*node{}, watch: -1} }

// newMatcher compiles the table. homes are home folders other than those of
// /home and /root.
func newMatcher(watches []Watch, homes []string) *matcher {
	m := &matcher{root: newNode(), home: newNode(), anywhere: map[string][]tailPattern{}}
	for i := range watches {
		for _, pattern := range watches[i].Paths {
			for _, p := range expand(pattern) {
				m.add(p, i)
			}
		}
	}
	for _, h := range append([]string{"/root", "/home/*"}, homes...) {
		m.root.walk(strings.Split(h[1:], "/")).home = true
	}
	return m
}

func (m *matcher) add(pattern string, watch int) {
	if rest, ok := strings.CutPrefix(pattern, ".../"); ok {
		parts := strings.Split(rest, "/")
		key := parts[len(parts)-2]
		m.anywhere[key] = append(m.anywhere[key], tailPattern{parts, watch})
		return
	}
	from, rest := m.root, strings.TrimPrefix(pattern, "/")
	if r, ok := strings.CutPrefix(pattern, "~/"); ok {
		from, rest = m.home, r
	}
	if dir, base, ok := strings.Cut(rest, "/**/"); ok {
		n := from.walk(strings.Split(dir, "/"))
		n.deep = append(n.deep, deepEdge{base, watch})
		return
	}
	n := from.walk(strings.Split(rest, "/"))
	if n.watch < 0 {
		n.watch = watch
	}
}

// walk returns the node at the end of components, made where missing.
func (n *node) walk(parts []string) *node {
	for _, p := range parts {
		n = n.child(p)
	}
	return n
}

func (n *node) child(part string) *node {
	if !strings.Contains(part, "*") {
		if n.lit[part] == nil {
			n.lit[part] = newNode()
		}
		return n.lit[part]
	}
	for _, g := range n.globs {
		if g.pattern == part {
			return g.to
		}
	}
	g := globEdge{part, newNode()}
	n.globs = append(n.globs, g)
	return g.to
}

// expand resolves braces.
func expand(p string) []string {
	open := strings.IndexByte(p, '{')
	if open < 0 {
		return []string{p}
	}
	end := open + strings.IndexByte(p[open:], '}')
	var out []string
	for alternative := range strings.SplitSeq(p[open+1:end], ",") {
		out = append(out, expand(p[:open]+alternative+p[end+1:])...)
	}
	return out
}

// find returns the first entry of the table that a path belongs to, or -1.
func (m *matcher) find(p string) int {
	if len(p) < 2 || p[0] != '/' {
		return -1
	}
	best := m.down(m.root, p[1:], -1)
	if len(m.anywhere) == 0 {
		return best
	}
	dir, base := path.Split(p)
	if len(dir) < 2 {
		return best
	}
	dir = dir[:len(dir)-1]
	for _, t := range m.anywhere[dir[strings.LastIndexByte(dir, '/')+1:]] {
		if glob(t.parts[len(t.parts)-1], base) && endsIn(dir, t.parts[:len(t.parts)-1]) {
			best = first(best, t.watch)
		}
	}
	return best
}

func endsIn(dir string, parts []string) bool {
	for i := len(parts) - 1; i >= 0; i-- {
		cut := strings.LastIndexByte(dir, '/')
		if cut < 0 || !glob(parts[i], dir[cut+1:]) {
			return false
		}
		dir = dir[:cut]
	}
	return true
}

func first(a, b int) int {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// down matches what is left of a path below a node.
func (m *matcher) down(n *node, rest string, best int) int {
	if n.home {
		best = m.down(m.home, rest, best)
	}
	if len(n.deep) > 0 {
		base := rest[strings.LastIndexByte(rest, '/')+1:]
		for _, d := range n.deep {
			if glob(d.pattern, base) {
				best = first(best, d.watch)
			}
		}
	}
	part, after, more := strings.Cut(rest, "/")
	next := func(to *node) {
		if more {
			best = m.down(to, after, best)
		} else {
			best = first(best, to.watch)
		}
	}
	if to := n.lit[part]; to != nil {
		next(to)
	}
	for _, g := range n.globs {
		if glob(g.pattern, part) {
			next(g.to)
		}
	}
	return best
}

// leads reports whether there may be watched files below a path.
func (m *matcher) leads(p string) bool {
	return len(p) > 1 && p[0] == '/' && m.below(m.root, p[1:])
}

func (m *matcher) below(n *node, rest string) bool {
	if n.home && m.below(m.home, rest) || len(n.deep) > 0 {
		return true
	}
	part, after, more := strings.Cut(rest, "/")
	ok := func(to *node) bool {
		if more {
			return m.below(to, after)
		}
		return to.home || len(to.lit)+len(to.globs)+len(to.deep) > 0
	}
	if to := n.lit[part]; to != nil && ok(to) {
		return true
	}
	for _, g := range n.globs {
		if glob(g.pattern, part) && ok(g.to) {
			return true
		}
	}
	return false
}

// glob matches one component; only * is special.
func glob(pattern, name string) bool {
	head, rest, starred := strings.Cut(pattern, "*")
	if !starred {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	for {
		middle, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, rest)
		}
		i := strings.Index(name, middle)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(middle):], after
	}
}

// passing tells names that editors and package managers use on the way to the
// real one, and that nothing reads.
func passing(base string) bool {
	for _, suffix := range []string{"~", ".swp", ".swx", ".swo", ".swpx", ".dpkg-new", ".dpkg-tmp", ".dpkg-old", ".dpkg-dist", ".dpkg-bak",
		".rpmnew", ".rpmsave", ".rpmorig", ".ucf-new", ".ucf-old", ".ucf-dist"} {
		if strings.HasSuffix(base, suffix) {
			return true
		}
	}
	// Vim tries out folders by a file of the name 4913.
	return base == "4913" || strings.HasPrefix(base, ".#") || strings.HasPrefix(base, ".goutputstream-") || strings.Contains(base, ";")
}
