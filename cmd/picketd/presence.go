// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/wire/wirepb"
)

// maxSilence bounds durations that a sensor claims.
const maxSilence = 100 * 365 * 24 * time.Hour

// micros turns microseconds that a sensor claims into a duration.
func micros(us uint64) time.Duration {
	return min(time.Duration(min(us, math.MaxInt64/1000))*time.Microsecond, maxSilence)
}

// Arrived implements gateway.Presence.
func (r *registry) Arrived(ctx context.Context, id pki.Identity, h *wirepb.Hello) ([]event.Row, error) {
	a := state.Arrival{At: r.now(), Run: h.Instance, BootID: h.Facts.BootId, Unclean: strings.HasPrefix(h.PreviousStop, "unclean"), Suspended: micros(h.Clock.GetSuspendedUs())}
	s, err := r.db.ArriveDevice(ctx, id.Tenant, id.DeviceID, a)
	if err != nil {
		return nil, err
	}
	r.notify.device(id.Tenant, id.DeviceID)
	if s.Reason == picket.NeverConnected || !s.Notable() {
		return nil, nil
	}
	r.log.Info("device is back", "tenant", id.Tenant, "device", id.DeviceID, "silent_since", s.From, "reason", s.Reason)
	return []event.Row{silenceRow(s)}, nil
}

// silenceRow says on the timeline that nothing was heard of a device for a while.
func silenceRow(s picket.Silence) event.Row {
	return serverRow("DeviceSilent", event.TimeOf(s.To), event.TimeOf(s.To), map[string]any{"From": s.From.UTC(), "To": s.To.UTC(), "Reason": s.Reason})
}

// Left implements gateway.Presence.
func (r *registry) Left(ctx context.Context, id pki.Identity, instance uint64, why picket.Farewell) {
	if err := r.db.LeaveDevice(ctx, id.Tenant, id.DeviceID, instance, why, r.now()); err != nil {
		r.log.Error("departure of a device is not recorded", "tenant", id.Tenant, "device", id.DeviceID, "error", err)
		return
	}
	r.notify.device(id.Tenant, id.DeviceID)
}

// freshNotes leaves out notes that came before. Those without a number are of
// an older sensor and taken as they come.
func (r *registry) freshNotes(ctx context.Context, id pki.Identity, instance uint64, notes []*wirepb.Note) ([]*wirepb.Note, error) {
	var upTo uint64
	for _, n := range notes {
		upTo = max(upTo, n.Number)
	}
	if upTo == 0 {
		return notes, nil
	}
	before, err := r.db.TakeNotes(ctx, id.Tenant, id.DeviceID, instance, upTo)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(notes), func(n *wirepb.Note) bool { return n.Number != 0 && n.Number <= before }), nil
}

// noteRows puts notes on the timeline that were sent at a moment of the
// sensor's clock and came now.
func noteRows(notes []*wirepb.Note, sent int64, now time.Time) []event.Row {
	var rows []event.Row
	for i, n := range notes {
		at := event.TimeOf(now)
		if n.TimeUs > 0 && n.TimeUs <= sent {
			at = event.TimeOf(now.Add(-micros(uint64(sent - n.TimeUs))))
		}
		rows = append(rows, serverRow("SensorNote", at, event.TimeOf(now)+event.Time(i), map[string]any{"EventId": n.Id, "Level": n.Level, "Message": n.Text}))
	}
	return rows
}

// serverRow makes a row of the server's own about a device. Sensors number
// their rows from 1: negative numbers cannot be theirs. The moment at which
// the server learned of it, with a place among several, is told once.
func serverRow(action string, at, learned event.Time, more map[string]any) event.Row {
	detail, err := json.Marshal(more)
	if err != nil {
		detail = []byte("{}") // cannot be: numbers and texts
	}
	return &event.DeviceEvents{Timestamp: at, ActionType: action, ReportId: -int64(learned), AdditionalFields: string(detail)}
}
