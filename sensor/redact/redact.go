// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Marker stands where a secret was.
const Marker = "[redacted]"

const (
	maxHits   = 64 // hidden values in one text; what follows the last is hidden too
	maxPasses = 4
	hashed    = "[redacted#"
	digits    = 8
	longest   = len(hashed) + digits + 1 // of the markers

	// MaxGrowth is how many bytes a text can grow by.
	MaxGrowth = maxPasses * maxHits * longest
)

// Field is a kind of text.
type Field string

// Fields that a policy can switch redaction off for.
const (
	CommandLine Field = "commandLine"
	Environment Field = "environment"
	Script      Field = "script"
)

// Fields lists all.
var Fields = []Field{CommandLine, Environment, Script}

// Redactor hides secrets. It never changes, so any goroutine may use it; nil
// hides nothing.
type Redactor struct {
	off   map[Field]bool
	key   []byte // nil: the plain marker
	rules []compiled
	finder
}

// New checks a policy and compiles it. The key serves to correlate hidden
// values; it is not used unless the policy asks for that.
func New(p Policy, key []byte) (*Redactor, error) {
	r := &Redactor{off: map[Field]bool{}}
	var err error
	if r.rules, err = p.compile(); err != nil {
		return nil, err
	}
	for _, f := range p.Off {
		r.off[f] = true
	}
	if p.Correlate {
		r.key = slices.Clone(key)
	}
	r.finder = newFinder(r.rules)
	return r, nil
}

// Text returns a text without its secrets, and the names of the rules that
// found some, in alphabetical order.
func (r *Redactor) Text(f Field, s string) (string, []string) {
	if r == nil || r.off[f] || !r.hits(s) {
		return s, nil
	}
	var names []string
	for range maxPasses {
		spans := r.find(s, f == Script)
		if len(spans) == 0 {
			slices.Sort(names)
			return s, slices.Compact(names)
		}
		for _, sp := range spans {
			names = append(names, sp.rule)
		}
		s = r.hide(s, spans)
	}
	if len(r.find(s, f == Script)) > 0 {
		s = Marker // hidden values make up new ones: somebody plays with the rules
	}
	slices.Sort(names)
	return s, slices.Compact(names)
}

// span is a part of a text that is to be hidden.
type span struct {
	from, to int
	rule     string
}

// settle sorts spans, joins those that overlap, and leaves out what is hidden
// already.
func settle(s string, spans []span) []span {
	kept := spans[:0]
	for _, sp := range spans {
		if sp.from, sp.to = widen(s, sp.from, sp.to); sp.from < sp.to && !onlyMarkers(s[sp.from:sp.to]) {
			kept = append(kept, sp)
		}
	}
	slices.SortStableFunc(kept, func(a, b span) int { return a.from - b.from })
	out := kept[:0]
	for _, sp := range kept {
		if n := len(out); n > 0 && sp.from < out[n-1].to {
			out[n-1].to = max(out[n-1].to, sp.to)
			continue
		}
		if len(out) == maxHits {
			out[maxHits-1].to = len(s)
			break
		}
		out = append(out, sp)
	}
	return out
}

func (r *Redactor) hide(s string, spans []span) string {
	var b strings.Builder
	b.Grow(len(s) + len(spans)*longest)
	last := 0
	for _, sp := range spans {
		b.WriteString(s[last:sp.from])
		b.WriteString(r.marker(s[sp.from:sp.to]))
		last = sp.to
	}
	b.WriteString(s[last:])
	return b.String()
}

func (r *Redactor) marker(secret string) string {
	if r.key == nil {
		return Marker
	}
	m := hmac.New(sha256.New, r.key)
	m.Write([]byte(secret))
	return hashed + hex.EncodeToString(m.Sum(nil)[:digits/2]) + "]"
}

// markerAt returns the length of the marker that s begins with, or 0.
func markerAt(s string) int {
	if strings.HasPrefix(s, Marker) {
		return len(Marker)
	}
	if len(s) < longest || !strings.HasPrefix(s, hashed) || s[longest-1] != ']' {
		return 0
	}
	for i := len(hashed); i < longest-1; i++ {
		if !isDigit(s[i]) && (s[i] < 'a' || s[i] > 'f') {
			return 0
		}
	}
	return longest
}

// widen moves the ends of a span out of markers that they cut.
func widen(s string, from, to int) (int, int) {
	for _, end := range []*int{&from, &to} {
		for i := max(0, *end-longest+1); i < *end; i++ {
			if n := markerAt(s[i:]); n > 0 && i+n > *end {
				if end == &from {
					from = i
				} else {
					to = i + n
				}
				break
			}
		}
	}
	return from, to
}

func onlyMarkers(s string) bool {
	for s != "" {
		n := markerAt(s)
		if n == 0 {
			return false
		}
		s = s[n:]
	}
	return true
}
