// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

// writerEnv makes the test binary the writer that TestKill kills.
const writerEnv = "PICKET_STATE_WRITER"

// writeUntilKilled appends to the audit log and says so after each entry.
func writeUntilKilled(dir string) {
	ctx := context.Background()
	db, err := state.Open(ctx, state.Options{URL: "sqlite:" + filepath.Join(dir, "state.db")})
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		e, err := db.AppendAudit(ctx, ours, picket.AuditEntry{Time: now, Actor: "writer", Action: "write", Outcome: picket.AuditSuccess})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Seq)
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := state.Open(t.Context(), state.Options{URL: "sqlite:" + filepath.Join(dir, "state.db")})
	ok(t, err)
	ok(t, db.CreateTenant(t.Context(), picket.Tenant{ID: ours, Name: "Ours", Retention: picket.MinRetention, Created: now}))
	ok(t, db.Close())
	acknowledged := int64(0)
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		ok(t, err)
		ok(t, cmd.Start())
		sc := bufio.NewScanner(out)
		for n := 0; sc.Scan(); n++ {
			seq, err := strconv.ParseInt(sc.Text(), 10, 64)
			if err != nil {
				t.Fatalf("writer says %q", sc.Text())
			}
			acknowledged = seq
			if n == 20+7*round {
				ok(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer was not killed")
		}
		check(t, dir, acknowledged)
	}
}

// check opens what a killed writer left.
func check(t *testing.T, dir string, acknowledged int64) {
	t.Helper()
	db, err := state.Open(t.Context(), state.Options{URL: "sqlite:" + filepath.Join(dir, "state.db")})
	ok(t, err)
	defer db.Close()
	var report picket.AuditReport
	r, w := pipe(func(w *os.File) error { return db.ExportAudit(t.Context(), ours, w) })
	report, err = picket.VerifyAudit(r)
	ok(t, err)
	ok(t, <-w)
	if report.Last < acknowledged || report.Last > acknowledged+1 {
		t.Errorf("%d entries acknowledged, %d there", acknowledged, report.Last)
	}
}

// pipe runs a writer against a reader.
func pipe(write func(*os.File) error) (*os.File, chan error) {
	done := make(chan error, 1)
	r, w, err := os.Pipe()
	if err != nil {
		done <- err
		return nil, done
	}
	go func() {
		err := write(w)
		w.Close()
		done <- err
	}()
	return r, done
}
