// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"crypto/sha256"
	"strings"
)

const (
	maxStates = 32768
	maxText   = 8 << 20  // bytes of all items that are remembered
	maxOwn    = 64 << 10 // bytes of items of one file, but for those told in full
)

// state is what a file was when it was last looked at.
type state struct {
	info   Info
	digest [16]byte // of the content
	read   bool     // digest is set
	items  string   // joined by newlines
	known  bool     // items are set
	ghost  bool     // was made and gone before it could be read
}

// memory holds states within bounds. What does not fit is forgotten: the next
// change of it is told without saying what was there before.
type memory struct {
	states map[string]*state
	text   int
}

func newMemory() *memory { return &memory{states: map[string]*state{}} }

func (m *memory) get(key string) *state { return m.states[key] }

func (m *memory) drop(key string) {
	if s := m.states[key]; s != nil {
		m.text -= len(s.items)
		delete(m.states, key)
	}
}

func (m *memory) put(key string, s *state) {
	m.drop(key)
	if len(m.states) >= maxStates {
		return
	}
	if m.text+len(s.items) > maxText {
		s.items, s.known = "", false
	}
	m.text += len(s.items)
	m.states[key] = s
}

// below returns the keys of what was in a folder.
func (m *memory) below(key string) []string {
	var out []string
	for k := range m.states {
		if strings.HasPrefix(k, key) && len(k) > len(key) && k[len(key)] == '/' {
			out = append(out, k)
		}
	}
	return out
}

func digest(b []byte) (d [16]byte) {
	sum := sha256.Sum256(b)
	copy(d[:], sum[:])
	return d
}

func (s *state) list() []string {
	if s == nil || s.items == "" {
		return nil
	}
	return strings.Split(s.items, "\n")
}

// difference returns what is in now and not in before, and the other way
// round, each as often as it is more often there.
func difference(before, now []string) (added, removed []string) {
	count := make(map[string]int, len(before))
	for _, s := range before {
		count[s]++
	}
	for _, s := range now {
		if count[s] > 0 {
			count[s]--
			continue
		}
		added = append(added, s)
	}
	for _, s := range before {
		if count[s] > 0 {
			count[s]--
			removed = append(removed, s)
		}
	}
	return added, removed
}
