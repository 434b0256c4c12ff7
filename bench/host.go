// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/picket-edr/picket"
)

// HostOptions name the programs that measurements on this host run.
type HostOptions struct {
	Server  string // path of picketd
	Sensor  string // path of picket-sensor
	Events  int    // how much to do
	through *relay // between sensor and server; nil: nothing
}

// host is a server and a sensor of this host, in folders of their own.
type host struct {
	server *Server
	sensor *exec.Cmd
	data   string // of the sensor
	dirs   []string
}

// startHost runs both and waits until the sensor collects. It needs root.
func startHost(ctx context.Context, o HostOptions) (*host, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("the sensor of this host needs root: %w", picket.Denied)
	}
	h := &host{}
	for range 2 {
		dir, err := os.MkdirTemp("", "picket-bench-")
		if err != nil {
			return nil, err
		}
		h.dirs = append(h.dirs, dir)
	}
	var err error
	if h.server, err = NewServer(o.Server, h.dirs[0]); err != nil {
		return nil, err
	}
	if err := h.server.Start(ctx); err != nil {
		return nil, err
	}
	token, err := h.server.EnrolmentToken(ctx, 1)
	if err != nil {
		return nil, err
	}
	h.data = filepath.Join(h.dirs[1], "sensor")
	enrol := exec.CommandContext(ctx, o.Sensor, "--data", h.data, "enrol", "--server", o.gateway(h.server.Gateway))
	enrol.Env = append(os.Environ(), "PICKET_TOKEN="+token)
	if out, err := enrol.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("enrol: %w: %s", err, out)
	}
	h.sensor = exec.Command(o.Sensor, "--data", h.data, "run")
	h.sensor.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.sensor.Start(); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	return h, Poll(wait, 50*time.Millisecond, func() bool {
		st, err := h.status(o.Sensor)
		return err == nil && st.Connected && st.Rung != "" && st.Rung != "off"
	})
}

// hostStatus is what is read of "picket-sensor status --json".
type hostStatus struct {
	Connected bool              `json:"connected"`
	Rung      string            `json:"rung"`
	Events    map[string]uint64 `json:"events"`
	Lost      map[string]uint64 `json:"lost"`
	RSS       int64             `json:"rss_bytes"`
	Spool     int64             `json:"spool_bytes"`
}

func (h *host) status(program string) (s hostStatus, err error) {
	out, err := exec.Command(program, "--data", h.data, "status", "--json").Output()
	var code *exec.ExitError
	if err != nil && !(errors.As(err, &code) && code.ExitCode() == 1) {
		return s, err
	}
	return s, json.Unmarshal(out, &s)
}

// stop ends both and returns what the sensor used.
func (h *host) stop() (used *os.ProcessState) {
	if h.sensor != nil && h.sensor.Process != nil {
		_ = h.sensor.Process.Signal(syscall.SIGTERM)
		_ = h.sensor.Wait()
		used = h.sensor.ProcessState
	}
	if h.server != nil {
		_ = h.server.Stop()
	}
	for _, d := range h.dirs {
		os.RemoveAll(d)
	}
	return used
}

func events(s hostStatus) (n int64) {
	for _, x := range s.Events {
		n += int64(x)
	}
	return n
}

// Sensor measures what the sensor of this host costs under a load of
// processes, files and connections: events it made, processor time, memory,
// and what it lost.
func Sensor(ctx context.Context, o HostOptions) (Result, error) {
	r := Result{Name: "sensor"}
	h, err := startHost(ctx, o)
	if h != nil {
		defer h.stop()
	}
	if err != nil {
		return r, err
	}
	before, err := h.status(o.Sensor)
	if err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp("", "picket-load-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	if _, err := (Load{Marker: "bench-sensor", Dir: dir, Processes: o.Events / 6, Files: o.Events / 6, Connections: o.Events / 12, Parallel: 2}).Run(ctx); err != nil {
		return r, err
	}
	r.Seconds = time.Since(began).Seconds()
	var after hostStatus
	last := int64(-1)
	settle, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := Poll(settle, time.Second, func() bool { // until nothing more comes
		if after, err = h.status(o.Sensor); err != nil {
			return false
		}
		n := events(after)
		done := n-last < 50
		last = n
		return done
	}); err != nil {
		return r, err
	}
	r.Events, r.RSS = events(after)-events(before), after.RSS
	for class, n := range after.Lost {
		if !strings.HasPrefix(class, "hash.") { // the event is there, only without a hash
			r.Lost += int64(n)
		}
	}
	r.rate()
	if used := h.stop(); used != nil {
		r.CPUSeconds = (used.UserTime() + used.SystemTime()).Seconds()
	}
	h.sensor, h.server, h.dirs = nil, nil, nil
	return r, nil
}

// EndToEnd measures the time from the start of the detection test on this host
// until its alert is in the queue, as the REST API tells.
func EndToEnd(ctx context.Context, o HostOptions, command string) (Result, error) {
	r := Result{Name: "e2e"}
	h, err := startHost(ctx, o)
	if h != nil {
		defer h.stop()
	}
	if err != nil {
		return r, err
	}
	var took []time.Duration
	began := time.Now()
	for range o.Events {
		before, err := h.alerts(ctx)
		if err != nil {
			return r, err
		}
		at := time.Now()
		cmd := exec.CommandContext(ctx, "bash", "-c", command)
		if err := cmd.Start(); err != nil {
			return r, err
		}
		wait, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = Poll(wait, 5*time.Millisecond, func() bool {
			n, err := h.alerts(ctx)
			return err == nil && n > before
		})
		cancel()
		took = append(took, time.Since(at))
		_ = cmd.Wait()
		if err != nil {
			return r, fmt.Errorf("the alert does not appear: %w", err)
		}
	}
	r.Events, r.Seconds = int64(o.Events), time.Since(began).Seconds()
	r.rate()
	r.percentiles(took)
	return r, nil
}

func (h *host) alerts(ctx context.Context) (int64, error) {
	var page struct{ Total int64 }
	err := h.server.Call(ctx, http.MethodGet, "/api/portal/alerts?limit=1", nil, &page)
	return page.Total, err
}
