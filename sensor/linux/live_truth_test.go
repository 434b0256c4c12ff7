// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/sensor/linux/budget"
	"golang.org/x/sync/errgroup"
)

// times runs do for 0 to n-1 on four workers.
func times(t *testing.T, n int, do func(int) error) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(4)
	for i := range n {
		g.Go(func() error { return do(i) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// eventLosses are the counters of lost events, without those of details.
func eventLosses(l *live) map[string]uint64 {
	_, lost := l.Counters()
	for name := range lost {
		if !isEventLoss(name) {
			delete(lost, name)
		}
	}
	return lost
}

// Every real process, file and connection is one row, none is missing, none
// is told twice.
func TestLiveGroundTruth(t *testing.T) {
	const n = 2000
	dir := t.TempDir()
	l := startLive(t, nil)
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := portOf(server.Addr())
	accepted := make(chan error, 1)
	go func() { accepted <- acceptAll(server, n) }()

	marker := filepath.Base(dir) + "-truth-"
	times(t, n, func(i int) error { return exec.Command("/bin/true", fmt.Sprint(marker, i)).Run() })
	times(t, n, func(i int) error {
		name := filepath.Join(dir, fmt.Sprint("file", i))
		if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
			return err
		}
		if err := os.Rename(name, name+".new"); err != nil {
			return err
		}
		return os.Remove(name + ".new")
	})
	times(t, n, func(int) error {
		c, err := net.Dial("tcp4", at.String())
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	server.Close()
	l.stop()

	if lost := eventLosses(l); len(lost) != 0 {
		t.Logf("lost of other programs: %v", lost) // of ours every one is looked for below
	}
	seen := map[string]int{}
	for _, r := range all(l, func(r *event.DeviceProcessEvents) bool { return strings.Contains(r.ProcessCommandLine, marker) }) {
		seen[r.ActionType+" "+r.ProcessCommandLine]++
	}
	for _, r := range all(l, func(r *event.DeviceFileEvents) bool { return strings.HasPrefix(r.FolderPath, dir+"/") }) {
		seen[r.ActionType+" "+filepath.Base(r.FolderPath)]++
	}
	for i := range n {
		for _, what := range []string{
			fmt.Sprint("ProcessCreated /bin/true ", marker, i), fmt.Sprint("ProcessExited /bin/true ", marker, i),
			fmt.Sprint("FileCreated file", i), fmt.Sprint("FileRenamed file", i, ".new"), fmt.Sprint("FileDeleted file", i, ".new"),
		} {
			if seen[what] != 1 {
				t.Errorf("%s: %d rows", what, seen[what])
			}
			delete(seen, what)
		}
	}
	if len(seen) != 0 {
		t.Errorf("rows of things that were not done: %.500v", seen)
	}
	if got := len(all(l, remoteIs("ConnectionSuccess", at))); got != n {
		t.Errorf("%d of %d connections", got, n)
	}
	if got := len(all(l, localIs("InboundConnectionAccepted", at))); got != n {
		t.Errorf("%d of %d accepted connections", got, n)
	}
}

func acceptAll(s net.Listener, n int) error {
	for range n {
		c, err := s.Accept()
		if err != nil {
			return err
		}
		c.Close()
	}
	return nil
}

// A reader that stands still while the host is busy: what the rings cannot
// hold is counted, to the last event.
func TestLiveOverload(t *testing.T) {
	const processes, writes = 600, 100_000
	dir := t.TempDir()
	var gate sync.Mutex
	l := startLive(t, func(o *Options) {
		pass := o.Sink
		o.Sink = func(r event.Row) bool {
			gate.Lock()
			defer gate.Unlock()
			return pass(r)
		}
	})
	inForce := make(chan struct{})
	l.SetBudget(Budget{Ceiling: budget.DefaultCeiling}) // what the ring loses is the matter here, not what limits leave out
	l.do(func() { close(inForce) })
	<-inForce
	gate.Lock()

	marker := filepath.Base(dir) + "-load-"
	big := strings.Repeat("x", 30_000)
	times(t, processes, func(i int) error { return exec.Command("/bin/true", fmt.Sprint(marker, i), big).Run() })
	names := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c"), filepath.Join(dir, "d")}
	times(t, len(names), func(i int) error {
		for range writes / len(names) {
			if err := os.WriteFile(names[i], nil, 0o600); err != nil {
				return err
			}
		}
		return nil
	})
	gate.Unlock()
	l.stop()

	told := map[string]int{}
	foreign := map[string]int{}
	for _, r := range all(l, func(r *event.DeviceProcessEvents) bool { return !r.IsSnapshot }) {
		// Of one whose start was lost the end is still told, by its short name.
		if strings.Contains(r.ProcessCommandLine, marker) || r.ProcessCommandLine == "" && r.FileName == "true" {
			told[r.ActionType]++
		} else {
			foreign[r.ActionType]++
		}
	}
	for _, r := range all(l, func(r *event.DeviceFileEvents) bool {
		return r.ActionType == "FileCreated" || r.ActionType == "FileModified"
	}) {
		if strings.HasPrefix(r.FolderPath, dir) {
			told["File"]++
		} else {
			foreign["File"]++
		}
	}
	_, lost := l.Counters()
	t.Logf("told %v, lost %v, of other programs %v", told, lost, foreign)
	for _, c := range []struct {
		what, class string
		truth       int
	}{{"ProcessCreated", "ring.exec", processes}, {"ProcessExited", "ring.exit", processes}, {"File", "ring.file", writes}} {
		sum := told[c.what] + int(lost[c.class])
		if sum < c.truth {
			t.Errorf("%s: %d rows and %d counted as lost, %d were done: some went silently", c.what, told[c.what], lost[c.class], c.truth)
		}
		// Other programs of the host lose events too; on a quiet one it is exact.
		if foreign[c.what] == 0 && sum != c.truth {
			t.Errorf("%s: %d rows and %d counted as lost, %d were done", c.what, told[c.what], lost[c.class], c.truth)
		}
	}
	if lost["ring.exec"] == 0 || lost["ring.file"] == 0 {
		t.Error("the rings held everything: this was no overload")
	}
	told["loss"] = 0
	for _, r := range all(l, func(r *event.DeviceEvents) bool { return r.ActionType == "SensorLoss" }) {
		if strings.Contains(r.AdditionalFields, "ring.file") {
			told["loss"]++
		}
	}
	if told["loss"] == 0 {
		t.Error("no row tells of the loss")
	}
}
