// SPDX-License-Identifier: Apache-2.0

//go:build unix && !race

package detect

import (
	"testing"

	"github.com/picket-edr/picket/content"
)

// TestMissAllocatesNothing: rows on which nothing fires cost no memory once the
// engine is warm.
func TestMissAllocatesNothing(t *testing.T) {
	rules, err := content.Rules()
	if err != nil {
		t.Fatal(err)
	}
	const rows = 3000
	batch := ordinary(rows)
	e := engine(t, rules...)
	env := envelope("d")
	run := func() {
		alerts, err := e.Feed(env, batch)
		if err != nil || len(alerts) > 0 {
			t.Fatalf("%d alerts, %v", len(alerts), err)
		}
	}
	run()
	if n := testing.AllocsPerRun(5, run); n > 20 { // per batch, not per row
		t.Errorf("%.0f allocations for %d rows", n, rows)
	}
}
