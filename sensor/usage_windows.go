// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/windows"
)

// OwnProcess describes this process; memory is what its runtime holds.
func OwnProcess(role string) Process {
	p := Process{Role: role, PID: os.Getpid(), UID: -1}
	var creation, exit, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &creation, &exit, &kernel, &user) == nil {
		ticks := func(f windows.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
		p.CPU = time.Duration((ticks(kernel) + ticks(user)) * 100)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p.RSSBytes = m.Sys
	return p
}
