// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// processUsage returns the processor time and the resident memory of this process.
func processUsage() (cpu time.Duration, rss uint64) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) == nil {
		cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := bytes.Fields(b); len(f) > 1 {
			pages, _ := strconv.ParseUint(string(f[1]), 10, 64) // the kernel writes digits
			rss = pages * uint64(os.Getpagesize())
		}
	}
	return cpu, rss
}
