// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

// Lately remembers what was told within the last second or two, so that a
// process that does the same to the same file over and over is told once.
type Lately struct {
	now, before map[repeatKey]struct{}
	turned      uint64
}

const (
	repeatWithin = 1e9 // ns
	maxLately    = 8192
)

type repeatKey struct {
	pid         uint32
	start       uint64
	kind        ActionKind
	path, other string
	args        [6]uint64
}

func repeatOf(r *Action, t *Told) repeatKey {
	return repeatKey{r.PID, r.Start, r.Kind, t.Path, r.NameNew, r.Args}
}

// Again reports whether this was told a moment ago, and remembers it.
func (l *Lately) Again(r *Action, t *Told) bool {
	return l.again(repeatOf(r, t), r.Time)
}

func (l *Lately) again(k repeatKey, at uint64) bool {
	if age := at - min(at, l.turned); age >= repeatWithin || l.now == nil {
		l.before = l.now
		if age >= 2*repeatWithin {
			l.before = nil
		}
		l.now, l.turned = map[repeatKey]struct{}{}, at
	}
	_, recent := l.now[k]
	if _, ok := l.before[k]; recent || ok {
		return true
	}
	if len(l.now) < maxLately {
		l.now[k] = struct{}{}
	}
	return false
}
