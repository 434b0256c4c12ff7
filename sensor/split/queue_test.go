// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
)

func newTestQueue(t testing.TB) *queue {
	t.Helper()
	f, err := newPageFile()
	if err != nil {
		t.Fatal(err)
	}
	p, err := mapPage(f, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return newQueue(p)
}

func row(action string) event.Row {
	return &event.DeviceFileEvents{ActionType: action, FolderPath: strings.Repeat("x", 900)}
}

// TestQueueRefusesByClass: what matters most finds room longest.
func TestQueueRefusesByClass(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	fill := func(r event.Row) (n int) {
		for q.add(r) {
			n++
		}
		return n
	}
	low, normal, high := fill(row("FileModified")), fill(row("FileCreated")), fill(&event.DeviceLogonEvents{ActionType: "LogonSuccess"})
	if low != queueRows/2 || normal != queueRows/4 || high != queueRows/4 {
		t.Errorf("took %d, %d and %d rows", low, normal, high)
	}
	if a, r := q.page.accepted.Load(), q.page.refused.Load(); a != queueRows || r != 3 {
		t.Errorf("the page says %d accepted, %d refused", a, r)
	}
}

// TestQueueKeepsAccount follows frames through the hands of two agents.
func TestQueueKeepsAccount(t *testing.T) {
	t.Parallel()
	q := newTestQueue(t)
	for range 8000 {
		if !q.add(row("FileCreated")) {
			t.Fatal("refused")
		}
	}
	var sent []frame
	bytes := 0
	for f, ok := q.pass(); ok; f, ok = q.pass() {
		sent = append(sent, f)
		bytes += f.size
	}
	if bytes > window || bytes < window-2*frameBytes {
		t.Errorf("%d bytes were passed without an answer", bytes)
	}
	q.take(sent[3].number)
	q.keep(sent[1].number)
	q.keep(sent[9].number) // not taken: cannot be kept
	if f, ok := q.pass(); !ok || f.first != sent[len(sent)-1].first+sent[len(sent)-1].rows {
		t.Errorf("after two are kept comes %+v, %v", f.rowsHead, ok)
	}
	if q.take(sent[3].number); q.empty() {
		t.Error("empty")
	}
	lost, first := q.relink()
	if want := uint64(0); lost != want {
		t.Errorf("%d rows lost: all that was taken was kept", lost)
	}
	f, ok := q.pass()
	if !ok || f.number != sent[4].number || f.first != first || f.data == nil {
		t.Errorf("the next agent gets %+v first, want %+v", f.rowsHead, sent[4].rowsHead)
	}
	q.take(f.number)
	if lost, _ := q.relink(); lost != f.rows || q.losses()["agent.killed"] != f.rows {
		t.Errorf("%d rows lost, %v, want %d", lost, q.losses(), f.rows)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(rowsHead{1, 2, 3}.append(nil))
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, rest, err := parseRowsHead(b); err == nil && h.rows > uint64(len(rest)) {
			t.Errorf("%d rows in %d bytes", h.rows, len(rest))
		}
		_, _ = number(b)
	})
}
