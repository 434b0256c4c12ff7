// SPDX-License-Identifier: Apache-2.0

package detect

// automaton finds all of a set of literals in a text in one pass: the method
// of Aho and Corasick with every transition worked out in advance and bytes
// that no literal tells apart sharing a column of the table.
type automaton struct {
	class   [256]uint8
	classes int
	next    []uint32 // state*classes+class to state; the top bit marks states with output
	out     [][]int32
	literal []string
}

const hasOutput = 1 << 31

// newAutomaton builds the automaton for literals, which must not be empty and
// must be distinct. It reports them by their place in the slice.
func newAutomaton(literals []string) *automaton {
	a := &automaton{literal: literals}
	a.classify()
	a.grow()
	a.link()
	return a
}

func (a *automaton) classify() {
	a.classes = 1 // class 0: bytes in no literal
	for _, l := range a.literal {
		for i := range len(l) {
			if a.class[l[i]] == 0 {
				a.class[l[i]] = uint8(a.classes)
				a.classes++
			}
		}
	}
	if a.classes == 257 { // all bytes occur: none needs class 0
		for b := range a.class {
			a.class[b] = uint8(b)
		}
		a.classes = 256
	}
}

// grow builds the tree of the literals; 0 means no child.
func (a *automaton) grow() {
	a.state()
	for id, l := range a.literal {
		s := uint32(0)
		for i := range len(l) {
			at := int(s)*a.classes + int(a.class[l[i]])
			if a.next[at] == 0 {
				child := a.state()
				a.next[at] = child
			}
			s = a.next[at]
		}
		a.out[s] = append(a.out[s], int32(id))
	}
}

func (a *automaton) state() uint32 {
	a.next = append(a.next, make([]uint32, a.classes)...)
	a.out = append(a.out, nil)
	return uint32(len(a.out) - 1)
}

// link fills the missing transitions, breadth first: where a state has no
// child, it goes where the state of its longest proper suffix goes.
func (a *automaton) link() {
	suffix := make([]uint32, len(a.out))
	var queue []uint32
	for c := range a.classes {
		if s := a.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		a.out[s] = append(a.out[s], a.out[suffix[s]]...)
		for c := range a.classes {
			at := int(s)*a.classes + c
			fallback := a.next[int(suffix[s])*a.classes+c]
			if child := a.next[at]; child != 0 {
				suffix[child] = fallback
				queue = append(queue, child)
			} else {
				a.next[at] = fallback
			}
		}
	}
	for i, s := range a.next {
		if len(a.out[s]) > 0 {
			a.next[i] |= hasOutput
		}
	}
}

// scan appends the literals that occur in text to found, one entry per place.
func (a *automaton) scan(text []byte, found []int32) []int32 {
	s := uint32(0)
	for _, b := range text {
		s = a.next[int(s)*a.classes+int(a.class[b])]
		if s&hasOutput != 0 {
			s &^= hasOutput
			found = append(found, a.out[s]...)
		}
	}
	return found
}
