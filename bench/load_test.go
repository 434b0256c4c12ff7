// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoadDoesWhatItCounts(t *testing.T) {
	queries := 20
	if os.Geteuid() != 0 {
		t.Log("not root: no name server on port 53, so no queries")
		queries = 0
	}
	dir := t.TempDir()
	truth, err := Load{Marker: "picketload", Dir: dir, Processes: 10, Files: 10, Connections: 15, Queries: queries, Parallel: 3}.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if truth.Processes != 10 || truth.Creates != 10 || truth.Renames != 10 || truth.Deletes != 10 || truth.Connections != 15 || truth.Queries != int64(queries) || truth.Answers != int64(queries) {
		t.Errorf("truth is %+v", truth)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
	if !truth.Ended.After(truth.Began) {
		t.Error("the load takes time")
	}
}

func TestLoadStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	truth, err := Load{Marker: "picketload", Dir: t.TempDir(), Processes: 1000}.Run(ctx)
	if err == nil || truth.Processes == 1000 {
		t.Errorf("a cancelled load must stop with an error: %+v, %v", truth, err)
	}
}
