// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/wire/wirepb"
)

// remarks returns the rows of the server in envelopes, as action and detail.
func remarks(t *testing.T, envelopes []event.Envelope) []string {
	t.Helper()
	var got []string
	for _, e := range envelopes {
		b, err := event.Decode(e.Payload, event.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if !e.Remark() {
			got = append(got, fmt.Sprint("batch ", e.Seq))
			continue
		}
		for _, k := range b.Blocks {
			for i := range k.Rows {
				got = append(got, k.Text("ActionType", i)+" "+k.Text("AdditionalFields", i))
			}
		}
	}
	return got
}

func TestRemarksAreInOrderWithBatches(t *testing.T) {
	w := newWorld(t, nil)
	w.reg.remarks = true
	c := w.enrol("default")
	s := w.open(c, 1)
	note := func(text string) {
		t.Helper()
		h := &wirepb.Health{TimeUs: time.Now().UnixMicro(), Notes: []*wirepb.Note{{Id: 1, Level: "info", TimeUs: time.Now().UnixMicro(), Text: text}}}
		if err := s.Send(&wirepb.Up{Kind: &wirepb.Up_Health{Health: h}}); err != nil {
			t.Fatal(err)
		}
	}
	note("before any batch") // the server knows no position of the device then
	one := small(t, "boot", 1, event.Hash{})
	want(t, "first", send(t, s, "boot", 1, one), "ack 1")
	note("between")
	want(t, "second", send(t, s, "boot", 2, small(t, "boot", 2, event.HashOf(one))), "ack 2")
	note("last")
	w.stored("default", 5)
	s.Close()
	s = w.open(c, 1)
	if d := s.Welcome.Durable; len(d) != 1 || d[0].Seq != 2 || d[0].BootId != "boot" {
		t.Errorf("a remark moved the position of the device: %v", d)
	}
	got := remarks(t, w.stored("default", 6))
	if exp := []string{"SensorNote before any batch", "batch 1", "SensorNote between", "batch 2", "SensorNote last", "DeviceSilent "}; !slices.Equal(got, exp) {
		t.Errorf("on the bus: %q, want %q", got, exp)
	}
}

func TestDeparturesAreTold(t *testing.T) {
	w := newWorld(t, nil)
	c := w.enrol("default")
	for i, say := range []string{"", "shutdown", "reasons of its own"} {
		s := w.open(c, uint64(i+1))
		if say != "" {
			if err := s.Send(&wirepb.Up{Kind: &wirepb.Up_Farewell{Farewell: &wirepb.Farewell{Reason: say}}}); err != nil {
				t.Fatal(err)
			}
			want(t, "batch", send(t, s, "boot", uint64(i+1), small(t, "boot", uint64(i+1), event.Hash{byte(i)})), "")
		}
		s.Close()
	}
	w.open(c, 4) // waits for the end of the session before
	w.reg.mu.Lock()
	defer w.reg.mu.Unlock()
	if exp := []picket.Farewell{"", "shutdown", "stop"}; !slices.Equal(w.reg.left, exp) {
		t.Errorf("devices left with %q, want %q", w.reg.left, exp)
	}
}

func TestStopOfTheServerIsNoDeparture(t *testing.T) {
	w := newWorld(t, nil)
	w.open(w.enrol("default"), 1)
	w.g.cancel()
	w.g.server.Close()
	deadline := time.After(10 * time.Second)
	for {
		w.reg.mu.Lock()
		left := slices.Clone(w.reg.left)
		w.reg.mu.Unlock()
		if len(left) > 0 {
			if left[0] != picket.FarewellServer {
				t.Errorf("the device left with %q", left[0])
			}
			return
		}
		select {
		case <-deadline:
			t.Fatal("nobody was told")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAPeerThatIsGoneIsNoInternalError(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	g := &Gateway{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	if c := connect.CodeOf(g.code(fmt.Errorf("read: %w", context.Canceled))); c != connect.CodeCanceled || log.Len() > 0 {
		t.Errorf("code %v, logged %q", c, log.String())
	}
	if c := connect.CodeOf(g.code(errors.New("disk on fire"))); c != connect.CodeInternal || !strings.Contains(log.String(), "disk on fire") {
		t.Errorf("code %v, logged %q", c, log.String())
	}
}
