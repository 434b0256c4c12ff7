// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"time"

	"golang.org/x/sys/unix"
)

// readClocks reads the clocks of the host.
func readClocks() (readings, bool) {
	var r readings
	for _, c := range []struct {
		id int32
		to *time.Duration
	}{{unix.CLOCK_REALTIME, &r.wall}, {unix.CLOCK_MONOTONIC, &r.awake}, {unix.CLOCK_BOOTTIME, &r.boot}} {
		var t unix.Timespec
		if unix.ClockGettime(c.id, &t) != nil {
			return readings{}, false
		}
		*c.to = time.Duration(t.Nano())
	}
	return r, true
}
