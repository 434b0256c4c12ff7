// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/rule/sigma"
)

var update = flag.Bool("update", false, "rewrite golden files")

// trace reads recorded telemetry: one row a line, an empty line ends a batch.
// Batches come out by device in the order in which they were sent.
func trace(t testing.TB, name string) []delivery {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var out []delivery
	seq := map[string]uint64{}
	for _, part := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
		builders := map[string]*event.Builder{}
		var last event.Time
		for _, line := range strings.Split(part, "\n") {
			var rec struct {
				Device, Table string
				Row           json.RawMessage
			}
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				t.Fatal(err)
			}
			row := event.NewRow(rec.Table)
			d := json.NewDecoder(bytes.NewReader(rec.Row))
			d.DisallowUnknownFields()
			if err := d.Decode(row); err != nil {
				t.Fatal(err)
			}
			if builders[rec.Device] == nil {
				builders[rec.Device] = &event.Builder{}
			}
			builders[rec.Device].Add(row)
			var head struct{ Timestamp event.Time }
			if err := json.Unmarshal(rec.Row, &head); err != nil {
				t.Fatal(err)
			}
			last = max(last, head.Timestamp)
		}
		var devices []string
		for d := range builders {
			devices = append(devices, d)
		}
		sort.Strings(devices)
		for _, d := range devices {
			seq[d]++
			out = append(out, delivery{
				event.Envelope{Tenant: "default", DeviceID: d, DeviceName: d + ".example.org", Received: last + 500_000, BootID: "boot-" + d, Seq: seq[d]},
				&event.Batch{BootID: "boot-" + d, Seq: seq[d], Created: last, Blocks: builders[d].Take()},
			})
		}
	}
	return out
}

type delivery struct {
	env   event.Envelope
	batch *event.Batch
}

func replay(t testing.TB) []picket.Alert {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	rules, failed := sigma.Parse("rules.yml", data, sigma.Options{})
	if len(failed) > 0 {
		t.Fatal(failed)
	}
	o := options()
	o.Clock = func() time.Time { return time.Date(2025, 3, 4, 12, 0, 0, 0, time.UTC) }
	e, err := New(rules, o)
	if err != nil {
		t.Fatal(err)
	}
	var alerts []picket.Alert
	for _, d := range trace(t, "trace.jsonl") {
		// As it travels: encoded and decoded again.
		payload, err := d.batch.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := event.Decode(payload, event.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		alerts = append(alerts, feed(t, e, d.env, b)...)
	}
	return alerts
}

// TestReplay holds the alerts of a recorded intrusion to what they were.
func TestReplay(t *testing.T) {
	t.Parallel()
	got, err := json.MarshalIndent(replay(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden := filepath.Join("testdata", "alerts.golden.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("alerts changed; run with -update if that is meant:\n%s", d)
	}
	if d := cmp.Diff(replay(t), replay(t)); d != "" {
		t.Errorf("two replays differ:\n%s", d)
	}
}
