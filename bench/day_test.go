// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"io"
	"net"
	"testing"
)

func TestDayIsTheSumOfItsParts(t *testing.T) {
	t.Parallel()
	minute := HabitCost{Events: map[string]uint64{"A": 20}, Wire: 2000, Idle: minutesADay, Busy: minutesADay}
	minute.scale(2)
	d := Day{Habits: []HabitCost{minute, {Events: map[string]uint64{"A": 3, "B": 4}, Wire: 50, Idle: 2, Busy: 10}}}
	d.sum()
	if d.IdleWire != 1000*1440+100 || d.BusyWire != 1000*1440+500 || d.IdleEvents != 14400+14 || d.BusyEvents != 14400+70 {
		t.Errorf("%+v", d)
	}
}

func TestEveryHabitWorks(t *testing.T) {
	t.Parallel()
	for _, h := range Habits {
		if missingOf(h.Need) != "" || h.Name == "page in a browser" { // slow to start, and tried by the measurement
			continue
		}
		if err := h.do(t.Context(), t.TempDir()); err != nil {
			t.Errorf("%s: %v", h.Name, err)
		}
	}
	if missingOf([]string{"sh", "no-such-program"}) != "no-such-program" {
		t.Error("a program that is missing is not noticed")
	}
}

func TestRelayCountsBothWays(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		c, err := server.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err == nil {
			c.Write([]byte("an answer"))
		}
	}()
	r, err := listenRelay()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	c, err := net.Dial("tcp4", HostOptions{through: r}.gateway(server.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil || string(b) != "an answer" || r.bytes.Load() != 14 {
		t.Errorf("%q, %d bytes, %v", b, r.bytes.Load(), err)
	}
}
