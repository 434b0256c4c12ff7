// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

var processKinds = []Kind{
	{
		Name: "program started", Hook: "process", Table: "DeviceProcessEvents", Action: "ProcessCreated",
		Does: "starts its own image again with two arguments",
		Do:   exits(3),
		Match: where(func(a *Act, r *event.DeviceProcessEvents) bool {
			return r.ProcessCommandLine == "/proc/self/exe "+marker+" exit 3" && r.ProcessCurrentDirectory == a.Dir && r.FileName != "" &&
				strings.HasPrefix(r.FolderPath, "/") && !r.IsFileless && r.ProcessUniqueId != "" && r.ProcessCreationTime > 0
		}),
		Rungs: []string{"tracepoint", "tracepoint-old"},
	},
	{
		Name: "program started with long arguments", Hook: "process", Table: "DeviceProcessEvents", Action: "ProcessCreated",
		Does: "starts its own image with an argument of 20,000 bytes",
		Do:   func(a *Act) error { return ended(a.self("exit", "3", longArgument).Run(), 3) },
		Match: where(func(_ *Act, r *event.DeviceProcessEvents) bool {
			return strings.HasSuffix(r.ProcessCommandLine, " "+longArgument)
		}),
		Rungs: []string{"tracepoint", "tracepoint-old"},
	},
	{
		Name: "program started from memory", Hook: "process", Table: "DeviceProcessEvents", Action: "ProcessCreated",
		Does:  "copies its own image to a memory file and starts that",
		Do:    memoryProgram,
		Match: where(func(_ *Act, r *event.DeviceProcessEvents) bool { return r.IsFileless }),
		Rungs: []string{"tracepoint", "tracepoint-old"},
	},
	{
		Name: "process ended", Hook: "process", Table: "DeviceProcessEvents", Action: "ProcessExited",
		Does: "starts a process that ends with code 3",
		Do:   exits(3),
		Match: where(func(_ *Act, r *event.DeviceProcessEvents) bool {
			return r.ProcessExitCode.Valid && r.ProcessExitCode.Value == 3 && r.ProcessLifetimeMs.Valid && r.ProcessCpuTimeMs.Valid
		}),
		Rungs: []string{"tracepoint", "tracepoint-old"},
	},
	{
		Name: "process killed", Hook: "process", Table: "DeviceProcessEvents", Action: "ProcessExited",
		Does:  "kills a process that it started",
		Do:    kills,
		Match: where(func(_ *Act, r *event.DeviceProcessEvents) bool { return r.ProcessExitSignal == int64(unix.SIGKILL) }),
		Rungs: []string{"tracepoint", "tracepoint-old"},
	},
}

var longArgument = strings.Repeat("picket", 3333)

// exits starts a process that ends with a code.
func exits(code int) func(*Act) error {
	return func(a *Act) error { return ended(a.self("exit", fmt.Sprint(code)).Run(), code) }
}

// ended reports whether a process ended with a code.
func ended(err error, code int) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == code {
		return nil
	}
	return fmt.Errorf("ended otherwise than with code %d: %w", code, err)
}

func kills(a *Act) error {
	cmd := a.self("wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	return ended(cmd.Wait(), -1)
}

func memoryProgram(a *Act) error {
	fd, err := unix.MemfdCreate("hidden", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	hidden := os.NewFile(uintptr(fd), "hidden")
	defer hidden.Close()
	own, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer own.Close()
	if _, err := io.Copy(hidden, own); err != nil {
		return err
	}
	cmd := exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), marker, "exit", "4")
	return ended(cmd.Run(), 4)
}
