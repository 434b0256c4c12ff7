// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestAutomaton compares the automaton with looking for each literal alone.
func TestAutomaton(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SliceOfN(rapid.SampledFrom([]byte("ab/\xff")), 1, 5)
		literals := []string{}
		for _, w := range rapid.SliceOfN(word, 1, 8).Draw(t, "literals") {
			if !slices.Contains(literals, string(w)) {
				literals = append(literals, string(w))
			}
		}
		text := rapid.SliceOfN(rapid.SampledFrom([]byte("ab/x\xff")), 0, 30).Draw(t, "text")
		got := newAutomaton(literals).scan(text, nil)
		var want []int32
		for i := range text {
			for id, l := range literals {
				if bytes.HasSuffix(text[:i+1], []byte(l)) {
					want = append(want, int32(id))
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%q in %q:\n%s", literals, text, d)
		}
	})
}

func TestAutomatonAllBytes(t *testing.T) {
	t.Parallel()
	var literals []string
	for b := range 256 {
		literals = append(literals, string([]byte{byte(b)}))
	}
	a := newAutomaton(literals)
	for b := range 256 {
		if got := a.scan([]byte{byte(b)}, nil); !slices.Equal(got, []int32{int32(b)}) {
			t.Fatalf("byte %d: %v", b, got)
		}
	}
}
