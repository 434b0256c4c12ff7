// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// mounts of a guest, in this order.
var mounts = []struct{ kind, at string }{
	{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"}, {"tmpfs", "/dev/shm"},
	{"tracefs", "/sys/kernel/tracing"}, {"securityfs", "/sys/kernel/security"}, {"cgroup2", "/sys/fs/cgroup"}, {"bpf", "/sys/fs/bpf"},
}

// First is the first process of a guest: it does its work, which writes lines
// to the second serial port, and ends the machine.
func First(ctx context.Context, work func(context.Context, io.Writer) error) {
	if err := first(ctx, work); err != nil {
		fmt.Println("guest:", err)
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // the emulator ends instead
}

// prepare mounts what a program finds on any host, and starts anew: packages
// that looked for it while they were initialised remember that it was missing.
func prepare() error {
	for _, m := range mounts {
		if err := errors.Join(os.MkdirAll(m.at, 0o755), unix.Mount(m.kind, m.at, m.kind, 0, "")); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return unix.Exec("/proc/self/exe", os.Args, os.Environ())
}

func first(ctx context.Context, work func(context.Context, io.Writer) error) error {
	if _, err := os.Stat("/proc/self"); err != nil {
		return prepare()
	}
	results, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer results.Close()
	return work(ctx, results)
}

// RunRounds runs all rounds and writes a line about each.
func RunRounds(ctx context.Context, results io.Writer) error {
	kernel := os.Getenv("PICKET_KERNEL") // from the command line of the kernel
	for i, r := range Rounds {
		report, err := r.Run(ctx, kernel, fmt.Sprintf("/tmp/%d", i))
		if err != nil {
			report.Error = err.Error()
		}
		if err := json.NewEncoder(results).Encode(report); err != nil {
			return err
		}
	}
	return nil
}

// raiseLoopback brings the one network device up that a guest has.
func raiseLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
}
