// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"testing"

	"github.com/picket-edr/picket/event"
)

func TestDeviceIsDeterministicAndChained(t *testing.T) {
	a, b := NewDevice(7, 1764000000000000), NewDevice(7, 1764000000000000)
	var prev event.Hash
	for i := range 5 {
		_, one, err := a.Batch(200)
		if err != nil {
			t.Fatal(err)
		}
		_, two, err := b.Batch(200)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Fatalf("batch %d differs", i)
		}
		got, err := event.Decode(one, event.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if got.Seq != uint64(i+1) || got.Prev != prev || got.Rows() < 200 {
			t.Errorf("batch %d: number %d, %d rows, chained %v", i, got.Seq, got.Rows(), got.Prev == prev)
		}
		prev = event.HashOf(one)
	}
}
