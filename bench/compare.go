// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/picket-edr/picket"
)

// CompareOptions name what is compared.
type CompareOptions struct {
	HostOptions
	Self    string   // this program: runs one workload as "bench work NAME"
	Sensors []string // of Rivals; empty: all that are installed
	Rounds  int
	Log     func(format string, args ...any)
}

// Cost is what one sensor added to one workload.
type Cost struct {
	Sensor   string  `json:"sensor"`
	Workload string  `json:"workload"`
	CPU      float64 `json:"cpu_us_per_op"`    // median over rounds, of the workload itself
	Ratio    float64 `json:"ratio"`            // to no sensor: median of the ratios within a round
	Wall     float64 `json:"wall_ratio"`       // the same of the time that passed
	Daemon   float64 `json:"daemon_us_per_op"` // processor time of the sensor
}

// Footprint is what a sensor took over all workloads.
type Footprint struct {
	Sensor  string  `json:"sensor"`
	RSS     uint64  `json:"rss_bytes"` // largest seen
	CPU     float64 `json:"cpu_seconds"`
	Idle    float64 `json:"idle_percent"` // of one processor, with nothing going on
	Written uint64  `json:"written_bytes"`
	Lost    uint64  `json:"lost"`
}

// Comparison is the whole result.
type Comparison struct {
	Rounds     int         `json:"rounds"`
	Costs      []Cost      `json:"costs"`
	Footprints []Footprint `json:"footprints"`
}

// round is what one sensor did in one round.
type round struct {
	work   map[string]WorkResult
	daemon map[string]time.Duration
	foot   Footprint
}

const idleSpan = 3 * time.Second

// Compare runs every workload beside no sensor and beside each of the others,
// in turn within each round, so that what else the host does meets all alike.
func Compare(ctx context.Context, o CompareOptions) (Comparison, error) {
	c := Comparison{Rounds: o.Rounds}
	if os.Geteuid() != 0 {
		return c, fmt.Errorf("sensors of this host need root: %w", picket.Denied)
	}
	rivals, err := rivals(o)
	if err != nil {
		return c, err
	}
	rounds := map[string][]round{}
	for i := range o.Rounds {
		for _, r := range rivals {
			o.Log("round %d of %d: %s", i+1, o.Rounds, r.name)
			one, err := r.round(ctx, o)
			if err != nil {
				return c, fmt.Errorf("%s: %w", r.name, err)
			}
			rounds[r.name] = append(rounds[r.name], one)
		}
	}
	for _, r := range rivals {
		for _, w := range Works {
			c.Costs = append(c.Costs, cost(r.name, w, rounds["none"], rounds[r.name]))
		}
		f := Footprint{Sensor: r.name}
		for _, one := range rounds[r.name] {
			f.RSS = max(f.RSS, one.foot.RSS)
			f.CPU += one.foot.CPU / float64(o.Rounds)
			f.Idle += one.foot.Idle / float64(o.Rounds)
			f.Written += one.foot.Written / uint64(o.Rounds)
			f.Lost += one.foot.Lost
		}
		c.Footprints = append(c.Footprints, f)
	}
	return c, nil
}

func cost(sensor string, w Work, none, rounds []round) Cost {
	var cpu, ratio, wall, daemon []float64
	for i, r := range rounds {
		base, this := none[i].work[w.Name], r.work[w.Name]
		cpu = append(cpu, float64(this.CPU.Nanoseconds())/1000/float64(w.Ops))
		ratio = append(ratio, float64(this.CPU)/float64(base.CPU))
		wall = append(wall, float64(this.Wall)/float64(base.Wall))
		daemon = append(daemon, float64(r.daemon[w.Name].Nanoseconds())/1000/float64(w.Ops))
	}
	return Cost{sensor, w.Name, median(cpu), median(ratio), median(wall), median(daemon)}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 0 {
		return (s[len(s)/2-1] + s[len(s)/2]) / 2
	}
	return s[len(s)/2]
}

