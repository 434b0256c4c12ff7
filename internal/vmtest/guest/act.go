// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Act is one doing of a kind: a process of its own in an empty folder, so that
// what it does is known by its process id.
type Act struct {
	Dir string
	PID int
}

// Path names a file in the folder of the act.
func (a *Act) Path(name string) string { return filepath.Join(a.Dir, name) }

// self starts this program again, as another process of the act.
func (a *Act) self(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{marker}, args...)...)
	cmd.Dir = a.Dir
	return cmd
}

// Module is the file of a guest that holds a kernel module without
// dependencies, one that makes a network device.
const Module = "/lib/picket/dummy.ko"

const (
	marker  = "picket-act" // first argument of a process that acts
	actWait = 30 * time.Second
)

// Child does what the arguments say, if they are those of a process that this
// package started, and then ends. Every main of this package calls it first.
func Child() {
	if len(os.Args) < 3 || os.Args[1] != marker {
		return
	}
	runtime.LockOSThread() // still the main one, which gives the process its name
	if err := child(os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(125)
	}
	os.Exit(0)
}

func child(what string, args []string) error {
	switch what {
	case "exit": // with a code
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "wait": // for the end of input, after saying that it runs
		fmt.Println()
		_, _ = os.Stdin.Read(make([]byte, 1))
		return nil
	case "raise":
		return raises()
	case "do":
		for _, k := range Kinds {
			if k.Name == args[0] {
				return k.Do(&Act{Dir: args[1], PID: os.Getpid()})
			}
		}
	}
	return fmt.Errorf("nothing known as %s %v", what, args)
}

// do makes a kind happen, below a folder, and returns the act.
func (k Kind) do(ctx context.Context, below string) (*Act, error) {
	a := &Act{Dir: filepath.Join(below, strings.ReplaceAll(k.Name, " ", "-"))}
	if err := os.MkdirAll(a.Dir, 0o755); err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, actWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", marker, "do", k.Name, a.Dir)
	cmd.Dir = a.Dir
	cmd.WaitDelay = time.Second // a process that it left behind may hold the pipe
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return a, err
	}
	a.PID = cmd.Process.Pid
	if err := cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return a, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return a, nil
}
