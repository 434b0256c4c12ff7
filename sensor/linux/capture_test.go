// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picket-edr/picket/sensor/linux/kernel"
	"github.com/picket-edr/picket/sensor/linux/record"
)

// TestCaptureRecords writes the records of testdata/records anew, as this
// kernel makes them, when PICKET_CAPTURE is set.
func TestCaptureRecords(t *testing.T) {
	if os.Getenv("PICKET_CAPTURE") == "" {
		t.Skip("set PICKET_CAPTURE=1 to record testdata/records anew")
	}
	k, hooks := kernel.Open(nil)
	defer k.Close()
	for _, h := range hooks {
		if !h.Attached {
			t.Fatalf("%s: %s", h.Kind, h.Error)
		}
	}
	r, err := k.Rings()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir := "/tmp/picket-records"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	script := `cd ` + dir + ` && printf 'ten bytes.' > made && mv made moved && ln -s moved pointer && ln moved second && rm moved && ` +
		`exec env -i LD_PRELOAD= SSH_CONNECTION="192.0.2.7 40000 192.0.2.1 22" SECRET=x /bin/sh -c 'kill -TERM $$'`
	// Nothing of this machine goes into the records: a control group, folder
	// and environment of their own.
	group := filepath.Join(k.Cgroup(), "docker-"+strings.Repeat("0123456789abcdef", 4)+".scope")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(group)
	fd, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	c := exec.Command("/bin/sh", "-c", script)
	c.Dir, c.Env = dir, []string{"PATH=/usr/bin:/bin", "SECRET=do not keep this"}
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}
	_ = c.Run() // ends by a signal
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	l.Close()
	if _, err := net.Dial("tcp6", "[::1]:1"); err == nil {
		t.Fatal("port 1 is open")
	}
	question := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06picket\x04test\x00\x00\x01\x00\x01")
	for _, port := range []string{"53", "4711"} {
		u, err := net.Dial("udp4", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(question); err != nil {
			t.Fatal(err)
		}
		u.Close()
	}
	time.Sleep(50 * time.Millisecond)
	saveRecords(t, r, uint32(c.Process.Pid), uint32(os.Getpid()))
}

func saveRecords(t *testing.T, r *kernel.Rings, child, self uint32) {
	n := 0
	save := func(b []byte) {
		rec, err := record.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		kind := ""
		var h *record.Header
		switch x := rec.(type) {
		case *record.Exec:
			kind, h = "exec", &x.Header
		case *record.Fork:
			kind, h = "fork", &x.Header
		case *record.Exit:
			kind, h = "exit", &x.Header
		case *record.File:
			kind, h = "file", &x.Header
		case *record.PathOp:
			kind, h = "pathop", &x.Header
		case *record.Net:
			kind, h = "net", &x.Header
		case *record.DNS:
			kind, h = "dns", &x.Header
		}
		net := kind == "net" || kind == "dns"
		mine := h.PID == self && (net || kind == "fork") || !net && (h.PID == child || h.PPID == child)
		if !mine {
			return
		}
		n++
		name := strconv.Itoa(100+n) + "-" + kind + ".bin"
		if err := os.WriteFile(filepath.Join("testdata", "records", name), b[:h.Len], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll("testdata/records"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata/records", 0o755); err != nil {
		t.Fatal(err)
	}
	batch := r.TakeBulk(1000)
	r.EachPriority(save)
	for _, b := range batch {
		save(b)
	}
}
