// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// hostStops reports whether the host below root goes down: systemd shut the
// door for logons, a scheduled shutdown is due, or the runlevel is one of
// halt or reboot. Nobody but root can make it look so.
func hostStops(root string, now time.Time) bool {
	at := func(path string) string { return filepath.Join("/", root, path) }
	if _, err := os.Stat(at("run/nologin")); err == nil {
		return true
	}
	if due, ok := scheduledShutdown(readFirst(at("run/systemd/shutdown/scheduled"), 4096)); ok && !now.Before(due.Add(-time.Second)) {
		return true
	}
	level := runlevel(readFirst(at("run/utmp"), 256<<10))
	return level == '0' || level == '6'
}

// scheduledShutdown reads when a shutdown is due from systemd's file about it.
func scheduledShutdown(b []byte) (time.Time, bool) {
	for line := range bytes.Lines(b) {
		value, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("USEC="))
		if !ok {
			continue
		}
		us, err := strconv.ParseInt(string(value), 10, 64)
		return time.UnixMicro(us), err == nil && us > 0
	}
	return time.Time{}, false
}

// Records of utmp that tell the runlevel; both layouts begin alike.
const (
	utmpRunlevel = 1 // type of the record
	utmpRecord   = 384
	utmpRecord64 = 400 // where times have 64 bits
)

// runlevel returns the last runlevel that utmp names; zero: none.
func runlevel(b []byte) byte {
	size := utmpRecord
	if len(b)%utmpRecord != 0 {
		size = utmpRecord64
	}
	var level byte
	for ; len(b) >= size; b = b[size:] {
		if binary.LittleEndian.Uint16(b) == utmpRunlevel {
			level = b[4] // low byte of the process id
		}
	}
	return level
}
