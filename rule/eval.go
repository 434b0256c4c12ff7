// SPDX-License-Identifier: Apache-2.0

package rule

// Event answers what a rule asks about one event.
type Event interface {
	// Value returns the value of a field of the log source or of a column.
	Value(field string) Value
	// Values returns all values in which words without a field are searched.
	Values() []Value
}

// Eval evaluates the rule on one event without any preparation. It is slow and
// plain: the reference for faster evaluators, and good enough for rule tests.
func (r *Rule) Eval(ev Event) bool {
	return r.Condition.Eval(func(l *Leaf) bool { return l.Eval(ev) })
}

// Eval evaluates one leaf on an event.
func (l *Leaf) Eval(ev Event) bool {
	if l.Field == "" {
		return l.evalAny(ev.Values())
	}
	v := ev.Value(l.Field)
	var other Value
	if l.Kind == Ref {
		other = ev.Value(l.RefField)
	}
	return l.Match(&v, &other)
}

// evalAny is the rule for conditions without a field: one value that fulfils
// the condition suffices, and none may when it is negated.
func (l *Leaf) evalAny(values []Value) bool {
	for i := range values {
		if v := &values[i]; v.Presence == Present && l.holds(v, nil) {
			return !l.Negate
		}
	}
	return l.Negate && len(values) > 0
}

// Sample is an event given as fields and values. It has every field: those
// without a value are absent from the event, never missing from the log
// source. Words without a field are searched in all of its values.
type Sample map[string]string

// Value returns the value of a field.
func (s Sample) Value(field string) Value { return TextValue(s[field]) }

// Values returns all values.
func (s Sample) Values() []Value {
	out := make([]Value, 0, len(s))
	for _, v := range s {
		out = append(out, TextValue(v))
	}
	return out
}
