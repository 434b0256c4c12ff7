// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/picket-edr/picket/event"
)

// world is a spool, a server that keeps what it is sent, and the truth.
type world struct {
	t  *rapid.T
	fs *memFS
	s  *Spool

	boots  int
	n      int             // rows made
	kept   map[string]bool // rows that Append took; false: taken and synced since
	unsure map[string]bool // rows in an Append that a kill cut short
	lost   uint64          // rows that Append refused

	durable  map[string]uint64
	hashes   map[string]event.Hash
	received map[string]bool
	told     uint64
	prompt   bool // every batch is acknowledged before anything else happens
}

func newWorld(t *rapid.T, prompt bool) *world {
	w := &world{
		t: t, fs: newMemFS(), kept: map[string]bool{}, unsure: map[string]bool{},
		durable: map[string]uint64{}, hashes: map[string]event.Hash{}, received: map[string]bool{}, prompt: prompt,
	}
	w.boots = 1
	w.open()
	return w
}

func (w *world) boot() string { return fmt.Sprintf("boot-%d", w.boots) }

func (w *world) open() {
	o := options(w.fs, w.boot())
	o.Limit = MinLimit
	s, err := Open(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.s = s
}

// batch makes rows of a class, small or fat.
func (w *world) batch(c Class) ([]string, []*event.Block) {
	var b event.Builder
	var names []string
	size := rapid.SampledFrom([]int{10, 1000, 90_000}).Draw(w.t, "size")
	noise := make([]byte, size)
	x := uint32(w.n*2654435761 + 1)
	for i := range noise {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		noise[i] = 'a' + byte(x%26)
	}
	for range rapid.IntRange(1, 3).Draw(w.t, "rows") {
		w.n++
		r := row(w.s, c, w.n)
		switch r := r.(type) {
		case *event.DeviceFileEvents:
			r.AdditionalFields = string(noise)
		case *event.DeviceProcessEvents:
			r.ProcessCommandLine = string(noise)
		}
		names = append(names, fmt.Sprint("row-", w.n))
		b.Add(r)
	}
	return names, b.Take()
}

func (w *world) append(*rapid.T) {
	c := Class(rapid.IntRange(0, int(classes)-1).Draw(w.t, "class"))
	names, blocks := w.batch(c)
	switch err := w.s.Append(c, blocks); {
	case err == nil:
		for _, n := range names {
			w.kept[n] = true
		}
	case errors.Is(err, ErrFull):
		w.lost += uint64(len(names))
	default:
		w.t.Fatal(err)
	}
}

func (w *world) send(*rapid.T) {
	for range rapid.IntRange(1, 20).Draw(w.t, "batches") {
		b, ok := w.s.Next()
		if !ok {
			return
		}
		w.receive(b)
		if w.prompt {
			w.s.Ack(b.Boot, b.Seq)
		}
	}
}

// receive is the server: it takes each number of a boot once and in order.
func (w *world) receive(b Batch) {
	d, err := event.Decode(b.Payload, event.DefaultLimits)
	if err != nil {
		w.t.Fatalf("batch %s/%d: %v", b.Boot, b.Seq, err)
	}
	if d.BootID != b.Boot || d.Seq != b.Seq {
		w.t.Fatalf("batch %s/%d says it is %s/%d", b.Boot, b.Seq, d.BootID, d.Seq)
	}
	if b.Seq <= w.durable[b.Boot] {
		return
	}
	if b.Seq == w.durable[b.Boot]+1 && d.Prev != w.hashes[b.Boot] {
		w.t.Fatalf("batch %s/%d does not continue the chain", b.Boot, b.Seq)
	}
	w.durable[b.Boot], w.hashes[b.Boot] = b.Seq, event.HashOf(b.Payload)
	for _, n := range told(w.t, []Batch{b}) {
		w.told += n
	}
	for _, blk := range d.Blocks {
		for i := range blk.Rows {
			if blk.Text("ActionType", i) == "SensorLoss" {
				continue
			}
			name := blk.Text("FileName", i)
			if w.received[name] {
				w.t.Fatalf("%s arrived twice", name)
			}
			w.received[name] = true
		}
	}
}

func (w *world) ack(*rapid.T) {
	for boot, seq := range w.durable {
		w.s.Ack(boot, seq)
	}
}

func (w *world) rewind(*rapid.T) { w.s.Rewind() }
func (w *world) tell(*rapid.T)   { w.s.TellLosses() }
func (w *world) sync(*rapid.T) {
	if w.s.Sync() == nil {
		for n := range w.kept {
			w.kept[n] = false
		}
	}
}
func (w *world) kill(*rapid.T) { w.open() }
func (w *world) stop(*rapid.T) {
	if err := w.s.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}
func (w *world) reboot(*rapid.T) {
	if rapid.Bool().Draw(w.t, "in order") {
		if err := w.s.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	w.boots++
	w.open()
}

func (w *world) space(*rapid.T) {
	w.fs.budget = -1
	if rapid.Bool().Draw(w.t, "scarce") {
		w.fs.budget = w.fs.used() + int64(rapid.IntRange(0, 200_000).Draw(w.t, "free"))
	}
}

// killDuring kills the sensor at one of the calls that an operation makes.
func (w *world) killDuring(*rapid.T) {
	calls := rapid.IntRange(0, 8).Draw(w.t, "calls")
	errKilled := errors.New("killed")
	w.fs.fail = func(string, string) error {
		if calls--; calls < 0 {
			return errKilled
		}
		return nil
	}
	if rapid.Bool().Draw(w.t, "telling") {
		w.s.TellLosses()
	} else {
		c := Class(rapid.IntRange(0, int(classes)-1).Draw(w.t, "class"))
		names, blocks := w.batch(c)
		if err := w.s.Append(c, blocks); err == nil || calls < 0 {
			for _, n := range names {
				w.unsure[n] = true
			}
		} else {
			w.lost += uint64(len(names))
		}
	}
	w.fs.fail = nil
	w.open()
}

func (w *world) cutPower(*rapid.T) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(w.t, "chance"), 0))
	w.fs.cutPower(r.IntN)
	for n, unsynced := range w.kept {
		if unsynced {
			delete(w.kept, n)
			w.unsure[n] = true
		}
	}
	w.boots++
	w.open()
}

