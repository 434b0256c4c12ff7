// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket/sensor"
)

// TestOrderlyStop: everything that was made arrives, once, and nothing is lost.
func TestOrderlyStop(t *testing.T) {
	h := newHarness(t, script{Rows: 5000})
	h.start()
	h.said("notify READY=1")
	pid := h.process(RoleCollector)
	h.said(fmt.Sprint("made ", pid))
	h.stop()
	if n := h.server.of(pid); n != 5000 {
		t.Errorf("%d of 5000 rows arrived", n)
	}
	if len(h.server.loss) > 0 {
		t.Errorf("lost: %v", h.server.loss)
	}
}

// TestKilledCollector: what a killed collector had accepted arrives or is
// counted, exactly, and another one takes its place.
func TestKilledCollector(t *testing.T) {
	const rows = 40000
	h := newHarness(t, script{Rows: rows, Pause: 2 * time.Millisecond})
	h.start()
	h.until("the collector", func(s *sensor.Status) bool { return s.Rung == "script" })
	collector := h.process(RoleCollector)
	agent := h.kill(RoleAgent, unix.SIGSTOP)
	h.said(fmt.Sprint("made ", collector))
	h.signal(collector, unix.SIGKILL)
	h.poll("the end of the collector", func() bool { return unix.Kill(collector, 0) != nil })
	h.signal(agent, unix.SIGCONT)
	second := 0
	s := h.until("another collector", func(s *sensor.Status) bool {
		second = pidOf(s, RoleCollector)
		return second != 0 && second != collector && s.Rung == "script"
	})
	lost := int(s.Lost["collector.killed"])
	h.poll("the rows of both", func() bool { return h.server.of(collector)+lost >= rows && h.server.of(second) == rows })
	if n := h.server.of(collector); n+lost != rows {
		t.Errorf("%d rows arrived, %d are lost, %d were made", n, lost, rows)
	}
	if pidOf(s, RoleAgent) != agent {
		t.Error("the agent did not survive its collector")
	}
	h.poll("a note", func() bool {
		h.server.mu.Lock()
		defer h.server.mu.Unlock()
		return slices.ContainsFunc(h.server.notes, func(n string) bool { return strings.HasPrefix(n, "43 the collector stopped") })
	})
	h.stop()
	if told := int(h.server.loss["collector.killed"]); told != lost {
		t.Errorf("the server was told of %d lost rows, %d are", told, lost)
	}
	if second := h.server.of(second); second != rows {
		t.Errorf("%d rows of the second collector", second)
	}
}

// TestKilledAgents: a collector outlives its agents. What they had taken and
// not kept is counted, all else arrives once.
func TestKilledAgents(t *testing.T) {
	const rows, kills = 60000, 5
	h := newHarness(t, script{Rows: rows, Pause: 2 * time.Millisecond})
	h.start()
	h.said("notify READY=1")
	collector := h.process(RoleCollector)
	for i := range kills {
		h.poll("more rows", func() bool { return h.server.of(collector) > (i+1)*1000 })
		agent := h.kill(RoleAgent, unix.SIGKILL)
		h.until("another agent", func(s *sensor.Status) bool {
			return pidOf(s, RoleAgent) != agent && pidOf(s, RoleCollector) == collector
		})
	}
	h.said(fmt.Sprint("made ", collector))
	h.until("the rest", func(s *sensor.Status) bool {
		return h.server.of(collector)+h.total("agent.killed") >= rows
	})
	h.stop()
	n, lost := h.server.of(collector), h.total("agent.killed")
	if n+lost < rows || n < rows/2 {
		t.Errorf("%d rows arrived, %d are told lost, %d were made", n, lost, rows)
	}
	t.Logf("%d of %d rows arrived, at most %d lost with %d agents", n, rows, lost, kills)
	unclean := 0
	for _, note := range h.server.notes {
		if strings.HasPrefix(note, "200 ") {
			unclean++
		}
	}
	if unclean == 0 {
		t.Error("no agent says that the one before was killed")
	}
}

func (h *harness) total(class string) int {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	return int(h.server.total[class])
}

// TestKilledSupervisor: without it the others end in order, and what they had
// is in the spool.
func TestKilledSupervisor(t *testing.T) {
	h := newHarness(t, script{Rows: 3000})
	h.start()
	h.said("notify READY=1")
	pid := h.process(RoleCollector)
	h.said(fmt.Sprint("made ", pid))
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	h.ended()
	h.script.Rows = 0
	h.start() // sends the rest
	h.said("notify READY=1")
	h.poll("all rows", func() bool { return h.server.of(pid) == 3000 })
	h.stop()
}

// TestFailures: an agent that cannot start ends the sensor and says why; a
// collector that cannot does not.
func TestFailures(t *testing.T) {
	h := newHarness(t, script{Fail: "no hook works here"})
	h.start()
	h.until("the failure", func(s *sensor.Status) bool {
		return s.Rung == "off" && len(s.Hooks) > 0 && strings.Contains(s.Hooks[0].Error, "no hook works here")
	})
	second := *h
	second.start()
	if line := second.said("failed:"); !strings.Contains(line, "in use by another sensor") {
		t.Errorf("a second sensor on the folder: %s", line)
	}
	h.stop()
	if err := os.Remove(h.dir + "/identity"); err != nil {
		t.Fatal(err)
	}
	h.start()
	if line := h.said("failed:"); !strings.Contains(line, "not enrolled") {
		t.Errorf("a sensor that is not enrolled: %s", line)
	}
}
