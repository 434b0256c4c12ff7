// SPDX-License-Identifier: Apache-2.0

//go:build linux

package procfs

import (
	"encoding/binary"
	"testing"

	"github.com/picket-edr/picket/sensor/linux/record"
)

func connectorMessage(what, cpu, seq uint32, data ...uint32) []byte {
	b := make([]byte, eventHeader+24)
	binary.NativeEndian.PutUint32(b[24:], seq)
	binary.NativeEndian.PutUint32(b[36:], what)
	binary.NativeEndian.PutUint32(b[40:], cpu)
	binary.NativeEndian.PutUint64(b[44:], 5e9)
	for i, d := range data {
		binary.NativeEndian.PutUint32(b[eventHeader+4*i:], d)
	}
	return b
}

func newTestConnector(lost *uint64) *Connector {
	return &Connector{proc: &FS{Root: "/nonexistent"}, next: map[uint32]uint32{}, starts: map[uint32]uint64{}, lost: func(n uint64) { *lost += n }}
}

func TestConnectorMessages(t *testing.T) {
	t.Parallel()
	var lost uint64
	c := newTestConnector(&lost)
	var got []any
	emit := func(r any) bool { got = append(got, r); return true }
	c.message(connectorMessage(0, 0, 0), emit)                        // the answer to the subscription
	c.message(connectorMessage(forked, 0, 1, 10, 10, 11, 11), emit)   // a process
	c.message(connectorMessage(forked, 0, 2, 10, 10, 12, 11), emit)   // a thread
	c.message(connectorMessage(executed, 0, 3, 11, 11), emit)         // ended before it was looked at
	c.message(connectorMessage(traced, 1, 70, 11, 11, 13, 13), emit)  // by 13
	c.message(connectorMessage(exited, 0, 7, 11, 11, 9<<8, 17), emit) // three messages are missing before
	c.message(connectorMessage(exited, 0, 8, 12, 11, 0, 0), emit)     // a thread
	c.message([]byte("short"), emit)
	if lost != 3 {
		t.Errorf("%d messages are missing, want 3", lost)
	}
	if len(got) != 4 {
		t.Fatalf("%d records: %+v", len(got), got)
	}
	fork, exec, trace, exit := got[0].(*record.Fork), got[1].(*record.Exec), got[2].(*record.Action), got[3].(*record.Exit)
	if fork.ChildPID != 11 || fork.ChildStart == 0 || fork.PID != 10 {
		t.Errorf("fork %+v", fork)
	}
	if exec.PID != 11 || exec.Start != fork.ChildStart || exec.Flags&record.FlagVanished == 0 {
		t.Errorf("exec %+v", exec)
	}
	if trace.Kind != record.Ptrace || trace.PID != 13 || trace.TargetPID != 11 || trace.TargetStart != fork.ChildStart {
		t.Errorf("trace %+v", trace)
	}
	if exit.Code != 9<<8 || exit.Start != fork.ChildStart {
		t.Errorf("exit %+v", exit)
	}
}

func FuzzConnectorMessage(f *testing.F) {
	f.Add(connectorMessage(forked, 0, 1, 10, 10, 11, 11))
	f.Add(connectorMessage(exited, 3, 9, 1, 1, 1))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var lost uint64
		newTestConnector(&lost).message(b, func(any) bool { return true })
	})
}
