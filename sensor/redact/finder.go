// SPDX-License-Identifier: Apache-2.0

package redact

// finder looks for all literals at once: an automaton after Aho and Corasick
// over bytes in lower case.
type finder struct {
	class    [256]uint16
	classes  int
	next     []uint16 // state and class to state
	found    [][]int  // literals that end in a state
	literals []literal
}

// literal is a text that may stand near a secret.
type literal struct {
	text string // lower case
	rule string
	find func(*text, int, int) (from, to int, ok bool) // nil: of a policy's rule
	own  int                                           // index of that rule
}

func newFinder(rules []compiled) finder {
	f := finder{literals: builtin()}
	for i, r := range rules {
		for _, t := range r.literals {
			f.literals = append(f.literals, literal{text: t, own: i})
		}
	}
	f.build()
	return f
}

func (f *finder) build() {
	f.classes = 1 // 0: bytes in no literal
	for _, l := range f.literals {
		for i := 0; i < len(l.text); i++ {
			if c := l.text[i]; f.class[c] == 0 {
				f.class[c] = uint16(f.classes)
				f.classes++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		f.class[c] = f.class[c+'a'-'A']
	}
	f.grow()
	for i, l := range f.literals {
		state := 0
		for j := 0; j < len(l.text); j++ {
			at := state*f.classes + int(f.class[l.text[j]])
			if f.next[at] == 0 {
				f.next[at] = uint16(f.grow())
			}
			state = int(f.next[at])
		}
		f.found[state] = append(f.found[state], i)
	}
	f.link()
}

// grow adds a state and returns its number. A policy has at most 64 rules with
// 32 literals out of 512 bytes each: states stay far below 65,536.
func (f *finder) grow() int {
	f.next = append(f.next, make([]uint16, f.classes)...)
	f.found = append(f.found, nil)
	return len(f.found) - 1
}

// link lets each state go on where its longest proper suffix would.
func (f *finder) link() {
	fail := make([]int, len(f.found))
	var queue []int
	for c := range f.classes {
		if s := int(f.next[c]); s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		f.found[state] = append(f.found[state], f.found[fail[state]]...)
		for c := range f.classes {
			at, suffix := state*f.classes+c, int(f.next[fail[state]*f.classes+c])
			if child := int(f.next[at]); child != 0 {
				fail[child] = suffix
				queue = append(queue, child)
			} else {
				f.next[at] = uint16(suffix)
			}
		}
	}
}

// hits reports whether any literal is in s.
func (f *finder) hits(s string) bool {
	state := 0
	for i := 0; i < len(s); i++ {
		state = int(f.next[state*f.classes+int(f.class[s[i]])])
		if f.found[state] != nil {
			return true
		}
	}
	return false
}

// find returns what is to be hidden in s.
func (r *Redactor) find(s string, script bool) []span {
	t := newText(s, script)
	var spans []span
	run := make([]bool, len(r.rules))
	state, last := 0, span{}
	for i := 0; i < len(s); i++ {
		state = int(r.next[state*r.classes+int(r.class[s[i]])])
		for _, n := range r.found[state] {
			l := &r.literals[n]
			if l.find == nil {
				run[l.own] = true
				continue
			}
			start := i + 1 - len(l.text)
			if start >= last.from && start < last.to {
				continue // within what is hidden
			}
			if from, to, ok := l.find(t, start, i+1); ok && from < to {
				last = span{from, to, l.rule}
				spans = append(spans, last)
			}
		}
	}
	for i, on := range run {
		if on {
			spans = r.rules[i].find(s, spans)
		}
	}
	return settle(s, spans)
}