// round starts a sensor, runs the workloads beside it, and stops it.
func (r *rival) round(ctx context.Context, o CompareOptions) (round, error) {
	out := round{work: map[string]WorkResult{}, daemon: map[string]time.Duration{}}
	dir, err := os.MkdirTemp("", "picket-rival-")
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)
	running, err := r.start(ctx, dir)
	if err != nil {
		return out, err
	}
	defer running.stop()
	running.settle(ctx)
	idle := running.cpu()
	began := time.Now()
	select { // measures how much it takes with nothing to do
	case <-ctx.Done():
		return out, ctx.Err()
	case <-time.After(idleSpan):
	}
	out.foot.Idle = 100 * float64(running.cpu()-idle) / float64(time.Since(began))
	for _, w := range Works {
		before := running.cpu()
		res, err := work(ctx, o.Self, w.Name)
		if err != nil {
			return out, err
		}
		running.settle(ctx)
		out.work[w.Name] = res
		out.daemon[w.Name] = running.cpu() - before
		out.foot.CPU += out.daemon[w.Name].Seconds()
		out.foot.RSS = max(out.foot.RSS, running.rss())
	}
	out.foot.Lost = running.lost()
	out.foot.Written = sizeOf(dir)
	if running.written != nil {
		out.foot.Written = running.written()
	}
	return out, nil
}

// work runs one workload in a process of its own.
func work(ctx context.Context, self, name string) (WorkResult, error) {
	var r WorkResult
	b, err := exec.CommandContext(ctx, self, "bench", "work", "--workload", name).Output()
	if err != nil {
		return r, fmt.Errorf("workload %s: %w", name, err)
	}
	return r, json.Unmarshal(b, &r)
}

func sizeOf(dir string) (n uint64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				n += uint64(info.Size())
			}
		}
		return nil
	})
	return n
}

// process is a sensor that runs: its programs and threads of the kernel.
type process struct {
	pids    []int
	kill    func()
	loss    func() uint64
	written func() uint64 // bytes of events; nil: all files of its folder
}

// stop ends it.
func (p *process) stop() {
	if p.kill != nil {
		p.kill()
	}
}

func (p *process) lost() uint64 {
	if p.loss == nil {
		return 0
	}
	return p.loss()
}

// settle waits until it takes no more processor time.
func (p *process) settle(ctx context.Context) {
	if len(p.pids) == 0 {
		return
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	last := p.cpu()
	_ = Poll(wait, 300*time.Millisecond, func() bool {
		now := p.cpu()
		done := now-last < 20*time.Millisecond
		last = now
		return done
	})
}

// cpu is the processor time of all of its processes and their children.
func (p *process) cpu() (sum time.Duration) {
	const tick = 10 * time.Millisecond
	for _, pid := range p.all() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if len(f) < 13 {
			continue
		}
		for _, i := range []int{11, 12} {
			n, err := strconv.ParseInt(f[i], 10, 64)
			if err == nil {
				sum += time.Duration(n) * tick
			}
		}
	}
	return sum
}

func (p *process) rss() (sum uint64) {
	for _, pid := range p.all() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		if f := strings.Fields(string(b)); len(f) > 1 {
			n, err := strconv.ParseUint(f[1], 10, 64)
			if err == nil {
				sum += n * uint64(os.Getpagesize())
			}
		}
	}
	return sum
}

// all are its processes with their descendants.
func (p *process) all() []int {
	out := slices.Clone(p.pids)
	for i := 0; i < len(out); i++ {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", out[i], out[i]))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && !slices.Contains(out, pid) {
				out = append(out, pid)
			}
		}
	}
	return out
}

// program starts a program that lives until it is stopped.
func program(name string, args []string, output *os.File) (*process, error) {
	c := exec.Command(name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.Stdout, c.Stderr = output, output
	if err := c.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		_ = c.Wait()
		close(done)
	}()
	return &process{pids: []int{c.Process.Pid}, kill: func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = c.Process.Kill()
			<-done
		}
	}}, nil
}
