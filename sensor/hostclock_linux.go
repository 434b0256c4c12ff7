// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"time"

	"golang.org/x/sys/unix"
)

// readClocks reads the clocks of the host.
func readClocks() (readings, bool) {
	var r readings
	for id, to := range map[int32]*time.Duration{unix.CLOCK_REALTIME: &r.wall, unix.CLOCK_BOOTTIME: &r.boot, unix.CLOCK_MONOTONIC: &r.awake} {
		var t unix.Timespec
		if unix.ClockGettime(id, &t) != nil {
			return readings{}, false
		}
		*to = time.Duration(t.Nano())
	}
	return r, true
}
