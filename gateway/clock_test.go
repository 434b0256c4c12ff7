// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/wire/wirepb"
)

// TestMovedClock restarts a sensor with its clock moved a day back, then a
// week ahead: batches go on by number, nothing is a gap or a repeat, and the
// server's clock decides about the times of events.
func TestMovedClock(t *testing.T) {
	w := newWorld(t, nil)
	c := w.enrol("default")
	var prev event.Hash
	for i, shift := range []time.Duration{0, -24 * time.Hour, 7 * 24 * time.Hour} {
		s, err := c.Open(context.Background(), &wirepb.Hello{Instance: uint64(i + 1), TimeUs: time.Now().Add(shift).UnixMicro()})
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(i + 1)
		p := small(t, "boot", seq, prev)
		want(t, "batch with the clock moved by "+shift.String(), send(t, s, "boot", seq, p), "ack ")
		prev = event.HashOf(p)
		s.Close()
	}
	for i, e := range w.stored("default", 3) {
		if e.Gap != 0 || e.Seq != uint64(i+1) {
			t.Errorf("batch %d: number %d, gap %d", i+1, e.Seq, e.Gap)
		}
		sensor := e.Received - event.Time(e.ClockOffset)
		if got := e.Correct(sensor).Time(); got.Sub(e.Received.Time()).Abs() > time.Second {
			t.Errorf("batch %d: an event of now is taken for one of %v", i+1, got)
		}
	}
	if len(w.reg.clashes) != 0 {
		t.Error("a restart is no clash")
	}
}
