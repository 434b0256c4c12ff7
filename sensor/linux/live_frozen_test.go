// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/budget"
	"golang.org/x/sys/unix"
)

// frozenChild is set for the process that collects.
const frozenChild = "PICKET_TEST_FROZEN"

// A collector that is stopped by a signal: what the rings cannot hold meanwhile
// is counted by the kernel and told when it goes on, and a flood of files does
// not push out the starts and ends of processes.
func TestLiveFrozenCollector(t *testing.T) {
	if os.Getenv(frozenChild) != "" {
		collectToOutput(t)
		return
	}
	const starts, writes = 40, 80_000
	e := newEvader(t)
	child := exec.Command(os.Args[0], "-test.run=^TestLiveFrozenCollector$")
	child.Env = append(os.Environ(), frozenChild+"=1")
	child.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	hold, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		if strings.HasPrefix(lines.Text(), "SKIP") {
			_ = child.Wait()
			t.Skip(lines.Text())
		}
	}
	freeze(t, child.Process.Pid)
	e.run(t, "flood", strconv.Itoa(writes), e.file("flood"))
	for i := range starts {
		if err := exec.Command("/bin/true", fmt.Sprint(e.dir, "/", i)).Run(); err != nil {
			t.Fatal(err)
		}
	}
	if err := child.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := hold.Close(); err != nil { // it may end now
		t.Fatal(err)
	}
	told, lost := map[string]int{}, map[string]int{}
	for lines.Scan() {
		kind, text, _ := strings.Cut(lines.Text(), " ")
		switch {
		case kind == "LOST":
			if err := json.Unmarshal([]byte(text), &lost); err != nil {
				t.Fatal(err)
			}
		case strings.Contains(text, e.dir) || kind == "SensorLoss" && strings.Contains(text, "ring.file"):
			told[kind]++
		}
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if files := told["FileCreated"] + told["FileModified"]; lost["ring.file"] == 0 || files+lost["ring.file"] < writes {
		t.Errorf("%d rows and %d counted as lost of %d writes", files, lost["ring.file"], writes)
	}
	if told["SensorLoss"] == 0 {
		t.Error("no row tells of the loss")
	}
	if lost["ring.exec"] != 0 || lost["ring.exit"] != 0 || told["ProcessCreated"] < starts || told["ProcessExited"] < starts {
		t.Errorf("of %d processes %v is told; lost %v", starts, told, lost)
	}
}

// freeze stops a process and waits until it stands still.
func freeze(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
}

// collectToOutput collects until the end of input, a line for each row.
func collectToOutput(t *testing.T) {
	var id atomic.Int64
	var mu sync.Mutex
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, format+"\n", args...)
	}
	snapshot := make(chan struct{})
	begun := sync.OnceFunc(func() { close(snapshot) })
	c, err := Open(t.Context(), Options{DeviceID: testDevice, NextReportID: func() int64 { return id.Add(1) }, Sink: func(row event.Row) bool {
		switch r := row.(type) {
		case *event.DeviceFileEvents:
			say("%s %q", r.ActionType, r.FolderPath)
		case *event.DeviceProcessEvents:
			say("%s %q", r.ActionType, r.ProcessCommandLine)
			if r.IsSnapshot && r.ProcessId == int64(os.Getpid()) {
				begun()
			}
		case *event.DeviceEvents:
			say("%s %q", r.ActionType, r.AdditionalFields)
		}
		return true
	}})
	if err != nil {
		fmt.Println("SKIP", err)
		return
	}
	defer c.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	c.SetBudget(Budget{Ceiling: budget.DefaultCeiling}) // without limits
	select {
	case <-snapshot:
	case <-time.After(patience):
		t.Fatal("no snapshot")
	}
	say("ready")
	mu.Lock()
	w.Flush()
	mu.Unlock()
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_, lost := c.Counters()
	b, err := json.Marshal(lost)
	if err != nil {
		t.Error(err)
	}
	say("LOST %s", b)
	w.Flush()
}
