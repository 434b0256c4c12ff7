// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// Arrival is a device that connects.
type Arrival struct {
	At        time.Time // of the server
	Run       uint64    // random per run of the sensor
	BootID    string
	Unclean   bool          // the run before did not stop in order
	Suspended time.Duration // that the host has slept in this boot
}

// presence names the columns that arrivals and departures change.
var presence = []string{"live", "farewell", "left_at", "contact_run", "contact_boot", "suspended", "silence_from", "silence_to", "silence_reason"}

// ArriveDevice notes that a device is connected and returns what the silence
// before has been. Its reason is picket.NeverConnected for a device that was
// never heard of before.
func (db *DB) ArriveDevice(ctx context.Context, tenant, id string, a Arrival) (picket.Silence, error) {
	var s picket.Silence
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		return db.updateDevice(ctx, tx, tenant, id, func(r *deviceRow) error { s = r.arrive(a); return nil }, presence...)
	})
	if err != nil {
		return picket.Silence{}, fmt.Errorf("arrival of device %s: %w", id, err)
	}
	return s, nil
}

func (r *deviceRow) arrive(a Arrival) picket.Silence {
	from := max(r.LastHeartbeat, r.LastTelemetry, r.LeftAt)
	boot, run := oneLine(a.BootID, maxFact), strconv.FormatUint(a.Run, 10)
	back := &picket.Return{SameBoot: boot == r.ContactBoot, SameRun: run == r.ContactRun && boot == r.ContactBoot, Unclean: a.Unclean}
	if back.SameBoot {
		back.Slept = max(0, a.Suspended-time.Duration(r.Suspended)*time.Microsecond)
	}
	s := picket.Silence{From: at(from), To: a.At}
	if from > micros(a.At) {
		s.From = a.At
	}
	s.Reason = picket.Contact{Ever: r.ContactRun != "", Farewell: picket.Farewell(r.Farewell), Silent: s.To.Sub(s.From), Back: back}.State()
	r.Live, r.Farewell, r.LeftAt = true, "", 0
	r.ContactRun, r.ContactBoot, r.Suspended = run, boot, a.Suspended.Microseconds()
	if s.Reason != picket.NeverConnected && s.Notable() {
		r.SilenceFrom, r.SilenceTo, r.SilenceReason = micros(s.From), micros(s.To), string(s.Reason)
	}
	return s
}

// LeaveDevice notes that the connection of a run of the sensor ended, and why
// as far as it was told. It does nothing when another run is connected.
func (db *DB) LeaveDevice(ctx context.Context, tenant, id string, run uint64, why picket.Farewell, now time.Time) error {
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		return db.updateDevice(ctx, tx, tenant, id, func(r *deviceRow) error {
			if r.ContactRun == strconv.FormatUint(run, 10) {
				r.Live, r.Farewell, r.LeftAt = false, string(why), micros(now)
				if why == picket.FarewellNone {
					r.LeftAt = 0 // it was gone before it was noticed
				}
			}
			return nil
		}, presence...)
	})
	if err != nil {
		return fmt.Errorf("departure of device %s: %w", id, err)
	}
	return nil
}

// TakeNotes says that the notes of a run of the sensor up to a number are on
// the timeline, and returns which number was before: a sensor sends notes
// again when it cannot know that they arrived.
func (db *DB) TakeNotes(ctx context.Context, tenant, id string, run, upTo uint64) (before uint64, err error) {
	err = db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		return db.updateDevice(ctx, tx, tenant, id, func(r *deviceRow) error {
			if text := strconv.FormatUint(run, 10); r.NoteRun != text {
				r.NoteRun, r.NoteNumber = text, 0
			}
			before = uint64(max(0, r.NoteNumber))
			r.NoteNumber = max(r.NoteNumber, int64(min(upTo, math.MaxInt64)))
			return nil
		}, "note_run", "note_number")
	})
	if err != nil {
		return 0, fmt.Errorf("notes of device %s: %w", id, err)
	}
	return before, nil
}

// LoseContacts notes that no device of a tenant is connected, because the
// server was not there: those that were did not leave by themselves.
func (db *DB) LoseContacts(ctx context.Context, tenant string) error {
	_, err := db.w.NewUpdate().Table("devices").Set("live = ?", false).Set("farewell = ?", string(picket.FarewellServer)).
		Where("tenant = ?", tenant).Where("live").Exec(ctx)
	if err != nil {
		return fmt.Errorf("devices that were connected: %w", fault(err))
	}
	return nil
}
