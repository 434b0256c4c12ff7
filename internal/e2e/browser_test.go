// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket/bench"
)

// script runs a browser script of the portal and returns what it found.
func script(t *testing.T, s *bench.Server, name string, env ...string) []byte {
	t.Helper()
	if _, err := os.Stat("/usr/bin/chromium"); err != nil {
		t.Skip("Chromium is not installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "e2e/"+name)
	cmd.Dir = filepath.Join(root, "web")
	cmd.Env = append(os.Environ(), "PORTAL=http://"+s.Portal, "PASSWORD="+s.Password, "SCREENSHOTS="+screenshots(t))
	cmd.Env = append(cmd.Env, env...)
	var errs bench.Output
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, errs.Tail(4000))
	}
	return out
}

// screenshots is where scripts put pictures: kept when PICKET_SCREENSHOTS
// names a folder.
func screenshots(t *testing.T) string {
	if dir := os.Getenv("PICKET_SCREENSHOTS"); dir != "" {
		return dir
	}
	return t.TempDir()
}

// device waits for the first device and returns its id.
func device(t *testing.T, s *bench.Server) string {
	t.Helper()
	var page struct{ Items []struct{ ID, Health string } }
	eventually(t, 60*time.Second, "the host appears as an active device", func() bool {
		get(t, s, "/api/portal/devices", &page)
		return len(page.Items) == 1 && page.Items[0].Health == "Active"
	})
	return page.Items[0].ID
}

// TestDetectionInTheBrowser is the promise of the first start: the printed
// command raises an alert that is on the screen at once, with its story.
func TestDetectionInTheBrowser(t *testing.T) {
	need(t, true)
	s := start(t, "--local-sensor", program(t, "picket-sensor"))
	device(t, s)
	var setup struct {
		Steps struct {
			Sensor, DetectionTest struct{ Complete bool }
		}
	}
	eventually(t, 30*time.Second, "the sensor's step is complete", func() bool {
		get(t, s, "/api/portal/setup", &setup)
		return setup.Steps.Sensor.Complete
	})
	if err := s.Call(context.Background(), http.MethodPut, "/api/portal/setup", map[string]any{"organisation": "Example", "retentionDays": 90, "done": true}, nil); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Runs     int
		P50      float64 `json:"p50_ms"`
		P95      float64 `json:"p95_ms"`
		Tree     []string
		Problems []string
	}
	command := s.Said.Line("detection test: ")
	if err := json.Unmarshal(script(t, s, "detection.mjs", "COMMAND="+command), &got); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d runs: alert on the screen after %.0f ms (median), %.0f ms (95 %%)", got.Runs, got.P50, got.P95)
	if got.Runs != 20 {
		t.Errorf("%d runs", got.Runs)
	}
	tree := strings.Join(got.Tree, "\n")
	for _, name := range []string{"dash", "picket-detection-test", "e2e.test"} { // the shells, their arguments, and who ran them
		if !strings.Contains(tree, name) {
			t.Errorf("the process tree does not show %s:\n%s", name, tree)
		}
	}
	if len(got.Problems) > 0 {
		t.Errorf("on the browser's console: %q", got.Problems)
	}
	get(t, s, "/api/portal/setup", &setup)
	if !setup.Steps.DetectionTest.Complete {
		t.Error("the detection test's step is not complete")
	}
}
