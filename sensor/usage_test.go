// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sensor

import (
	"os"
	"testing"
	"time"
)

func TestOwnProcess(t *testing.T) {
	t.Parallel()
	p := OwnProcess("sensor")
	if p.PID != os.Getpid() || p.UID != os.Geteuid() || p.RSSBytes < 1<<20 || p.Role != "sensor" {
		t.Errorf("%+v", p)
	}
	equal(t, Process{Role: "x", PID: 1 << 30}, ReadProcess(1<<30, "x"))
}

func TestProcessText(t *testing.T) {
	t.Parallel()
	var p Process
	p.parseStatus([]byte("Name:\tx\nUid:\t1\t60900\t1\t1\nVmRSS:\t  1024 kB\nCapEff:\t000001c000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"))
	p.parseShare([]byte("55ab-7ff [rollup]\nRss: 9000 kB\nPss:  2048 kB\nPss_Dirty: 1 kB\n"))
	p.parseStat([]byte("7 (a) 1 2) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 1\n"))
	equal(t, Process{UID: 60900, RSSBytes: 2 << 20, Capabilities: "000001c000000000", NoNewPrivileges: true, Seccomp: true, CPU: 2 * time.Second}, p)
}

func FuzzProcessText(f *testing.F) {
	f.Add([]byte("Uid:\t1\t2\n"))
	f.Add([]byte("7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var p Process
		p.parseStatus(b)
		p.parseShare(b)
		p.parseStat(b)
	})
}
