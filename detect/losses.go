// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"encoding/json"
	"strings"

	"github.com/picket-edr/picket/event"
)

// lossMinutes is how long before an event a loss still bears on it.
const lossMinutes = 5

// losses counts the events that a device lost, by minute, for the minutes that
// still matter.
type losses struct {
	minute [lossMinutes + 1]int64
	lost   [lossMinutes + 1]int64
}

const minuteMicros = 60 * 1_000_000

func (l *losses) add(at event.Time, n int64) {
	if n <= 0 {
		return
	}
	m := int64(at) / minuteMicros
	i := m % int64(len(l.minute))
	if i < 0 || l.minute[i] > m {
		return // before 1970, or older than what matters
	}
	if l.minute[i] != m {
		l.minute[i], l.lost[i] = m, 0
	}
	l.lost[i] = min(l.lost[i]+n, maxGap)
}

// around returns the events lost in the minutes before a moment.
func (l *losses) around(at event.Time) int64 {
	m := int64(at) / minuteMicros
	var n int64
	for i, x := range l.minute {
		if x <= m && x >= m-lossMinutes {
			n += l.lost[i]
		}
	}
	return n
}

// lossText bounds the report of losses that is read.
const lossText = 64 << 10

// lostIn returns how many events a report of losses of the sensor tells about.
// Losses in its own queue are told by the rows behind the gap already, and the
// loss of a detail (a hash, a cache entry) is not the loss of an event.
func lostIn(report string) int64 {
	if len(report) > lossText {
		return 0
	}
	var body struct{ Lost map[string]int64 }
	if json.Unmarshal([]byte(report), &body) != nil {
		return 0
	}
	var n int64
	for class, lost := range body.Lost {
		if class == "queue.full" || strings.HasPrefix(class, "hash.") || strings.HasPrefix(class, "cache.") || lost < 0 {
			continue
		}
		n = min(n+min(lost, maxGap), maxGap)
	}
	return n
}
