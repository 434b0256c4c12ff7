// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/picket-edr/picket"
)

// What the sensor's processes may take together, whatever they do. The
// budget of the collector lies far below; this is for the day when it fails.
const (
	quotaPercent = 150 // of one processor
	memoryLimit  = 512 << 20
	groupPrefix  = "picket-sensor-"
	periodUs     = 100_000
)

// bound puts this process, and so all that it starts, into a control group
// with hard limits. Where systemd runs it owns the groups, and its unit says
// the same. It returns what is in force, for the log.
func bound(root string, pid int) (string, error) {
	if _, err := os.Stat("/run/systemd/system"); err == nil && root == cgroupRoot {
		return "", nil
	}
	sweepGroups(root)
	name := groupPrefix + strconv.Itoa(pid)
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return "version 2", confineV2(filepath.Join(root, name), pid)
	}
	done := []string{}
	var failures error
	for controller, limits := range map[string]map[string]string{
		"cpu":    {"cpu.cfs_period_us": strconv.Itoa(periodUs), "cpu.cfs_quota_us": strconv.Itoa(quotaPercent * periodUs / 100)},
		"memory": {"memory.limit_in_bytes": strconv.Itoa(memoryLimit)},
	} {
		if _, err := os.Stat(filepath.Join(root, controller)); err != nil {
			continue
		}
		if err := enterGroup(filepath.Join(root, controller, name), limits, pid); err != nil {
			failures = errors.Join(failures, err)
			continue
		}
		done = append(done, controller)
	}
	if len(done) == 0 {
		return "", errors.Join(failures, fmt.Errorf("no controller for processor or memory: %w", picket.Unavailable))
	}
	return "version 1: " + strings.Join(done, ", "), failures
}

const cgroupRoot = "/sys/fs/cgroup"

func confineV2(dir string, pid int) error {
	return enterGroup(dir, map[string]string{
		"cpu.max": fmt.Sprintf("%d %d", quotaPercent*periodUs/100, periodUs), "memory.max": strconv.Itoa(memoryLimit),
	}, pid)
}

// enterGroup makes a group, sets its limits and moves a process into it. A
// group whose limits cannot be set is removed again.
func enterGroup(dir string, limits map[string]string, pid int) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("control group: %w", err)
	}
	for file, value := range limits {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644); err != nil {
			return errors.Join(fmt.Errorf("control group: %w", err), os.Remove(dir))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return errors.Join(fmt.Errorf("control group: %w", err), os.Remove(dir))
	}
	return nil
}

// sweepGroups removes the groups of sensors that have ended. One that still
// holds a process cannot be removed.
func sweepGroups(root string) {
	for _, pattern := range []string{groupPrefix + "*", "*/" + groupPrefix + "*"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			continue
		}
		for _, d := range dirs {
			pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(d), groupPrefix))
			if err == nil && unix.Kill(pid, 0) != nil {
				_ = os.Remove(d)
			}
		}
	}
}
