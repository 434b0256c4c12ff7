// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Problems lists what a round on a kernel shows to be otherwise than the table
// claims. The kernel of a host that is none of those tested has no name.
func (r Report) Problems(kernel string) []string {
	var out []string
	if r.Error != "" {
		out = append(out, r.Round+": "+r.Error)
	}
	for _, h := range r.Hooks {
		lacking := lacks(kernel, h.Kind, r.Rungs[h.Kind])
		if kernel != "" && !h.Attached && h.Error != "" && !lacking {
			out = append(out, fmt.Sprintf("%s: hook %s: %s", r.Round, h.Kind, h.Error))
		}
		if kernel != "" && h.Attached && lacking {
			out = append(out, fmt.Sprintf("%s: hook %s: %s works, although it is said to be lacking", r.Round, h.Kind, h.Rung))
		}
	}
	add := func(res Result, what string) {
		out = append(out, fmt.Sprintf("%s: %s by %s: %s", r.Round, res.Kind, res.Rung, what))
	}
	for _, res := range r.Results {
		i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == res.Kind })
		if i < 0 {
			add(res, "not in the table")
			continue
		}
		want, why := Kinds[i].claimed(kernel, res.Rung)
		switch {
		case res.Error != "":
			add(res, res.Error)
		case kernel != "" && res.Rung == "off":
			if !lacks(kernel, Kinds[i].Hook, r.Rungs[Kinds[i].Hook]) {
				add(res, "no rung works")
			}
		case want && !res.Seen:
			add(res, "not seen")
		case !want && res.Seen && why != "":
			add(res, "seen, although: "+why)
		case !want && res.Seen:
			add(res, "seen, but not claimed")
		}
	}
	return out
}

// String is the matrix of a round, a line for each kind.
func (r Report) String() string {
	var b strings.Builder
	seen := 0
	for _, res := range r.Results {
		mark := "-"
		if res.Seen {
			mark = "seen"
			seen++
		}
		fmt.Fprintf(&b, "%-32s %-12s %-5s %v\n", res.Kind, res.Rung, mark, res.Row)
	}
	fmt.Fprintf(&b, "round %s: %d of %d seen in %v; lost %v\n", r.Round, seen, len(r.Results), r.Took.Round(time.Millisecond), r.Lost)
	return b.String()
}
