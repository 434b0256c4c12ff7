// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"errors"
	"testing"
	"time"

	"github.com/picket-edr/picket"
)

func TestShedFollowsTheOrder(t *testing.T) {
	t.Parallel()
	if off := Shed(0); len(off) != 0 {
		t.Errorf("level 0 sheds %v", off)
	}
	seen := map[string]bool{}
	for level := 1; level <= len(Order); level++ {
		off := Shed(level)
		for c := range seen {
			if !off[c] {
				t.Errorf("level %d tells of %s again", level, c)
			}
		}
		if len(off) <= len(seen) {
			t.Errorf("level %d sheds nothing more", level)
		}
		seen = off
	}
	for _, c := range []string{"ring.exec", "ring.fork", "ring.exit", "ring.privilege", "ring.kernel", "ring.listen", "ring.script"} {
		if seen[c] {
			t.Errorf("%s is shed", c)
		}
	}
	if len(Shed(len(Order)+5)) != len(seen) || len(Shed(-1)) != 0 {
		t.Error("levels out of bounds")
	}
}

func TestLimitsAreChecked(t *testing.T) {
	t.Parallel()
	if err := Default().Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Limits{
		{Process: map[string]Rate{"process": {1, 1}}},
		{Process: map[string]Rate{"file": {0, 1}}},
		{Host: map[string]Rate{"file": {1, 0}}},
		{Host: map[string]Rate{"dns": {2_000_000, 1}}},
	} {
		if err := bad.Check(); !errors.Is(err, picket.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	l := Default().With(Limits{Process: map[string]Rate{"dns": {7, 8}}, Host: map[string]Rate{"file": {1, 1}}})
	if l.Process["dns"] != (Rate{7, 8}) || l.Process["file"] != Default().Process["file"] || l.Host["file"] != (Rate{1, 1}) {
		t.Errorf("merged: %+v", l)
	}
	for _, kind := range Kinds() {
		if len(ClassesOf(kind)) == 0 {
			t.Errorf("kind %s has no classes", kind)
		}
	}
}

// drive feeds the governor a second at a time and returns the levels it had.
func drive(g *Governor, at *time.Time, cpu *time.Duration, share float64, rss uint64, seconds int) (levels []int) {
	for range seconds {
		*at = at.Add(time.Second)
		*cpu += time.Duration(share * float64(time.Second))
		level, _ := g.Tick(*at, *cpu, rss)
		levels = append(levels, level)
	}
	return levels
}

func TestGovernorShedsAndRecovers(t *testing.T) {
	t.Parallel()
	g := New(Ceiling{CPUPercent: 20, CPUBurst: 10 * time.Second, MemoryBytes: 100 << 20})
	at, cpu := time.Unix(1e9, 0), time.Duration(0)
	g.Tick(at, cpu, 0)
	if l := drive(g, &at, &cpu, 1, 50<<20, 10); l[9] != 0 {
		t.Errorf("a burst of ten seconds is within the budget: %v", l)
	}
	if l := drive(g, &at, &cpu, 1, 50<<20, 60); l[59] != len(Order) {
		t.Errorf("a minute of a whole processor: %v", l)
	}
	if l := drive(g, &at, &cpu, 0.01, 50<<20, 600); l[599] != 0 {
		t.Errorf("ten calm minutes: ends at %d", l[599])
	}
}

func TestGovernorMindsMemory(t *testing.T) {
	t.Parallel()
	g := New(Ceiling{CPUPercent: 20, CPUBurst: 10 * time.Second, MemoryBytes: 100 << 20})
	at, cpu := time.Unix(1e9, 0), time.Duration(0)
	g.Tick(at, cpu, 0)
	at = at.Add(3 * time.Second)
	if level, why := g.Tick(at, cpu, 101<<20); level != 1 || why != "memory" {
		t.Errorf("level %d because of %q", level, why)
	}
	at = at.Add(20 * time.Second)
	if level, why := g.Tick(at, cpu, 95<<20); level != 1 || why != "" {
		t.Errorf("close to the ceiling it stays: level %d, %q", level, why)
	}
	at = at.Add(20 * time.Second)
	if level, why := g.Tick(at, cpu, 50<<20); level != 0 || why != "calm" {
		t.Errorf("level %d because of %q", level, why)
	}
}

// However the figures run, the level stays within its bounds and moves by one.
func FuzzGovernor(f *testing.F) {
	f.Add(int64(1e9), int64(2e9), uint64(1<<30), int64(5e9))
	f.Fuzz(func(t *testing.T, step, cpu int64, rss uint64, cpu2 int64) {
		g := New(DefaultCeiling)
		at := time.Unix(0, 0)
		before := 0
		for i := range 20 {
			at = at.Add(time.Duration(step))
			level, _ := g.Tick(at, time.Duration(cpu+int64(i)*cpu2), rss)
			if level < 0 || level > len(Order) || level-before > 1 || before-level > 1 {
				t.Fatalf("level %d after %d", level, before)
			}
			before = level
		}
	})
}
