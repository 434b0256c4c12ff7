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

	span numbers // batches that are missing for it, where known
}

// numbers are those of batches of a boot.
type numbers struct {
	Boot  string `json:"BootId"`
	First int64  `json:"FirstSequence"`
	Last  int64  `json:"LastSequence"`
}

// BlindClass is the class of time in which a host ran and its sensor did not.
const BlindClass = "blind"

// Bounds of what is read. A loss is told some seconds after it happened, and
// later when the device was cut off and its spool full; what is told even
// later shows where it is told.
const (
	lossRows    = 1000
	lossSeconds = 600 // of one row
	lossSpans   = 32  // of one answer
	toldWithin  = 24 * time.Hour
)

// Losses reads what is known to be missing of a device between two moments, by
// class, and by second where the sensor counted so, in the order of time.
func Losses(ctx context.Context, ev Events, deviceID string, from, to time.Time) ([]Loss, error) {
	w := &where{}
	w.add(`"DeviceId" = ?`, deviceID)
	w.add(`"TableName" = 'DeviceEvents'`)
	w.add(`"ActionType" IN ('SensorLoss', 'SensorGap', 'DeviceSilent')`)
	until := to
	if !from.IsZero() {
		w.add(`"Timestamp" >= ?`, from.UTC())
	}
	if !to.IsZero() {
		until = to.Add(toldWithin)
		w.add(`"Timestamp" < ?`, until.UTC())
	}
	all, err := told(ctx, ev, w, Between{from, until})
	if err == nil {
		err = locate(ctx, ev, deviceID, all)
	}
	if err != nil {
		return nil, fmt.Errorf("losses of %s: %w", deviceID, err)
	}
	out := slices.DeleteFunc(all, func(l Loss) bool { return !l.touches(from, to) })
	slices.SortStableFunc(out, byTime)
	return out, nil
}

// told reads the losses that rows tell of.
func told(ctx context.Context, ev Events, w *where, span Between) ([]Loss, error) {
	rows, err := ev.Query(Within(ctx, span.From, span.To), fmt.Sprintf(`SELECT "Timestamp", "ActionType", coalesce("AdditionalFields", '{}') FROM events WHERE %s ORDER BY "Timestamp" LIMIT %d`, w.sql(), lossRows), w.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Loss
	for rows.Next() {
		var at time.Time
		var action, fields string
		if err := rows.Scan(&at, &action, &fields); err != nil {
			return nil, err
		}
		all = append(all, losses(at.UTC(), action, fields)...)
	}
	return all, rows.Err()
}

// neighbours is how many batches beside lost ones are looked at to learn when
// those were made.
const neighbours = 64

// locateDays is how long before its account a loss may have happened.
const locateDays = 30

// locate finds when lost batches were made of which only the numbers are
// known: between the last row before and the first row after them.
func locate(ctx context.Context, ev Events, deviceID string, all []Loss) error {
	spans := 0
	for i := range all {
		s := all[i].span
		all[i].span = numbers{}
		if s.First <= 0 || s.Last < s.First || s.Last > 1<<48 {
			continue
		}
		if spans++; spans > lossSpans {
			break
		}
		rows, err := ev.Query(Within(ctx, all[i].To.AddDate(0, 0, -locateDays), all[i].To), `SELECT coalesce(max("Timestamp") FILTER ("BatchSequence" < ?), TIMESTAMP '1970-01-01'), coalesce(min("Timestamp") FILTER ("BatchSequence" > ?), TIMESTAMP '1970-01-01')
			FROM events WHERE "DeviceId" = ? AND "BootId" = ? AND ("BatchSequence" BETWEEN ? AND ? OR "BatchSequence" BETWEEN ? AND ?)`,
			s.First, s.Last, deviceID, s.Boot, max(s.First-neighbours, 1), s.First-1, s.Last+1, s.Last+neighbours)
		if err != nil {
			return err
		}
		err = all[i].between(rows)
		rows.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// between takes over the times around lost batches. What is not known, or
// makes no sense since a clock was set, leaves the loss where it was told.
func (l *Loss) between(rows Rows) error {
	var after, before time.Time // at the epoch: not known
	if !rows.Next() {
		return rows.Err()
	}
	if err := rows.Scan(&after, &before); err != nil {
		return err
	}
	if before.Unix() > 0 && before.Before(l.To) {
		l.To = before.UTC()
		l.From = l.To
	}
	if after.Unix() > 0 && !after.After(l.To) {
		l.From = after.UTC()
	}
	return rows.Err()
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
	Spans []struct {
		Class string
		numbers
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
			l := Loss{From: from, To: at, Class: class, Count: n}
			for _, s := range r.Spans {
				if s.Class == class {
					l.span = s.numbers
				}
			}
			out = append(out, l)
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
