// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
)

// writeForever publishes batches of several devices at once, trims now and
// then, and prints each acknowledged number, until it is killed.
func writeForever(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	b, err := Open(ctx, Options{Dir: dir, MaxBytes: 1 << 30})
	if err != nil {
		fail(err)
	}
	for d := range writers {
		go func() {
			device := fmt.Sprint("d", d)
			last, err := b.Last(ctx, "a", device)
			for n := last.Seq + 1; err == nil; n++ {
				e := &event.Envelope{Tenant: "a", DeviceID: device, BootID: "boot", Seq: n, Payload: []byte(strings.Repeat("x", 500))}
				if last, err = b.Publish(ctx, e, last); err == nil {
					fmt.Printf("%d %d\n", d, n)
				}
			}
			fail(err)
		}()
	}
	for n := 0; ; n++ {
		st, err := b.State(ctx, "a")
		if err == nil && st.Last > st.First+400 {
			err = b.Trim(ctx, "a", st.Last-300)
		}
		if err != nil {
			fail(err)
		}
	}
}

const writers = 4

// TestKill kills a writing process at eight moments. What it acknowledged is
// there, in order and once; what was trimmed is remembered.
func TestKill(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	var acked [writers]uint64
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PICKET_BUS_WRITER="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(out)
		lines := 0
		for sc.Scan() {
			var d int
			var n uint64
			if _, err := fmt.Sscan(sc.Text(), &d, &n); err == nil {
				if n != acked[d]+1 && n != acked[d]+2 { // one may be durable whose line was lost
					t.Errorf("device %d goes on at %d after %d", d, n, acked[d])
				}
				acked[d] = n
			}
			if lines++; lines == 150+round*97 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("round %d ended with %v", round, err)
		}
	}
	b := open(t, Options{Dir: dir, MaxBytes: 1 << 30})
	st, err := b.State(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	var next [writers]uint64
	for _, m := range read(t, b, "a", st.First-1, int(st.Last+1-st.First)) {
		var d int
		if _, err := fmt.Sscanf(m.Envelope.DeviceID, "d%d", &d); err != nil {
			t.Fatal(err)
		}
		if next[d] != 0 && m.Envelope.Seq != next[d] {
			t.Fatalf("device %d: batch %d where %d is due", d, m.Envelope.Seq, next[d])
		}
		next[d] = m.Envelope.Seq + 1
	}
	for d, n := range acked {
		last, err := b.Last(context.Background(), "a", fmt.Sprint("d", d))
		if err != nil || last.Seq < n || last.Seq > n+1 || (next[d] != 0 && next[d] != last.Seq+1) {
			t.Errorf("device %d: %d acknowledged, at %d, stream ends before %d, %v", d, n, last.Seq, next[d], err)
		}
	}
	t.Logf("acknowledged %v, stream %d to %d", acked, st.First, st.Last)
}

func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			bus := open(b, Options{Dir: b.TempDir(), MaxBytes: 8 << 30})
			b.SetBytes(int64(size))
			payload := strings.Repeat("x", size)
			w := newWriter(b, bus, "a", "d")
			for b.Loop() {
				w.put(w.last.Seq+1, payload)
			}
		})
	}
}
