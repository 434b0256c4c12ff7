// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/command"
	"golang.org/x/sys/unix"
)

// terminal opens a new one and returns both ends.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Skipf("no terminal: %v", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skipf("no terminal: %v", err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// typeInto starts a shell on a terminal and types lines, each after the prompt.
func typeInto(t *testing.T, shell string, args []string, lines ...string) *exec.Cmd {
	t.Helper()
	master, slave := terminal(t)
	c := exec.Command(shell, args...)
	c.Env = []string{"PS1=ready> ", "PATH=/usr/bin:/bin", "TERM=dumb", "HOME=" + t.TempDir()}
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	screen := bufio.NewReader(master)
	for _, line := range append(lines, "exit") {
		seen := ""
		for !strings.HasSuffix(seen, "ready> ") {
			b, err := screen.ReadByte()
			if err != nil {
				t.Fatalf("%s showed %q: %v", shell, seen, err)
			}
			seen += string(b)
		}
		if _, err := io.WriteString(master, line+"\r"); err != nil {
			t.Fatal(err)
		}
	}
	go io.Copy(io.Discard, screen)
	_ = c.Wait() // with the state of the last command
	return c
}

func typed(pid int, text string) func(*event.DeviceEvents) bool {
	return func(r *event.DeviceEvents) bool {
		return r.ActionType == "ScriptContent" && r.InitiatingProcessId == int64(pid) && strings.Contains(r.AdditionalFields, `"`+text+`"`)
	}
}

func TestLiveLinesOfShells(t *testing.T) {
	l := startLive(t, nil)
	for _, s := range []struct {
		name string
		args []string
	}{{"bash", []string{"--norc", "--noprofile", "-i"}}, {"zsh", []string{"-f", "-i"}}} {
		shell, err := exec.LookPath(s.name)
		if err != nil {
			t.Logf("%s is not installed", s.name)
			continue
		}
		c := typeInto(t, shell, s.args, "echo one", "true --password=geheim")
		r := find(l, typed(c.Process.Pid, "echo one"))
		if r.InitiatingProcessFileName != filepath.Base(shell) && !strings.HasPrefix(r.InitiatingProcessFileName, s.name) || !strings.Contains(r.AdditionalFields, `"Interpreter":"`+s.name+`"`) {
			t.Errorf("row %v", columns(r))
		}
		r = find(l, typed(c.Process.Pid, "true --password=[redacted]"))
		if !strings.Contains(r.AdditionalFields, `"Redacted":["named-secret"]`) {
			t.Errorf("row %v", columns(r))
		}
		if n := len(all(l, typed(c.Process.Pid, "echo one"))); n != 1 {
			t.Errorf("%s: the line is told %d times", s.name, n)
		}
	}
}

// A copy of a shell is a file that was not there when the sensor started, as
// after an upgrade. Its first run makes it known; from when on its lines are
// seen is not promised.
func TestLiveShellAfterUpgrade(t *testing.T) {
	l := startLive(t, nil)
	b, err := os.ReadFile("/bin/bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	shell := filepath.Join(t.TempDir(), "bash")
	if err := os.WriteFile(shell, b, 0o755); err != nil {
		t.Fatal(err)
	}
	told := func(r *event.DeviceEvents) bool {
		return r.ActionType == "ScriptContent" && r.InitiatingProcessFolderPath == shell && !strings.Contains(r.AdditionalFields, "sleep 2")
	}
	for n := 0; n < 100 && len(all(l, told)) == 0; n++ {
		c := typeInto(t, shell, []string{"--norc", "--noprofile", "-i"}, "sleep 2", "echo two") // one that is gone at once is probed too late
		find(l, created(c.Process.Pid))
	}
	r := find(l, told)
	if !strings.Contains(r.AdditionalFields, `"ScriptContent":"echo two"`) && !strings.Contains(r.AdditionalFields, `"ScriptContent":"exit"`) {
		t.Errorf("row %v", columns(r))
	}
}

func TestLiveScript(t *testing.T) {
	l := startLive(t, func(o *Options) { o.ScriptContent = func() string { return command.ScriptContent } })
	file := writeScript(t, filepath.Join(t.TempDir(), "job"), "#!/bin/sh\n: --token=geheim\n")
	first := 0
	for n := 0; ; n++ { // rows do not wait long for a hash, but a later run has it
		c := exec.Command(file)
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = c.Process.Pid
		}
		r := find(l, created(c.Process.Pid))
		if !strings.Contains(r.AdditionalFields, `"ScriptPath":"`+file+`"`) {
			t.Fatalf("row %v", columns(r))
		}
		if strings.Contains(r.AdditionalFields, `"ScriptSha256":"`) {
			break
		}
		if n == 1000 {
			t.Fatalf("no hash: %v", columns(r))
		}
	}
	s := find(l, func(r *event.DeviceEvents) bool { return r.ActionType == "ScriptContent" && r.FolderPath == file })
	if !strings.Contains(s.AdditionalFields, `: --token=[redacted]`) || s.InitiatingProcessId != int64(first) {
		t.Errorf("row %v", columns(s))
	}
}
