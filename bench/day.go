// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Habit is something that hosts do in normal use, and how often a day.
type Habit struct {
	Name string
	Need []string // programs; one that is missing is left out
	Idle int      // times a day on a server that nobody uses
	Busy int      // times a day on one that is worked on
	do   func(ctx context.Context, dir string) error
}

// Habits are the parts of a day. Every day has in addition its 1,440 minutes
// in which nothing of this happens.
var Habits = []Habit{
	{"cron job", []string{"sh", "find"}, 150, 150, shell("for i in 1 2 3; do test -x /usr/sbin/anacron || find . -maxdepth 1 -name '*.log' -mtime +7 -delete; done; date > last-run")},
	{"log rotation", []string{"sh", "gzip"}, 1, 2, shell("for i in 1 2 3 4 5 6; do echo line > log$i; mv log$i log$i.1; gzip -f log$i.1; done")},
	{"package installed", []string{"dpkg", "dpkg-deb"}, 0, 20, func(ctx context.Context, dir string) error { return workPackage(ctx, dir, 1) }},
	{"package lists read", []string{"apt-cache"}, 2, 10, shell("apt-cache policy bash coreutils > /dev/null; dpkg -l > /dev/null")},
	{"build of ten files", []string{"gcc"}, 0, 60, func(ctx context.Context, dir string) error { return workBuild(ctx, dir, 10) }},
	{"git commit", []string{"git"}, 0, 80, shell("git init -q . && for i in 1 2 3; do echo $i > f$i; done && git add . && git -c user.name=n -c user.email=n@example.com commit -qm x && git log > /dev/null && git status > /dev/null")},
	{"database of 200 transactions", []string{"python3"}, 0, 200, shell(`python3 -c "
import sqlite3
c = sqlite3.connect('db')
c.execute('create table if not exists t (a int, b text)')
for i in range(200):
    c.execute('insert into t values (?, ?)', (i, 'x' * 100)); c.commit()
c.execute('select count(*) from t')
"`)},
	{"page in a browser", []string{"chromium"}, 0, 60, shell("echo '<h1>x</h1>' > page.html; chromium --headless --no-sandbox --disable-gpu --user-data-dir=$PWD/profile --dump-dom file://$PWD/page.html > /dev/null 2>&1")},
	{"login with ten commands", []string{"bash", "grep"}, 2, 40, shell("bash -lc 'ls -l / > /dev/null; ps > /dev/null; cat /etc/passwd > /dev/null; grep -r root /etc/pam.d > /dev/null; df > /dev/null; id; uptime; who; date; true' > /dev/null 2>&1")},
	{"fifty web requests", nil, 0, 100, func(ctx context.Context, dir string) error { return workConnect(ctx, dir, 50) }},
}

func shell(script string) func(context.Context, string) error {
	return func(ctx context.Context, dir string) error {
		c := exec.CommandContext(ctx, "sh", "-c", script)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
}

// HabitCost is what one time of a habit makes.
type HabitCost struct {
	Name   string            `json:"name"`
	Events map[string]uint64 `json:"events"` // by table
	Wire   float64           `json:"wire_bytes"`
	Idle   int               `json:"idle_a_day"`
	Busy   int               `json:"busy_a_day"`
}

// Day is what a sensor sends in a day, put together from its parts.
type Day struct {
	Habits     []HabitCost `json:"habits"` // the first is a minute of nothing
	IdleWire   float64     `json:"idle_wire_bytes"`
	BusyWire   float64     `json:"busy_wire_bytes"`
	IdleEvents uint64      `json:"idle_events"`
	BusyEvents uint64      `json:"busy_events"`
	Lost       int64       `json:"lost"`
}

const (
	habitTimes  = 3 // each is done so often and the mean is taken
	minutesADay = 24 * 60
)

// DayOptions say how a day is measured.
type DayOptions struct {
	HostOptions
	Quiet time.Duration // of nothing, from which a minute of it is worked out
	Log   func(format string, args ...any)
}

// MeasureDay does what hosts do in normal use and counts the events of each
// part and the bytes that really go over the connection, both ways, TLS
// included.
func MeasureDay(ctx context.Context, o DayOptions) (Day, error) {
	var day Day
	wire, err := listenRelay()
	if err != nil {
		return day, err
	}
	defer wire.close()
	o.through = wire
	h, err := startHost(ctx, o.HostOptions)
	if h != nil {
		defer h.stop()
	}
	if err != nil {
		return day, err
	}
	o.Log("quiet for %v", o.Quiet)
	quiet, err := h.cost(ctx, o, wire, func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(o.Quiet):
			return nil
		}
	})
	if err != nil {
		return day, err
	}
	quiet.Name, quiet.Idle, quiet.Busy = "a minute of nothing", minutesADay, minutesADay
	quiet.scale(o.Quiet.Minutes())
	day.Habits = append(day.Habits, quiet)
	for _, habit := range Habits {
		if missing := missingOf(habit.Need); missing != "" {
			o.Log("%s: %s is not installed: left out", habit.Name, missing)
			continue
		}
		o.Log("%s", habit.Name)
		c, err := h.cost(ctx, o, wire, func() error { return times(ctx, habit) })
		if err != nil {
			return day, fmt.Errorf("%s: %w", habit.Name, err)
		}
		c.Name, c.Idle, c.Busy = habit.Name, habit.Idle, habit.Busy
		c.scale(habitTimes)
		day.Habits = append(day.Habits, c)
	}
	day.sum()
	s, err := h.status(o.Sensor)
	for class, n := range s.Lost {
		if !strings.HasPrefix(class, "hash.") {
			day.Lost += int64(n)
		}
	}
	return day, err
}

