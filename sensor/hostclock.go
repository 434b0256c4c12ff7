// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"sync"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/wire/wirepb"
)

// readings are the clocks of the host at one moment: the wall clock, which can
// be set, time since the boot, and that time without the host's sleep.
type readings struct{ wall, boot, awake time.Duration }

// Lines that differences between clocks must cross to be told. Adjustments by
// a time service are slower, and reading two clocks takes microseconds.
const (
	sleepLine = time.Second
	stepLine  = 2 * time.Second
)

// hostClock notices when the host slept and when its clock was set.
type hostClock struct {
	read func() (readings, bool) // false: this platform does not tell

	mu      sync.Mutex
	last    readings
	changed time.Duration // wall clock when it was last set; zero: not in this run
}

func newHostClock(read func() (readings, bool)) *hostClock {
	h := &hostClock{read: read}
	h.last, _ = read()
	return h
}

// look returns how long the host slept since the last look and by how much
// its clock was set, both zero when neither happened, and the readings of
// both looks.
func (h *hostClock) look() (slept, step time.Duration, before, now readings) {
	now, ok := h.read()
	h.mu.Lock()
	defer h.mu.Unlock()
	before = h.last
	if !ok {
		return 0, 0, before, before
	}
	h.last = now
	if d := (now.boot - now.awake) - (before.boot - before.awake); d >= sleepLine {
		slept = d
	}
	if d := (now.wall - now.boot) - (before.wall - before.boot); d > stepLine || d < -stepLine {
		step = d
		h.changed = now.wall
	}
	return slept, step, before, now
}

// facts is what the server is told.
func (h *hostClock) facts() *wirepb.HostClock {
	now, ok := h.read()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !ok {
		now = h.last
	}
	return &wirepb.HostClock{SuspendedUs: uint64(max(0, now.boot-now.awake).Microseconds()), ChangedUs: h.changed.Microseconds()}
}

// watchClocks makes rows of what the clocks of the host tell.
func (a *agent) watchClocks() {
	slept, step, before, now := a.clock.look()
	at := func(wall time.Duration) event.Time { return event.Time(wall.Microseconds()) }
	if slept > 0 {
		a.sayAt(at(before.wall), "DeviceSuspended", map[string]any{})
		a.sayAt(at(now.wall), "DeviceResumed", map[string]any{"SleptSeconds": slept.Seconds()})
	}
	if step != 0 {
		a.sayAt(at(now.wall), "ClockChanged", map[string]any{
			"StepSeconds": step.Seconds(), "OldOffset": (before.wall - before.boot).Microseconds(), "NewOffset": (now.wall - now.boot).Microseconds(),
			"OldTime": at(now.wall - step).String(), "NewTime": at(now.wall).String(),
		})
	}
}
