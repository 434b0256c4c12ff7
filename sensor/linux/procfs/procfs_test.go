// SPDX-License-Identifier: Apache-2.0

//go:build linux

package procfs

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/picket-edr/picket/sensor/linux/record"
)

func TestCgroupPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0::/user.slice/x.scope\n":                     "/user.slice/x.scope",
		"8:pids:/\n4:memory:/process/abc\n0::/\n":      "/process/abc",
		"8:pids:/docker/x\n4:memory:/docker/y\n0::/\n": "/docker/x",
		"4:memory:/docker/y\n8:cpu,pids:/docker/x\n":   "/docker/x",
		"12:pids:/a\n0::/b\n":                          "/b",
		"":                                             "/",
		"garbage\n1:x\n::\n":                           "/",
		"9:name=systemd:/somewhere\n8:pids:/\n0::/\n":  "/",
	} {
		if got := CgroupPath([]byte(in)); got != want {
			t.Errorf("CgroupPath(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestStartTicks(t *testing.T) {
	t.Parallel()
	stat := "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2 3"
	if n, ok := StartTicks([]byte(stat)); !ok || n != 98765 {
		t.Errorf("got %d, %v", n, ok)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 1 2", strings.Replace(stat, "98765", "x", 1)} {
		if _, ok := StartTicks([]byte(bad)); ok {
			t.Errorf("%q was accepted", bad)
		}
	}
	if !SameStart(98765, 987_659_999_999) || SameStart(98765, 987_660_000_000) {
		t.Error("ticks and nanoseconds are compared wrongly")
	}
}

// A process of our own is described as it is.
func TestExecOfARealProcess(t *testing.T) {
	t.Parallel()
	p := &FS{}
	c := exec.Command("/bin/sh", "-c", "sleep 60; true", "a b")
	c.Dir, c.Env = "/usr", []string{"LD_PRELOAD=", "X=1"}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		c.Process.Kill()
		c.Wait()
	}()
	r, ok := p.Exec(uint32(c.Process.Pid), 77)
	if !ok {
		t.Fatal("the process is not found")
	}
	if string(r.Args) != "/bin/sh\x00-c\x00sleep 60; true\x00a b\x00" || string(r.Env) != "LD_PRELOAD=\x00X=1\x00" || r.Cwd != "/usr" || !strings.HasSuffix(r.Exe, "sh") {
		t.Errorf("args %q env %q cwd %q exe %q", r.Args, r.Env, r.Cwd, r.Exe)
	}
	if r.Time != 77 || r.PPID != uint32(os.Getpid()) || r.UID != uint32(os.Getuid()) || r.EUID != uint32(os.Geteuid()) || r.Start == 0 || r.ParentStart == 0 || r.Start < r.ParentStart {
		t.Errorf("header %+v", r.Header)
	}
	if r.Image.Ino == 0 || r.Image.Nlink == 0 || r.Image.Size == 0 || r.Task.MntNS == 0 || r.Task.NetNS == 0 || r.NetNS != r.Task.NetNS {
		t.Errorf("image %+v task %+v", r.Image, r.Task)
	}
	tasks := p.Tasks(78)
	if !slices.ContainsFunc(tasks, func(k *record.Task) bool { return k.PID == r.PID && k.Start == r.Start }) {
		t.Error("the process is not among all")
	}
	if _, ok := p.Exec(0xfffffff0, 1); ok {
		t.Error("a process that does not exist was described")
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	for dev, want := range map[uint32]string{0: "", 136<<8 | 3: "pts3", 137 << 8: "pts256", 4<<8 | 1: "tty1", 4<<8 | 64: "ttyS0", 8 << 8: ""} {
		if got := terminal(dev); got != want {
			t.Errorf("terminal(%#x) = %q, want %q", dev, got, want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2 3"))
	f.Add([]byte(")("))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := ParseStat(b); ok && strings.ContainsRune(s.Comm, 0) {
			t.Fatalf("%q", s.Comm)
		}
		if p := CgroupPath(b); !strings.HasPrefix(p, "/") {
			t.Fatalf("control group %q", p)
		}
	})
}
