// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picket-edr/picket/bench"
)

// agent is one picket-sensor process with its own data folder.
type agent struct {
	t       *testing.T
	program string
	data    string
	said    bench.Output
	cmd     *exec.Cmd
	exited  chan struct{}
}

// enrolled makes a sensor with an identity at a gateway's address.
func enrolled(t *testing.T, s *bench.Server, gateway string) *agent {
	t.Helper()
	a := &agent{t: t, program: program(t, "picket-sensor"), data: t.TempDir()}
	token, err := s.EnrolmentToken(context.Background(), 1)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(a.program, "--data", a.data, "enrol", "--server", gateway)
	cmd.Env = append(os.Environ(), "PICKET_TOKEN="+token)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("enrol: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		a.signal(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the sensor said:\n%s", a.said.Tail(4000))
		}
	})
	return a
}

// start runs the sensor.
func (a *agent) start() {
	a.t.Helper()
	cmd := exec.Command(a.program, "--data", a.data, "run")
	cmd.Stdout, cmd.Stderr = &a.said, &a.said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	exited := make(chan struct{})
	a.cmd, a.exited = cmd, exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
}

// children returns the processes that the sensor's supervisor started.
func (a *agent) children() []int {
	var pids []int
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", a.cmd.Process.Pid))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// killChild kills the collector or the agent, whichever pick chooses.
func (a *agent) killChild(pick func(n int) int) {
	if pids := a.children(); len(pids) > 0 {
		_ = syscall.Kill(pids[pick(len(pids))], syscall.SIGKILL)
	}
}

// signal ends the sensor and waits for its end. SIGKILL is for all of its
// processes.
func (a *agent) signal(sig os.Signal) {
	if a.cmd == nil {
		return
	}
	if sig == syscall.SIGKILL {
		for _, pid := range a.children() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = a.cmd.Process.Signal(sig)
	select {
	case <-a.exited:
	case <-time.After(30 * time.Second):
		a.t.Error("the sensor does not stop")
		_ = a.cmd.Process.Kill()
		<-a.exited
	}
	a.cmd = nil
}

// sensorStatus is what the tests read of "picket-sensor status --json".
type sensorStatus struct {
	DeviceID   string            `json:"device_id"`
	Connected  bool              `json:"connected"`
	Rung       string            `json:"rung"`
	Events     map[string]uint64 `json:"events"`
	Lost       map[string]uint64 `json:"lost"`
	SpoolBytes int64             `json:"spool_bytes"`
	Processes  []struct {
		Role string `json:"role"`
		PID  int    `json:"pid"`
	} `json:"processes"`
	Usage struct {
		Limited map[string]uint64 `json:"limited"` // left out by a limit, and told of in summaries
	} `json:"usage"`
}

// collector is the process that reads the kernel.
func (s sensorStatus) collector() int {
	for _, p := range s.Processes {
		if p.Role == "collector" {
			return p.PID
		}
	}
	return 0
}

func (a *agent) status() (sensorStatus, error) {
	var s sensorStatus
	out, err := exec.Command(a.program, "--data", a.data, "status", "--json").Output()
	var code *exec.ExitError
	if err != nil && !(errors.As(err, &code) && code.ExitCode() == 1) { // 1: there are problems, such as no connection
		return s, err
	}
	return s, json.Unmarshal(out, &s)
}

// connected waits until the sensor has a stream and collects.
func (a *agent) connected() sensorStatus {
	a.t.Helper()
	var s sensorStatus
	eventually(a.t, 60*time.Second, "the sensor is connected and collects", func() bool {
		var err error
		s, err = a.status()
		return err == nil && s.Connected && s.Rung != "" && s.Rung != "off"
	})
	return s
}
