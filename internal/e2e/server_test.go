// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picket-edr/picket/bench"
)

const root = "../.."

// need skips a test when the conditions for end-to-end tests are not met.
func need(t *testing.T, asRoot bool) {
	t.Helper()
	if os.Getenv("PICKET_E2E") == "" {
		t.Skip("end-to-end tests run with make e2e (PICKET_E2E=1, built programs)")
	}
	if asRoot && os.Geteuid() != 0 {
		t.Skip("the sensor of this host needs root")
	}
}

// program is the path of a built program.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs a server on an empty data directory until the test ends.
func start(t *testing.T, args ...string) *bench.Server {
	t.Helper()
	s, err := bench.NewServer(program(t, "picketd"), t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", s.Said.Tail(6000))
		}
	})
	return s
}

func run(t *testing.T, s *bench.Server) {
	t.Helper()
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok, and fails the test when that takes too long.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if bench.Poll(ctx, 50*time.Millisecond, ok) != nil {
		t.Fatalf("after %v it is not so that %s", limit, what)
	}
}

// get reads from the REST API.
func get(t *testing.T, s *bench.Server, path string, answer any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Call(ctx, http.MethodGet, path, nil, answer); err != nil {
		t.Fatal(err)
	}
}
