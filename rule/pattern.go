// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Pattern is a text with wildcards, prepared for matching whole values.
type Pattern struct {
	pieces []piece // literals and gaps in order; adjacent pieces never have the same kind
	shape  shape
	text   []byte // the literal of every shape but glob and any
}

// piece is either a literal or a gap of at least min runes.
type piece struct {
	literal []byte
	gap     bool
	min     int
	open    bool // the gap may be longer than min
}

type shape uint8

const (
	exact shape = iota
	prefix
	suffix
	contains
	glob
	anything // matches every value, the empty one too
)

// PatternBuilder gathers the pieces of a pattern.
type PatternBuilder struct {
	pieces []piece
}

// Literal appends text that must be there.
func (b *PatternBuilder) Literal(s string) {
	if s == "" {
		return
	}
	if n := len(b.pieces); n > 0 && !b.pieces[n-1].gap {
		b.pieces[n-1].literal = append(b.pieces[n-1].literal, s...)
		return
	}
	b.pieces = append(b.pieces, piece{literal: []byte(s)})
}

func (b *PatternBuilder) gap() *piece {
	if n := len(b.pieces); n > 0 && b.pieces[n-1].gap {
		return &b.pieces[n-1]
	}
	b.pieces = append(b.pieces, piece{gap: true})
	return &b.pieces[len(b.pieces)-1]
}

// One appends a wildcard for exactly one rune.
func (b *PatternBuilder) One() { b.gap().min++ }

// Any appends a wildcard for any number of runes.
func (b *PatternBuilder) Any() { b.gap().open = true }

// Pattern returns the pattern. A pattern that ignores case matches folded
// values; see Fold.
func (b *PatternBuilder) Pattern(cased bool) Pattern {
	p := Pattern{pieces: b.pieces}
	if !cased {
		for i := range p.pieces {
			if !p.pieces[i].gap {
				p.pieces[i].literal = Fold(nil, string(p.pieces[i].literal))
			}
		}
	}
	free := func(i int) bool { return p.pieces[i].gap && p.pieces[i].open && p.pieces[i].min == 0 }
	n := len(p.pieces)
	switch {
	case n == 0:
		p.shape, p.text = exact, []byte{}
	case n == 1 && free(0):
		p.shape = anything
	case n == 1 && !p.pieces[0].gap:
		p.shape, p.text = exact, p.pieces[0].literal
	case n == 2 && free(0):
		p.shape, p.text = suffix, p.pieces[1].literal
	case n == 2 && free(1):
		p.shape, p.text = prefix, p.pieces[0].literal
	case n == 3 && free(0) && free(2):
		p.shape, p.text = contains, p.pieces[1].literal
	default:
		p.shape = glob
	}
	return p
}

// Match reports whether the pattern matches the whole value, which must be
// folded unless the pattern heeds case.
func (p *Pattern) Match(value []byte) bool {
	switch p.shape {
	case exact:
		return bytes.Equal(value, p.text)
	case prefix:
		return bytes.HasPrefix(value, p.text)
	case suffix:
		return bytes.HasSuffix(value, p.text)
	case contains:
		return bytes.Contains(value, p.text)
	case anything:
		return true
	}
	return p.glob(value)
}

// glob matches literals leftmost first. A literal after an open gap may be
// taken at its first place, because whatever follows only gets more room;
// one after a closed gap has one place relative to the literal before it, so
// a miss there moves the last open gap on.
func (p *Pattern) glob(value []byte) bool {
	pos, i := 0, 0
	backPos, backPiece := -1, 0 // where to go on when the pieces since the last open gap fail
	for {
		if i == len(p.pieces) {
			if pos == len(value) {
				return true
			}
		} else if next, ok := p.step(i, value, pos); ok {
			if p.pieces[i].gap && p.pieces[i].open {
				backPos, backPiece = next, i+1
				if backPiece == len(p.pieces) {
					return true
				}
			}
			pos, i = next, i+1
			continue
		}
		if backPos < 0 || backPos >= len(value) {
			return false
		}
		backPos += runeLen(value[backPos:])
		if lit := &p.pieces[backPiece]; !lit.gap {
			at := bytes.Index(value[backPos:], lit.literal)
			if at < 0 {
				return false
			}
			backPos += at
		}
		pos, i = backPos, backPiece
	}
}

// step matches piece i at pos and returns where the next piece starts.
func (p *Pattern) step(i int, value []byte, pos int) (int, bool) {
	pc := &p.pieces[i]
	if !pc.gap {
		if !bytes.HasPrefix(value[pos:], pc.literal) {
			return 0, false
		}
		return pos + len(pc.literal), true
	}
	for range pc.min {
		if pos >= len(value) {
			return 0, false
		}
		pos += runeLen(value[pos:])
	}
	return pos, true
}

func runeLen(b []byte) int {
	if b[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRune(b)
	return n
}

// Literal returns the longest text that every value which the pattern matches
// holds, nil when there is none. It is folded unless the pattern heeds case.
func (p *Pattern) Literal() []byte {
	var best []byte
	for i := range p.pieces {
		if len(p.pieces[i].literal) > len(best) {
			best = p.pieces[i].literal
		}
	}
	return best
}

// String writes the pattern as Sigma does, wildcards in the text escaped.
func (p *Pattern) String() string {
	var b strings.Builder
	for i := range p.pieces {
		pc := &p.pieces[i]
		if !pc.gap {
			for _, c := range pc.literal {
				if c == '*' || c == '?' || c == '\\' {
					b.WriteByte('\\')
				}
				b.WriteByte(c)
			}
			continue
		}
		b.WriteString(strings.Repeat("?", pc.min))
		if pc.open {
			b.WriteByte('*')
		}
	}
	return b.String()
}
