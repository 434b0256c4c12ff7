// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

// Loss is events of a device that are known to be missing.
type Loss struct {
	From, To time.Time // To is exclusive where it is after From
	Class    string    // ring.file, spool.low, batches, ...; BlindClass: nobody watched
	Count    int64     // events; for class "batches", batches; 0: nobody knows
}

// BlindClass is the class of time in which a host ran and its sensor did not.
const BlindClass = "blind"

// Bounds of what is read. A loss is told some seconds after it happened, and
// later when the device was cut off; what is told even later shows where it
// is told.
const (
	lossRows    = 1000
	lossSeconds = 600 // of one row
	toldWithin  = time.Hour
)

// Losses reads what is known to be missing of a device between two moments, by
// class, and by second where the sensor counted so, in the order of time.
func Losses(ctx context.Context, ev Events, deviceID string, from, to time.Time) ([]Loss, error) {
	w := &where{}
	w.add(`"DeviceId" = ?`, deviceID)
	w.add(`"TableName" = 'DeviceEvents'`)
	w.add(`"ActionType" IN ('SensorLoss', 'SensorGap', 'DeviceSilent')`)
	told := to
	if !from.IsZero() {
		w.add(`"Timestamp" >= ?`, from.UTC())
	}
	if !to.IsZero() {
		told = to.Add(toldWithin)
		w.add(`"Timestamp" < ?`, told.UTC())
	}
	rows, err := ev.Query(Within(ctx, from, told), fmt.Sprintf(`SELECT "Timestamp", "ActionType", coalesce("AdditionalFields", '{}') FROM events WHERE %s ORDER BY "Timestamp" LIMIT %d`, w.sql(), lossRows), w.args...)
	if err != nil {
		return nil, fmt.Errorf("losses of %s: %w", deviceID, err)
	}
	defer rows.Close()
	var out []Loss
	for rows.Next() {
		var at time.Time
		var action, fields string
		if err := rows.Scan(&at, &action, &fields); err != nil {
			return nil, fmt.Errorf("losses of %s: %w", deviceID, err)
		}
		for _, l := range losses(at.UTC(), action, fields) {
			if l.touches(from, to) {
				out = append(out, l)
			}
		}
	}
	slices.SortStableFunc(out, byTime)
	return out, rows.Err()
}

func byTime(a, b Loss) int {
	return cmp.Or(a.From.Compare(b.From), strings.Compare(a.Class, b.Class), a.To.Compare(b.To))
}

// touches reports whether a loss may concern the time between two moments.
func (l *Loss) touches(from, to time.Time) bool {
	return (from.IsZero() || !l.To.Before(from)) && (to.IsZero() || l.From.Before(to))
}

// MergeLosses joins losses of one class that follow each other within a
// second, in the order of their ends.
func MergeLosses(all []Loss) []Loss {
	var out []Loss
	last := map[string]int{} // place in out by class
	for _, l := range all {
		if i, ok := last[l.Class]; ok && l.From.Sub(out[i].To) <= time.Second {
			if l.To.After(out[i].To) {
				out[i].To = l.To
			}
			out[i].Count += l.Count
			continue
		}
		last[l.Class] = len(out)
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b Loss) int { return cmp.Or(a.To.Compare(b.To), strings.Compare(a.Class, b.Class)) })
	return out
}

// lossReport is the part of a row's AdditionalFields that tells of losses.
// Fields are read without regard to case.
type lossReport struct {
	Lost    map[string]any
	Seconds []struct {
		T, D int64 // Unix time, and how many seconds from it; 0: one
		Lost map[string]any
	}
	From, To, Since moment
	Reason          picket.ConnectionState
}

// moment is a time in JSON; what is none is the zero time.
type moment struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(b []byte) error {
	text, err := strconv.Unquote(string(b))
	if err != nil {
		return nil // a number or an object is no time
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		m.Time = t.UTC()
	}
	return nil
}

// losses reads a row that was stored for a moment. Times within it are of the
// same clock as the To in it, which is that moment.
func losses(at time.Time, action, fields string) []Loss {
	var r lossReport
	if json.Unmarshal([]byte(fields), &r) != nil {
		return nil
	}
	shift := time.Duration(0)
	if !r.To.IsZero() {
		shift = at.Sub(r.To.Time)
	}
	from := at
	if since := cmp.Or(r.From.Time, r.Since.Time); !since.IsZero() && since.Add(shift).Before(at) {
		from = since.Add(shift)
	}
	if action == "DeviceSilent" {
		if r.Reason.Blind() {
			return []Loss{{From: from, To: at, Class: BlindClass}}
		}
		return nil
	}
	left := counts(r.Lost)
	var out []Loss
	for _, s := range r.Seconds[:min(len(r.Seconds), lossSeconds)] {
		if s.T < 0 || s.T > 1<<40 {
			continue
		}
		begin := time.Unix(s.T, 0).UTC().Add(shift)
		end := begin.Add(time.Duration(min(max(s.D, 1), lossSeconds)) * time.Second)
		for class, n := range counts(s.Lost) {
			if n = min(n, left[class]); n > 0 {
				left[class] -= n
				out = append(out, Loss{From: begin, To: end, Class: class, Count: n})
			}
		}
	}
	for class, n := range left {
		if n > 0 {
			out = append(out, Loss{From: from, To: at, Class: class, Count: n})
		}
	}
	return out
}

// counts reads numbers by class; what is none, or not positive, is left out.
func counts(m map[string]any) map[string]int64 {
	out := map[string]int64{}
	for class, v := range m {
		n := int64(0)
		switch v := v.(type) {
		case float64:
			n = int64(min(v, 1<<53))
		case string:
			n, _ = strconv.ParseInt(strings.TrimSpace(v), 10, 64) // what is no number counts nothing
		}
		if n > 0 {
			out[class] = n
		}
	}
	return out
}
