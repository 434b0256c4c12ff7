// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/picket-edr/picket/bench"
)

// kills is how often something is killed.
const kills = 50

// load makes processes, files and connections until stop is called, which
// returns what was done.
func load(t *testing.T, marker string, pause time.Duration) (stop func() bench.Truth) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan bench.Truth, 1)
	go func() {
		truth, _ := bench.Load{Marker: marker, Dir: t.TempDir(), Processes: 1 << 30, Files: 1 << 30, Connections: 1 << 30, Pause: pause}.Run(ctx)
		done <- truth
	}()
	return func() bench.Truth {
		cancel()
		return <-done
	}
}

// TestKills kills the whole sensor, one of its processes, the server or both
// fifty times at random moments under load. In the end no acknowledged batch may be missing, none may be there
// twice, and every gap must be known.
func TestKills(t *testing.T) {
	need(t, true)
	s := start(t)
	a := enrolled(t, s, s.Gateway)
	a.start()
	a.connected()
	stop := load(t, "kill-load", 4*time.Millisecond)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range kills {
		wait := time.NewTimer(time.Duration(100+rng.IntN(700)) * time.Millisecond)
		<-wait.C
		if rng.IntN(4) == 0 {
			a.killChild(rng.IntN)
			continue
		}
		which := rng.IntN(3)
		if which != 0 {
			a.signal(syscall.SIGKILL)
		}
		if which != 1 {
			if err := s.Kill(); err != nil {
				t.Fatalf("kill %d: %v", i, err)
			}
			run(t, s)
		}
		if which != 0 {
			a.start()
		}
	}
	truth := stop()
	a.connected()
	last(t, s, a)
	a.signal(syscall.SIGTERM)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	h := open(t, s)
	h.whole()
	starts := h.number(`SELECT count(DISTINCT "ProcessUniqueId") FROM events WHERE "ActionType" = 'ProcessCreated' AND "ProcessCommandLine" LIKE '%kill-load-%'`)
	if starts > truth.Processes || starts == 0 {
		t.Errorf("%d processes were started, %d are stored", truth.Processes, starts)
	}
	if n := h.number(`SELECT count(*) FROM events WHERE "ActionType" = 'SensorStarted' AND "AdditionalFields" LIKE '%unclean%'`); n == 0 {
		t.Error("no start of the sensor tells that the run before was killed")
	}
	t.Logf("%d kills; %d of %d processes of the load are stored (the others ran while the sensor was dead or were in its memory)", kills, starts, truth.Processes)
}
