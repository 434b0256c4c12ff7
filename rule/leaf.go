// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"bytes"
	"net/netip"
	"regexp"
	"strconv"
	"time"
)

// Kind is how a leaf looks at a value.
type Kind uint8

// Kinds of leaves.
const (
	Text    Kind = iota // any of Patterns
	Regexp              // any of Regexps, anywhere in the value
	CIDR                // an address in any of Prefixes
	Compare             // Compare with Number, after Part is taken of a time
	Null                // the event has no value for the field
	Exists              // the field has a value (Want) or has none
	Ref                 // relation of Shape to the field RefField
)

// Comparison is a numeric relation.
type Comparison uint8

// Comparisons.
const (
	Equal Comparison = iota
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
)

// TimePart is the part of a time that a comparison looks at.
type TimePart uint8

// Parts of a time, in UTC. Weeks are those of ISO 8601.
const (
	Whole TimePart = iota
	Minute
	Hour
	Day
	Week
	Month
	Year
)

// Relation is how a Ref leaf compares two fields.
type Relation uint8

// Relations between the values of two fields.
const (
	SameAs Relation = iota
	StartsWith
	EndsWith
	Contains
)

// Leaf is one condition on one field.
type Leaf struct {
	Field  string // field of the log source; empty: any of its fields
	Kind   Kind
	Cased  bool // letter case matters
	Negate bool // the condition must not hold; a field that the log source lacks never fulfils it

	Patterns []Pattern
	Regexps  []*regexp.Regexp
	Prefixes []netip.Prefix
	Number   float64
	Compare  Comparison
	Part     TimePart
	Want     bool // of Exists
	RefField string
	Relation Relation

	set map[string]struct{} // of Patterns when they are many and all exact
}

// manyPatterns is where a hash look-up becomes cheaper than comparing.
const manyPatterns = 8

// Prepare readies the leaf for matching after its fields are set.
func (l *Leaf) Prepare() {
	if l.Kind != Text || len(l.Patterns) < manyPatterns {
		return
	}
	set := make(map[string]struct{}, len(l.Patterns))
	for i := range l.Patterns {
		if l.Patterns[i].shape != exact {
			return
		}
		set[string(l.Patterns[i].text)] = struct{}{}
	}
	l.set = set
}

// Presence tells whether a field has a value.
type Presence uint8

// Presences.
const (
	Missing Presence = iota // the log source does not have the field
	Absent                  // the event has no value for it
	Present
)

// Value is what an event holds for one field. A text is given both as it is
// and folded; a number has its decimal form in Folded and no Raw.
type Value struct {
	Presence Presence
	Raw      string
	Folded   []byte
	Int      int64
	IsInt    bool
	IsTime   bool // Int is microseconds since the epoch
}

// TextValue returns the value of a field that holds text; "" is no value.
func TextValue(s string) Value {
	if s == "" {
		return Value{Presence: Absent}
	}
	return Value{Presence: Present, Raw: s, Folded: Fold(nil, s)}
}

// Match reports whether the leaf holds for a value of its field; other is the
// value of RefField and only read by Ref leaves.
func (l *Leaf) Match(v, other *Value) bool {
	if v.Presence == Missing || (l.Kind == Ref && other.Presence == Missing) {
		return false
	}
	return l.holds(v, other) != l.Negate
}

func (l *Leaf) holds(v, other *Value) bool {
	switch l.Kind {
	case Null:
		return v.Presence == Absent
	case Exists:
		return (v.Presence == Present) == l.Want
	case Text:
		return l.text(v)
	case Ref:
		return l.ref(v, other)
	}
	if v.Presence != Present {
		return false
	}
	switch l.Kind {
	case Regexp:
		return l.regexp(v)
	case CIDR:
		return l.cidr(v)
	}
	return l.compare(v)
}

func (l *Leaf) text(v *Value) bool {
	if v.Presence != Present {
		// The event model keeps no empty texts: they are the absence of a value.
		for i := range l.Patterns {
			if p := &l.Patterns[i]; p.shape == exact && len(p.text) == 0 {
				return true
			}
		}
		return false
	}
	if l.Cased && v.Raw != "" {
		return l.any([]byte(v.Raw))
	}
	return l.any(v.Folded)
}

func (l *Leaf) any(value []byte) bool {
	if l.set != nil {
		_, ok := l.set[string(value)]
		return ok
	}
	for i := range l.Patterns {
		if l.Patterns[i].Match(value) {
			return true
		}
	}
	return false
}

func (l *Leaf) regexp(v *Value) bool {
	for _, re := range l.Regexps {
		if v.Raw != "" && re.MatchString(v.Raw) || v.Raw == "" && re.Match(v.Folded) {
			return true
		}
	}
	return false
}

// maxAddress is longer than any address in text form, with a zone.
const maxAddress = 64

func (l *Leaf) cidr(v *Value) bool {
	if len(v.Raw) > maxAddress {
		return false
	}
	addr, err := netip.ParseAddr(v.Raw)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range l.Prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func (l *Leaf) compare(v *Value) bool {
	n, ok := v.number(l.Part)
	if !ok {
		return false
	}
	switch l.Compare {
	case Less:
		return n < l.Number
	case LessOrEqual:
		return n <= l.Number
	case Greater:
		return n > l.Number
	case GreaterOrEqual:
		return n >= l.Number
	}
	return n == l.Number
}

// maxNumber is longer than any number that a field means as one.
const maxNumber = 64

// number returns the value as a number, after taking a part of a time.
func (v *Value) number(part TimePart) (float64, bool) {
	if part != Whole {
		return v.part(part)
	}
	if v.IsInt {
		return float64(v.Int), true
	}
	if len(v.Raw) > maxNumber {
		return 0, false
	}
	if n, err := strconv.ParseInt(v.Raw, 0, 64); err == nil {
		return float64(n), true
	}
	n, err := strconv.ParseFloat(v.Raw, 64)
	return n, err == nil
}

func (v *Value) part(part TimePart) (float64, bool) {
	var t time.Time
	switch {
	case v.IsTime:
		t = time.UnixMicro(v.Int).UTC()
	case len(v.Raw) > maxNumber:
		return 0, false
	default:
		var err error
		if t, err = time.Parse(time.RFC3339Nano, v.Raw); err != nil {
			return 0, false
		}
		t = t.UTC()
	}
	n := 0
	switch part {
	case Minute:
		n = t.Minute()
	case Hour:
		n = t.Hour()
	case Day:
		n = t.Day()
	case Week:
		_, n = t.ISOWeek()
	case Month:
		n = int(t.Month())
	case Year:
		n = t.Year()
	}
	return float64(n), true
}

func (l *Leaf) ref(v, other *Value) bool {
	if v.Presence != Present || other.Presence != Present {
		return false
	}
	a, b := v.Folded, other.Folded
	if l.Cased && v.Raw != "" && other.Raw != "" {
		a, b = []byte(v.Raw), []byte(other.Raw)
	}
	switch l.Relation {
	case StartsWith:
		return bytes.HasPrefix(a, b)
	case EndsWith:
		return bytes.HasSuffix(a, b)
	case Contains:
		return bytes.Contains(a, b)
	}
	return bytes.Equal(a, b)
}
