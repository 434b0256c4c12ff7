// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kernel

import (
	"encoding/binary"
	"testing"
)

func TestSumCounters(t *testing.T) {
	t.Parallel()
	b := make([]byte, 3*len(Classes)*counterSize+7)
	for cpu := range 3 {
		for class := range Classes {
			at := b[(cpu*len(Classes)+class)*counterSize:]
			binary.LittleEndian.PutUint64(at, uint64(class))
			binary.LittleEndian.PutUint64(at[8:], uint64(cpu))
			binary.LittleEndian.PutUint64(at[16:], 1)
			binary.LittleEndian.PutUint64(at[24:], 2)
		}
	}
	for class, n := range sumCounters(b) {
		if want := (Counter{uint64(3 * class), 3, 3, 6}); n != want {
			t.Errorf("class %d: %+v, want %+v", class, n, want)
		}
	}
}
