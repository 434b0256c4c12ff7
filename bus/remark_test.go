// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"testing"

	"github.com/picket-edr/picket/event"
)

// TestRemarksLeavePositionsAlone has the server say something about a device
// before, between and after its batches, and trims in between.
func TestRemarksLeavePositionsAlone(t *testing.T) {
	ctx := t.Context()
	b := open(t, Options{Dir: t.TempDir()})
	remark := func(known Last, text string) Last {
		t.Helper()
		next, err := b.Publish(ctx, &event.Envelope{Tenant: "a", DeviceID: "d", BootID: "b", Payload: []byte(text)}, known)
		if err != nil {
			t.Fatal(err)
		}
		if next.Position != known.Position {
			t.Errorf("%s: position %v, want %v", text, next.Position, known.Position)
		}
		return next
	}
	trim := func(upTo uint64) {
		t.Helper()
		if err := b.Trim(ctx, "a", upTo); err != nil {
			t.Fatal(err)
		}
	}
	first := remark(Last{}, "first")
	if again := remark(Last{}, "first"); again.revision != first.revision {
		t.Errorf("a remark that is repeated is stored at %d and %d", first.revision, again.revision)
	}
	if l, err := b.Last(ctx, "a", "d"); err != nil || l.BootID != "" {
		t.Errorf("after a remark alone: %+v, %v", l, err)
	}
	trim(1)
	if l, err := b.Last(ctx, "a", "d"); err != nil || l.BootID != "" {
		t.Errorf("after a trimmed remark: %+v, %v", l, err)
	}
	known, err := b.Publish(ctx, &event.Envelope{Tenant: "a", DeviceID: "d", BootID: "b", Seq: 1, Payload: []byte("batch")}, first)
	if err != nil {
		t.Fatal(err)
	}
	known = remark(known, "second")
	trim(3)
	if l, err := b.Last(ctx, "a", "d"); err != nil || l.Position != known.Position {
		t.Errorf("after all: %+v, %v; want %v", l, err, known.Position)
	}
}
