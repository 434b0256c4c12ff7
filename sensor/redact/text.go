// SPDX-License-Identifier: Apache-2.0

package redact

import "strings"

// text is what is being looked at.
type text struct {
	s      string
	script bool           // words end where those of a shell do
	quotes []byte         // for each byte the quote that is open before it, 0 for none; made when first asked for
	walked map[string]int // up to where a rule has looked in vain
}

func newText(s string, script bool) *text {
	return &text{s: s, script: script, walked: map[string]int{}}
}

// quoted tells which quote is open before position i. In the command line of a
// process only the double ones that were put around arguments count.
func (t *text) quoted(i int) byte {
	if t.quotes == nil {
		t.quotes = make([]byte, len(t.s)+2)
		open, at := byte(0), 0
		for at < len(t.s) {
			switch c := t.s[at]; {
			case c == '\\' && open != '\'':
				at++
				t.quotes[at] = open
			case c == open:
				open = 0
			case open == 0 && (c == '"' || c == '\'' && t.script):
				open = c
			}
			at++
			t.quotes[at] = open
		}
	}
	return t.quotes[i]
}

// value returns the word that begins at i, without its quotes.
func (t *text) value(i int, stop string) (from, to int, ok bool) {
	s, open := t.s, t.quoted(i)
	switch {
	case i >= len(s) || refers(s[i:]):
		return 0, 0, false
	case strings.HasPrefix(s[i:], `\"`):
		from = i + 2
		to = from + before(s[from:], `\"`)
	case s[i] == open:
		return 0, 0, false // what surrounds the name ends here
	case s[i] == '"' || s[i] == '\'':
		from = i + 1
		to = from + quotedLength(s[from:], s[i])
	default:
		from, to = i, i
		inner := t.script || open != 0
		for to < len(s) && !ends(s[to], inner) && strings.IndexByte(stop, s[to]) < 0 && !(s[to] == '\\' && to+1 < len(s) && s[to+1] == '"') {
			to++
		}
	}
	return from, to, from < to && !refers(s[from:to])
}

func before(s, sep string) int {
	if i := strings.Index(s, sep); i >= 0 {
		return i
	}
	return len(s)
}

// quotedLength is how far it is to the quote that closes.
func quotedLength(s string, quote byte) int {
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && quote == '"' {
			i++
		} else if s[i] == quote {
			return i
		}
	}
	return len(s)
}

// ends reports whether a byte ends a word. Within a script operators do too.
func ends(c byte, script bool) bool {
	return isSpace(c) || c == '"' || c == '\'' || script && strings.IndexByte(";|&<>()`", c) >= 0
}

// refers tells a variable or a command from a value.
func refers(s string) bool {
	if s[0] == '`' {
		return true
	}
	return len(s) > 1 && s[0] == '$' && (isLetter(s[1]) || s[1] == '_' || s[1] == '{' || s[1] == '(')
}

// spaces returns the first position from i on that is no space.
func (t *text) spaces(i int) int {
	for i < len(t.s) && isSpace(t.s[i]) {
		i++
	}
	return i
}

// apart reports whether position i is not within a word.
func (t *text) apart(i int) bool { return i == 0 || !isWord(t.s[i-1]) }

// run returns how many bytes from i on a class has, at most limit.
func (t *text) run(i, limit int, in func(byte) bool) int {
	n := 0
	for n < limit && i+n < len(t.s) && in(t.s[i+n]) {
		n++
	}
	return n
}

func isSpace(c byte) bool  { return c == ' ' || c >= '\t' && c <= '\r' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isUpper(c byte) bool  { return c >= 'A' && c <= 'Z' }
func isLower(c byte) bool  { return c >= 'a' && c <= 'z' }
func isLetter(c byte) bool { return isUpper(c) || isLower(c) }
func isWord(c byte) bool   { return isLetter(c) || isDigit(c) || c == '_' }
func isToken(c byte) bool  { return isWord(c) || c == '-' }
func isNamed(c byte) bool  { return isWord(c) || c == '-' || c == '.' }
func isBase64(c byte) bool {
	return isToken(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '='
}
func isKeyID(c byte) bool { return isUpper(c) || isDigit(c) }
