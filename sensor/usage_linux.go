// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of processor time in /proc, which promises 100 a second.
const clockTick = 10 * time.Millisecond

// OwnProcess describes this process.
func OwnProcess(role string) Process { return ReadProcess(os.Getpid(), role) }

// ReadProcess describes a process of the sensor. What cannot be read is zero.
func ReadProcess(pid int, role string) Process {
	p := Process{Role: role, PID: pid}
	dir := fmt.Sprintf("/proc/%d/", pid)
	if b, err := os.ReadFile(dir + "status"); err == nil {
		p.parseStatus(b)
	}
	if b, err := os.ReadFile(dir + "smaps_rollup"); err == nil {
		p.parseShare(b)
	}
	if b, err := os.ReadFile(dir + "stat"); err == nil {
		p.parseStat(b)
	}
	return p
}

// parseStatus reads the text of /proc/PID/status.
func (p *Process) parseStatus(b []byte) {
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		key, value, _ := strings.Cut(s.Text(), ":")
		f := strings.Fields(value)
		if len(f) == 0 {
			continue
		}
		switch key {
		case "Uid":
			if len(f) > 1 {
				p.UID, _ = strconv.Atoi(f[1]) // the kernel writes digits
			}
		case "CapEff":
			if strings.Trim(f[0], "0") != "" {
				p.Capabilities = f[0]
			}
		case "NoNewPrivs":
			p.NoNewPrivileges = f[0] == "1"
		case "Seccomp":
			p.Seccomp = f[0] == "2"
		case "VmRSS":
			kib, _ := strconv.ParseUint(f[0], 10, 64)
			p.RSSBytes = kib << 10
		}
	}
}

// parseShare takes from /proc/PID/smaps_rollup the memory that a process takes
// alone and its part of what it shares. The processes of the sensor run one
// program, and map its ring buffers twice: the resident size counts both again.
func (p *Process) parseShare(b []byte) {
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			if f := strings.Fields(rest); len(f) == 2 {
				if kib, err := strconv.ParseUint(f[0], 10, 64); err == nil {
					p.RSSBytes = kib << 10
				}
			}
			return
		}
	}
}

// parseStat reads the processor time from the text of /proc/PID/stat. The name
// in parentheses may hold anything.
func (p *Process) parseStat(b []byte) {
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	p.CPU = time.Duration(user+system) * clockTick
}
