// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestConfineWritesLimits(t *testing.T) {
	t.Parallel()
	v2 := t.TempDir()
	if err := os.WriteFile(filepath.Join(v2, "cgroup.controllers"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if how, err := bound(v2, 77); err != nil || how != "version 2" {
		t.Fatalf("%q %v", how, err)
	}
	for file, want := range map[string]string{"cpu.max": "150000 100000", "memory.max": "536870912", "cgroup.procs": "77"} {
		if b, err := os.ReadFile(filepath.Join(v2, "picket-sensor-77", file)); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", file, b, err)
		}
	}
	v1 := t.TempDir()
	for _, c := range []string{"cpu", "memory"} {
		if err := os.Mkdir(filepath.Join(v1, c), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if how, err := bound(v1, 78); err != nil || !strings.Contains(how, "cpu") || !strings.Contains(how, "memory") {
		t.Fatalf("%q %v", how, err)
	}
	if b, err := os.ReadFile(filepath.Join(v1, "cpu/picket-sensor-78/cpu.cfs_quota_us")); err != nil || string(b) != "150000" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := bound(t.TempDir(), 79); err == nil {
		t.Error("a host without controllers was taken for confined")
	}
}

// The groups of sensors that have ended go, those of others stay.
func TestOldGroupsAreRemoved(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := exec.Command("/bin/true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	gone, here := filepath.Join(root, groupPrefix+strconv.Itoa(c.Process.Pid)), filepath.Join(root, groupPrefix+strconv.Itoa(os.Getpid()))
	other := filepath.Join(root, groupPrefix+"x")
	for _, d := range []string{gone, here, other} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sweepGroups(root)
	if _, err := os.Stat(gone); err == nil {
		t.Error("the group of a sensor that has ended stays")
	}
	for _, d := range []string{here, other} {
		if _, err := os.Stat(d); err != nil {
			t.Error(err)
		}
	}
}

// A real process is confined by the real kernel, where groups may be made.
func TestConfineARealProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: control groups cannot be made")
	}
	c := exec.Command("/bin/sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		c.Process.Kill()
		c.Wait()
		sweepGroups(cgroupRoot)
	}()
	how, err := bound(cgroupRoot, c.Process.Pid)
	if how == "" {
		t.Skipf("no groups here: %v", err)
	}
	b, rerr := os.ReadFile("/proc/" + strconv.Itoa(c.Process.Pid) + "/cgroup")
	if rerr != nil || !strings.Contains(string(b), "/"+groupPrefix+strconv.Itoa(c.Process.Pid)) {
		t.Errorf("%s (%v): in %s", how, err, b)
	}
}
