// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"runtime"
	"time"

	"golang.org/x/sys/windows"
)

// processUsage returns the processor time of this process and the memory that
// its runtime holds.
func processUsage() (cpu time.Duration, rss uint64) {
	var creation, exit, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &creation, &exit, &kernel, &user) == nil {
		ticks := func(f windows.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
		cpu = time.Duration((ticks(kernel) + ticks(user)) * 100)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return cpu, m.Sys
}
