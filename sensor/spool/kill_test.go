// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/picket-edr/picket/event"
)

// childDir names the spool in the environment of a child process.
const childDir = "PICKET_TEST_SPOOL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, appendForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// appendForEver fills a spool and prints the report id of each row that it
// holds, until it is killed.
func appendForEver(dir string) error {
	s, err := Open(Options{Dir: dir, BootID: boot1, SyncEvery: 2e6, Limit: 64 << 20})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		var b event.Builder
		id := s.NextReportID()
		c := Class(n % int(classes))
		b.Add(&event.DeviceFileEvents{ActionType: "FileModified", ReportId: id, FileName: fmt.Sprint(id), FolderPath: fmt.Sprintf("/%0*d", n%4000, n)})
		if err := s.Append(c, b.Take()); err != nil {
			return err
		}
		fmt.Println(id) // one write to a pipe: what is printed was appended
	}
}

// TestKilledProcess kills a process that appends, at random moments, and
// expects everything that it said to have appended, once and in one chain.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	claimed := map[string]bool{}
	seen := map[string]bool{}
	var last uint64
	var prev event.Hash
	for round := range 25 {
		for _, id := range killedRun(t, dir, rand.IntN(400)) {
			if claimed[id] {
				t.Fatalf("round %d: report id %s again", round, id)
			}
			claimed[id] = true
		}
		s := open(t, Options{Dir: dir, BootID: boot1, SyncEvery: -1, Limit: 64 << 20})
		if r := s.Recovery(); !r.Unclean || r.Damaged != 0 {
			t.Errorf("round %d: %+v", round, r)
		}
		s.Rewind()
		for {
			b, ok := s.Next()
			if !ok {
				break
			}
			d, err := event.Decode(b.Payload, event.DefaultLimits)
			must(t, err)
			if b.Seq <= last {
				t.Fatalf("round %d: batch %d after %d was acknowledged", round, b.Seq, last)
			}
			if b.Seq != last+1 || d.Prev != prev {
				t.Fatalf("round %d: batch %d after %d, chain holds: %v", round, b.Seq, last, d.Prev == prev)
			}
			last, prev = b.Seq, event.HashOf(b.Payload)
			for _, blk := range d.Blocks {
				for i := range blk.Rows {
					id := blk.Text("FileName", i)
					if seen[id] {
						t.Fatalf("round %d: row %s twice", round, id)
					}
					seen[id] = true
				}
			}
			s.Ack(b.Boot, b.Seq)
		}
		if len(s.Stats().Lost) != 0 {
			t.Errorf("round %d: lost %v", round, s.Stats().Lost)
		}
		if round%2 == 0 {
			must(t, s.Close())
		} else {
			must(t, s.closeFiles()) // as a killed run leaves it, but for the files
		}
	}
	for id := range claimed {
		if !seen[id] {
			t.Errorf("row %s was appended and is gone", id)
		}
	}
	if len(claimed) == 0 {
		t.Error("no rows at all")
	}
}

// killedRun runs a child until it has printed n lines, kills it, and returns
// all that it printed.
func killedRun(t *testing.T, dir string, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var ids []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if ids = append(ids, lines.Text()); len(ids) == n+1 {
			must(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("child ended by itself: %v", err)
	}
	return ids
}
