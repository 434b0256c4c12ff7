// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestEveryWorkloadRuns(t *testing.T) {
	t.Parallel()
	for _, w := range Works {
		for _, need := range map[string][]string{"build": {"gcc"}, "package": {"dpkg", "dpkg-deb"}}[w.Name] {
			if _, err := exec.LookPath(need); err != nil {
				t.Skipf("%s needs %s", w.Name, need)
			}
		}
		dir := t.TempDir()
		if err := w.run(t.Context(), dir, 2); err != nil {
			t.Errorf("%s: %v", w.Name, err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || w.Name == "write" && len(left) > 0 {
			t.Errorf("%s leaves %d files: %v", w.Name, len(left), err)
		}
	}
	if _, err := DoWork(t.Context(), "nonsense"); err == nil {
		t.Error("an unknown workload ran")
	}
}

func TestCostIsThatOfTheRound(t *testing.T) {
	t.Parallel()
	w := Work{Name: "x", Ops: 10}
	made := func(cpu, daemon time.Duration) round {
		return round{work: map[string]WorkResult{"x": {10, 2 * cpu, cpu}}, daemon: map[string]time.Duration{"x": daemon}}
	}
	none := []round{made(100, 0), made(200, 0), made(400, 0)}
	with := []round{made(110, 10), made(220, 30), made(880, 20)}
	c := cost("s", w, none, with)
	if math.Abs(c.Ratio-1.1) > 1e-9 || math.Abs(c.Wall-1.1) > 1e-9 || c.CPU != 0.022 || c.Daemon != 0.002 {
		t.Errorf("%+v", c)
	}
	if median(nil) != 0 || median([]float64{4, 1}) != 2.5 {
		t.Error("median")
	}
}

func TestProcessFiguresCountDescendants(t *testing.T) {
	t.Parallel()
	p, err := program("/bin/sh", []string{"-c", "sleep 60 & while :; do :; done"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	wait, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Poll(wait, 10*time.Millisecond, func() bool { return p.cpu() > 0 && p.rss() > 0 && len(p.all()) == 2 }); err != nil {
		t.Errorf("cpu %v, rss %d, processes %v", p.cpu(), p.rss(), p.all())
	}
}
