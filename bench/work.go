// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/picket-edr/picket"
)

// Work is one workload whose cost sensors add to. It runs in a process of its
// own, so that its processor time is its own.
type Work struct {
	Name string
	Text string
	Ops  int // how much of it one run does
	run  func(ctx context.Context, dir string, n int) error
}

// Works are the workloads of the comparison, each of the kind that a sensor
// looks at, and two of daily life.
var Works = []Work{
	{"exec", "start /bin/true and wait for it", 300, workExec},
	{"open", "open a file for reading and close it", 20000, workOpen},
	{"write", "create a file, write, close and remove it", 4000, workWrite},
	{"connect", "connect to a listener on loopback and close", 2000, workConnect},
	{"build", "compile a C file", 24, workBuild},
	{"package", "install and remove a package of 200 files", 3, workPackage},
}

// WorkResult is what one run of a workload took.
type WorkResult struct {
	Ops  int           `json:"ops"`
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"` // with that of children
}

// DoWork runs a workload in this process, in a folder that it makes and
// removes.
func DoWork(ctx context.Context, name string) (WorkResult, error) {
	i := slices.IndexFunc(Works, func(w Work) bool { return w.Name == name })
	if i < 0 {
		return WorkResult{}, fmt.Errorf("workload %q: %w", name, picket.NotFound)
	}
	w := Works[i]
	dir, err := os.MkdirTemp("", "picket-work-")
	if err != nil {
		return WorkResult{}, err
	}
	defer os.RemoveAll(dir)
	if err := w.run(ctx, dir, 1); err != nil { // warm
		return WorkResult{}, fmt.Errorf("workload %s: %w", name, err)
	}
	began, before := time.Now(), processorTime()
	if err := w.run(ctx, dir, w.Ops); err != nil {
		return WorkResult{}, fmt.Errorf("workload %s: %w", name, err)
	}
	return WorkResult{w.Ops, time.Since(began), processorTime() - before}, nil
}

func processorTime() time.Duration {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += u.Utime.Nano() + u.Stime.Nano()
		}
	}
	return time.Duration(sum)
}

func workExec(ctx context.Context, _ string, n int) error {
	for range n {
		if err := exec.CommandContext(ctx, "/bin/true").Run(); err != nil {
			return err
		}
	}
	return nil
}

func workOpen(_ context.Context, dir string, n int) error {
	name := filepath.Join(dir, "read")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		return err
	}
	for range n {
		fd, err := syscall.Open(name, syscall.O_RDONLY, 0)
		if err != nil {
			return err
		}
		if err := syscall.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

func workWrite(_ context.Context, dir string, n int) error {
	for i := range n {
		name := filepath.Join(dir, fmt.Sprint("file", i))
		if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

func workConnect(_ context.Context, _ string, n int) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for range n {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			return err
		}
		if err := c.(*net.TCPConn).SetLinger(0); err != nil { // or loopback runs out of ports
			return errors.Join(err, c.Close())
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

// workBuild does what a build of a program in C does most: it starts a
// compiler and its parts for each file.
func workBuild(ctx context.Context, dir string, n int) error {
	const source = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%d(int x) { char b[64]; snprintf(b, sizeof b, \"%%d\", x); return (int)strlen(b); }\n"
	jobs := make(chan int)
	fail := make(chan error, runtime.NumCPU())
	for range runtime.NumCPU() {
		go func() {
			var err error
			for i := range jobs {
				name := filepath.Join(dir, fmt.Sprintf("f%d.c", i))
				if err == nil {
					err = os.WriteFile(name, fmt.Appendf(nil, source, i), 0o600)
				}
				if err == nil {
					err = exec.CommandContext(ctx, "gcc", "-O1", "-c", "-o", strings.TrimSuffix(name, "c")+"o", name).Run()
				}
			}
			fail <- err
		}()
	}
	for i := range n {
		jobs <- i
	}
	close(jobs)
	var err error
	for range runtime.NumCPU() {
		err = errors.Join(err, <-fail)
	}
	return err
}

// workPackage installs a package into a folder, as the package manager does it
// into a host.
func workPackage(ctx context.Context, dir string, n int) error {
	deb := filepath.Join(dir, "load.deb")
	if _, err := os.Stat(deb); err != nil {
		if err := makePackage(ctx, dir, deb); err != nil {
			return err
		}
	}
	root := filepath.Join(dir, "root")
	for _, d := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		return err
	}
	for range n {
		for _, args := range [][]string{{"--install", deb}, {"--purge", "picket-load"}} {
			c := exec.CommandContext(ctx, "dpkg", append([]string{"--root=" + root, "--force-depends", "--force-script-chrootless"}, args...)...)
			if out, err := c.CombinedOutput(); err != nil {
				return fmt.Errorf("dpkg: %w: %s", err, out)
			}
		}
	}
	return nil
}

func makePackage(ctx context.Context, dir, deb string) error {
	tree := filepath.Join(dir, "tree")
	for _, d := range []string{"DEBIAN", "usr/share/picket-load"} {
		if err := os.MkdirAll(filepath.Join(tree, d), 0o755); err != nil {
			return err
		}
	}
	control := "Package: picket-load\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: files for a measurement\n"
	if err := os.WriteFile(filepath.Join(tree, "DEBIAN/control"), []byte(control), 0o644); err != nil {
		return err
	}
	for i := range 200 {
		if err := os.WriteFile(filepath.Join(tree, "usr/share/picket-load", fmt.Sprint("f", i)), []byte(strings.Repeat("x", 4096)), 0o644); err != nil {
			return err
		}
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, deb).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb: %w: %s", err, out)
	}
	return nil
}
