// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"sync/atomic"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

// clock converts the kernel's boot clock, which never steps, to wall time.
type clock struct {
	offset atomic.Int64 // ns from boot clock to Unix time
}

// sync measures the offset again; the wall clock may have been set.
func (c *clock) sync() {
	var wall, boot, after unix.Timespec
	best := int64(1 << 62)
	for range 3 { // an interruption between the two readings would show
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil ||
			unix.ClockGettime(unix.CLOCK_REALTIME, &wall) != nil ||
			unix.ClockGettime(unix.CLOCK_BOOTTIME, &after) != nil {
			return
		}
		if d := after.Nano() - boot.Nano(); d < best {
			best = d
			c.offset.Store(wall.Nano() - boot.Nano() - d/2)
		}
	}
}

// time converts nanoseconds since boot; zero stays null.
func (c *clock) time(boot uint64) event.Time {
	if boot == 0 {
		return 0
	}
	return event.Time((int64(boot) + c.offset.Load()) / 1000)
}

// now returns nanoseconds since boot.
func (c *clock) now() uint64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return uint64(t.Nano())
}
