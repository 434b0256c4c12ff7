// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor"
)

type topCommand struct {
	Interval time.Duration `help:"Time between two looks." default:"2s"`
	Rows     int           `help:"Programs shown." default:"10"`
	Count    int           `help:"Looks before it ends; 0: until interrupted." default:"0"`
	JSON     bool          `help:"Print one JSON object for each look." name:"json"`
}

// top is what the sensor did between two looks.
type top struct {
	Seconds    float64            `json:"seconds"`
	CPUPercent float64            `json:"cpu_percent"`
	RSSBytes   uint64             `json:"rss_bytes"`
	Kinds      []topKind          `json:"kinds"`
	Programs   []topProgram       `json:"programs"`
	Rules      []sensor.RuleUsage `json:"rules"`     // rows that rules of the policy left out meanwhile
	Limited    map[string]uint64  `json:"limited"`   // left out by limits and shedding meanwhile, by class
	Lost       map[string]uint64  `json:"lost"`      // meanwhile, by class
	Shed       []string           `json:"shed"`      // kinds that are not collected at present
	Processes  []sensor.Process   `json:"processes"` // of the sensor
}

type topKind struct {
	Kind          string  `json:"kind"`
	PerSecond     float64 `json:"per_second"`
	UserPercent   float64 `json:"user_percent"`   // of one processor, in the collector
	KernelPercent float64 `json:"kernel_percent"` // of one processor, within the kernel, in the last sample
}

type topProgram struct {
	Path      string  `json:"path"`
	PID       uint32  `json:"pid"`
	PerSecond float64 `json:"per_second"`
}

// Run implements the command.
func (c *topCommand) Run(p *program) error {
	if c.Interval < 100*time.Millisecond || c.Rows < 1 {
		return fmt.Errorf("--interval is at least 100ms and --rows at least 1: %w", picket.Invalid)
	}
	before, err := sensor.ReadStatus(p.ctx, p.dataOfRunning())
	if err != nil {
		return err
	}
	at := time.Now()
	tick := time.NewTicker(c.Interval)
	defer tick.Stop()
	for i := 0; c.Count == 0 || i < c.Count; i++ {
		select {
		case <-p.ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := sensor.ReadStatus(p.ctx, p.dataOfRunning())
		if err != nil {
			return err
		}
		t := compare(before, now, time.Since(at), c.Rows)
		before, at = now, time.Now()
		if c.JSON {
			err = json.NewEncoder(p.stdout).Encode(t)
		} else {
			err = t.print(p.stdout)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare tells what happened between two looks.
func compare(before, now *sensor.Status, span time.Duration, rows int) top {
	s := span.Seconds()
	t := top{Seconds: s, CPUPercent: now.CPUPercent, RSSBytes: now.RSSBytes, Shed: now.Usage.Shed, Processes: now.Processes,
		Lost: grown(before.Lost, now.Lost), Limited: grown(before.Usage.Limited, now.Usage.Limited),
		Kinds: []topKind{}, Programs: []topProgram{}, Rules: []sensor.RuleUsage{}}
	kinds := map[string]sensor.KindUsage{}
	for _, k := range before.Usage.Kinds {
		kinds[k.Kind] = k
	}
	for _, k := range now.Usage.Kinds {
		old := kinds[k.Kind]
		t.Kinds = append(t.Kinds, topKind{k.Kind, float64(k.Records-min(old.Records, k.Records)) / s,
			100 * float64(k.User-min(old.User, k.User)) / float64(span), k.KernelPercent})
	}
	slices.SortStableFunc(t.Kinds, func(a, b topKind) int {
		return cmp.Compare(b.UserPercent+b.KernelPercent, a.UserPercent+a.KernelPercent)
	})
	programs := map[string]uint64{}
	for _, x := range before.Usage.Processes {
		programs[x.Path] = x.Records
	}
	for _, x := range now.Usage.Processes {
		if d := x.Records - min(programs[x.Path], x.Records); d > 0 {
			t.Programs = append(t.Programs, topProgram{x.Path, x.PID, float64(d) / s})
		}
	}
	slices.SortStableFunc(t.Programs, func(a, b topProgram) int { return cmp.Compare(b.PerSecond, a.PerSecond) })
	t.Programs = t.Programs[:min(len(t.Programs), rows)]
	rules := map[string]uint64{}
	for _, r := range before.Exclusions {
		rules[r.Rule] = r.Rows
	}
	for _, r := range now.Exclusions {
		if d := r.Rows - min(rules[r.Rule], r.Rows); d > 0 {
			t.Rules = append(t.Rules, sensor.RuleUsage{Rule: r.Rule, Rows: d})
		}
	}
	return t
}

// grown returns what counters gained.
func grown(before, now map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for class, n := range now {
		if n > before[class] {
			out[class] = n - before[class]
		}
	}
	return out
}

func (t *top) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s  processor %.1f %%  memory %d MiB\n", time.Now().Format(time.TimeOnly), t.CPUPercent, t.RSSBytes>>20)
	fmt.Fprintf(w, "%-16s %12s %10s %10s\n", "KIND", "PER SECOND", "USER %", "KERNEL %")
	for _, k := range t.Kinds {
		fmt.Fprintf(w, "%-16s %12.1f %10.2f %10.2f\n", k.Kind, k.PerSecond, k.UserPercent, k.KernelPercent)
	}
	fmt.Fprintf(w, "%-8s %12s  %s\n", "PID", "PER SECOND", "PROGRAM")
	for _, x := range t.Programs {
		fmt.Fprintf(w, "%-8d %12.1f  %s\n", x.PID, x.PerSecond, x.Path)
	}
	for _, r := range t.Rules {
		fmt.Fprintf(w, "left out by policy: %d rows, %s\n", r.Rows, r.Rule)
	}
	for _, class := range slices.Sorted(maps.Keys(t.Limited)) {
		fmt.Fprintf(w, "limited: %d, %s\n", t.Limited[class], class)
	}
	for _, class := range slices.Sorted(maps.Keys(t.Lost)) {
		fmt.Fprintf(w, "lost: %d, %s\n", t.Lost[class], class)
	}
	for _, kind := range t.Shed {
		fmt.Fprintf(w, "not collected at present: %s\n", kind)
	}
	_, err := fmt.Fprintln(w)
	return err
}