func missingOf(programs []string) string {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return p
		}
	}
	return ""
}

// times does a habit some times, each in a fresh folder.
func times(ctx context.Context, habit Habit) error {
	for range habitTimes {
		dir, err := os.MkdirTemp("", "picket-day-")
		if err != nil {
			return err
		}
		err = habit.do(ctx, dir)
		os.RemoveAll(dir)
		if err != nil {
			return err
		}
	}
	return nil
}

// cost measures what the sensor makes of something, until nothing more comes.
func (h *host) cost(ctx context.Context, o DayOptions, w *relay, do func() error) (c HabitCost, err error) {
	if err := h.settle(ctx, o.Sensor); err != nil {
		return c, err
	}
	before, err := h.status(o.Sensor)
	if err != nil {
		return c, err
	}
	bytes := w.bytes.Load()
	if err := do(); err != nil {
		return c, err
	}
	if err := h.settle(ctx, o.Sensor); err != nil {
		return c, err
	}
	after, err := h.status(o.Sensor)
	if err != nil {
		return c, err
	}
	c.Events = map[string]uint64{}
	for table, n := range after.Events {
		if d := n - before.Events[table]; d > 0 {
			c.Events[table] = d
		}
	}
	c.Wire = float64(w.bytes.Load() - bytes)
	return c, nil
}

// settle waits until the events of what was done have been made and sent.
func (h *host) settle(ctx context.Context, program string) error {
	wait, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	last := int64(-1)
	var failure error
	err := Poll(wait, 700*time.Millisecond, func() bool {
		s, err := h.status(program)
		if err != nil {
			failure = err
			return true
		}
		n := events(s)
		done := n-last < 20
		last = n
		return done
	})
	return errors.Join(err, failure)
}

func (c *HabitCost) scale(by float64) {
	c.Wire /= by
	for table, n := range c.Events {
		c.Events[table] = uint64(float64(n)/by + 0.5)
	}
}

// sum puts the day together.
func (d *Day) sum() {
	for _, h := range d.Habits {
		var n uint64
		for _, table := range slices.Sorted(maps.Keys(h.Events)) {
			n += h.Events[table]
		}
		d.IdleWire += float64(h.Idle) * h.Wire
		d.BusyWire += float64(h.Busy) * h.Wire
		d.IdleEvents += uint64(h.Idle) * n
		d.BusyEvents += uint64(h.Busy) * n
	}
}

// relay passes connections on and counts their bytes.
type relay struct {
	net.Listener
	to    atomic.Pointer[string]
	bytes atomic.Int64
}

func listenRelay() (*relay, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &relay{Listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.pass(c)
		}
	}()
	return w, nil
}

func (w *relay) close() { w.Listener.Close() }

func (w *relay) pass(c net.Conn) {
	defer c.Close()
	to := w.to.Load()
	if to == nil {
		return
	}
	s, err := net.Dial("tcp4", *to)
	if err != nil {
		return
	}
	defer s.Close()
	go func() {
		defer s.Close()
		w.copy(s, c)
	}()
	w.copy(c, s)
}

func (w *relay) copy(to io.Writer, from io.Reader) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		w.bytes.Add(int64(n))
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// gateway is the address that the sensor is given for a server.
func (o HostOptions) gateway(real string) string {
	if o.through == nil {
		return real
	}
	o.through.to.Store(&real)
	return o.through.Addr().String()
}