// finish sends all that is left and compares with the truth.
func (w *world) finish() (missing, missingSynced, missingUnsure uint64) {
	w.fs.budget = -1
	w.s.TellLosses()
	w.s.Rewind()
	for {
		b, ok := w.s.Next()
		if !ok {
			break
		}
		w.receive(b)
		w.s.Ack(b.Boot, b.Seq)
	}
	if p := w.s.Rewind(); p.First != p.Next {
		w.t.Fatalf("not empty after all was acknowledged: %+v", p)
	}
	for n, unsynced := range w.kept {
		if !w.received[n] {
			missing++
			if !unsynced {
				missingSynced++
			}
		}
	}
	for n := range w.unsure {
		if !w.received[n] {
			missingUnsure++
		}
	}
	return missing, missingSynced, missingUnsure
}

// TestEveryRowArrivesOrIsCounted: whatever happens short of losing power, each
// row is received once or is in the account of losses that the server got.
func TestEveryRowArrivesOrIsCounted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, true)
		t.Repeat(map[string]func(*rapid.T){
			"append": w.append, "append again": w.append, "append more": w.append, "send": w.send, "tell": w.tell, "sync": w.sync,
			"rewind": w.rewind, "kill": w.kill, "kill during": w.killDuring, "stop": w.stop, "reboot": w.reboot, "space": w.space,
		})
		missing, _, unsure := w.finish()
		if w.told < missing+w.lost || w.told > missing+w.lost+unsure {
			t.Fatalf("%d rows missing, %d refused, %d uncertain, server was told of %d", missing, w.lost, unsure, w.told)
		}
	})
}

// TestLateAcknowledgements: when acknowledgements come late, rows given up on
// their way may be counted although they arrived, never the other way round.
func TestLateAcknowledgements(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, false)
		t.Repeat(map[string]func(*rapid.T){
			"append": w.append, "append more": w.append, "send": w.send, "ack": w.ack, "tell": w.tell,
			"rewind": w.rewind, "kill": w.kill, "kill during": w.killDuring, "stop": w.stop, "reboot": w.reboot, "space": w.space,
		})
		missing, _, _ := w.finish()
		if w.told < missing+w.lost {
			t.Fatalf("%d rows missing, %d refused, server was told of %d", missing, w.lost, w.told)
		}
	})
}

// TestPowerCut: rows that were synced arrive or are counted; nothing arrives
// twice and the spool always opens.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, true)
		t.Repeat(map[string]func(*rapid.T){
			"append": w.append, "append more": w.append, "send": w.send, "tell": w.tell, "sync": w.sync, "sync again": w.sync,
			"kill": w.kill, "stop": w.stop, "cut power": w.cutPower, "space": w.space,
		})
		_, synced, _ := w.finish()
		if w.told < synced {
			t.Fatalf("%d synced rows missing, server was told of %d", synced, w.told)
		}
	})
}
