// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Program is the emulator.
const Program = "qemu-system-x86_64"

// Guest is a machine to boot: a kernel and a first process that ends it.
type Guest struct {
	Kernel  Image
	Init    string          // static program of this host, the first process
	Root    string          // folder whose content becomes the root; "": none
	Files   map[string]File // further files by their path in the guest
	Append  string          // added to the kernel's command line
	Memory  int             // MiB; 0: 1024
	Timeout time.Duration   // 0: three minutes
	Console io.Writer       // gets the serial console as it comes; nil: nobody
}

// commandLine of every guest. A panic ends the machine. All security modules
// that a program may attach to are on; what the sensor does without them is
// tested by taking another rung.
const commandLine = "console=ttyS0 quiet panic=-1 mitigations=off lsm=lockdown,capability,landlock,bpf"

// keepConsole is how much of the console an error tells.
const keepConsole = 4 << 10

// Boot runs the guest until its first process ends the machine, and returns
// the lines that it wrote to /dev/ttyS1.
func Boot(ctx context.Context, g Guest) ([][]byte, error) {
	if _, err := exec.LookPath(Program); err != nil {
		return nil, fmt.Errorf("%s is not installed: %w", Program, err)
	}
	dir, err := os.MkdirTemp("", "picket-vm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := writeFile(initrd, g.initramfs); err != nil {
		return nil, err
	}
	if g.Timeout == 0 {
		g.Timeout = 3 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	lines, err := g.run(ctx, dir, initrd)
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return lines, err
}

func (g Guest) arguments(dir, initrd string) []string {
	memory := g.Memory
	if memory == 0 {
		memory = 1024
	}
	return []string{
		// One processor and one thread: with more, this emulator can run a
		// kernel into code that it is just patching.
		"-accel", "tcg,thread=single", "-smp", "1", "-cpu", "max", "-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", g.Kernel.Path, "-initrd", initrd, "-append", commandLine + " " + g.Append,
		"-serial", "stdio", "-chardev", "socket,id=results,path=" + filepath.Join(dir, "results"), "-serial", "chardev:results",
	}
}

func (g Guest) run(ctx context.Context, dir, initrd string) ([][]byte, error) {
	results, err := net.Listen("unix", filepath.Join(dir, "results"))
	if err != nil {
		return nil, err
	}
	defer results.Close()
	console := &tailWriter{to: g.Console}
	cmd := exec.CommandContext(ctx, Program, g.arguments(dir, initrd)...)
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var lines [][]byte
	var readErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines, readErr = readLines(results)
	}()
	err = cmd.Wait()
	results.Close() // when the emulator never came to open it
	<-done
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return lines, fmt.Errorf("%s: %w; the console ends with:\n%s", g.Kernel.Package, err, console.tail())
	}
	if readErr != nil || len(lines) == 0 {
		return lines, errors.Join(fmt.Errorf("%s reported nothing; the console ends with:\n%s", g.Kernel.Package, console.tail()), readErr)
	}
	return lines, nil
}

// readLines reads the one connection that the emulator makes until it ends.
func readLines(l net.Listener) ([][]byte, error) {
	conn, err := l.Accept()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var lines [][]byte
	s := bufio.NewScanner(conn)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 { // a terminal ends lines with two characters
			lines = append(lines, bytes.Clone(line))
		}
	}
	return lines, s.Err()
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(write(w), w.Flush(), f.Close())
}

// tailWriter passes on what it gets and keeps the end of it.
type tailWriter struct {
	mu   sync.Mutex
	to   io.Writer
	last []byte
}

func (t *tailWriter) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if n := len(t.last) - keepConsole; n > 0 {
		t.last = append(t.last[:0], t.last[n:]...)
	}
	if t.to != nil {
		return t.to.Write(b)
	}
	return len(b), nil
}

func (t *tailWriter) tail() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.last)
}
