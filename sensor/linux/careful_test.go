// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe that nobody writes to stands for memory that never arrives.
func TestCarefulReadsDoNotHang(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	lost := newTally()
	c := newCareful(lost)
	c.wait = time.Millisecond
	for range carefulStuck + 5 {
		if b := c.read(pipe, 10); b != nil {
			t.Errorf("read %q", b)
		}
	}
	if n := lost.copy()["proc.stuck"]; n != carefulStuck+5 || len(c.slots) != carefulStuck {
		t.Errorf("counted %d, %d hang", n, len(c.slots))
	}
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // lets them go
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	for range carefulStuck {
		c.slots <- struct{}{}
	}
	for range carefulStuck {
		<-c.slots
	}
	c.wait = time.Minute
	if b := c.read("/proc/self/cmdline", 10); len(b) == 0 {
		t.Error("nothing was read of a process that answers")
	}
}
