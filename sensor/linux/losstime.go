// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import "github.com/picket-edr/picket/event"

// maxLossSeconds bounds the seconds that one row lists; what was lost in
// further ones is in its sums.
const maxLossSeconds = 64

// lossSecond is what was lost by class from one second on.
type lossSecond struct {
	T    int64             `json:"T"`           // Unix time
	D    int64             `json:"D,omitempty"` // seconds, when the reader did not look each second
	Lost map[string]uint64 `json:"Lost"`
}

// lossTimes finds out in which seconds events were lost, from looks at the
// counters. Its zero value begins with the first look.
type lossTimes struct {
	from    event.Time // of what the next row tells
	looked  event.Time
	seen    map[string]uint64
	seconds []lossSecond
}

const second = 1_000_000 // of event.Time

// look compares counters with those of the look before.
func (l *lossTimes) look(now event.Time, counters map[string]uint64) {
	before := l.looked
	if before == 0 || now < before { // the first look, or the clock was set back
		before = now
	}
	if l.from == 0 || l.from > now {
		l.from = before
	}
	l.looked = now
	for name, n := range counters {
		if d := since(n, l.seen[name]); d > 0 && isEventLoss(name) {
			l.add(before, now, name, d)
		}
	}
	l.seen = counters
}

func (l *lossTimes) add(from, to event.Time, name string, n uint64) {
	t, d := int64(from+(to-from)/2)/second, int64(0)
	if to-from > second {
		t = int64(from) / second
		d = int64(to)/second - t + 1
	}
	i := len(l.seconds) - 1
	if i < 0 || l.seconds[i].T != t || l.seconds[i].D != d {
		if i++; i == maxLossSeconds {
			return
		}
		l.seconds = append(l.seconds, lossSecond{t, d, map[string]uint64{}})
	}
	l.seconds[i].Lost[name] += n
}

// take returns what a row shall tell of the time until now, and begins anew.
func (l *lossTimes) take(now event.Time) (from event.Time, seconds []lossSecond) {
	from, seconds = l.from, l.seconds
	l.from, l.seconds = now, nil
	if from == 0 || from > now {
		from = now
	}
	return from, seconds
}
