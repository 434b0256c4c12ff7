// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kernel

import "testing"

func TestLimitInKernelTerms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   Limit
		want kernelLimit
	}{
		{Limit{}, kernelLimit{}},
		{Limit{Off: true}, kernelLimit{Off: 1}},
		{Limit{PerSecond: 1000, Burst: 50}, kernelLimit{Interval: 1e6, Allowance: 50e6}},
		{Limit{AllPerSecond: 10, AllBurst: 2, Burst: 7}, kernelLimit{AllInterval: 1e8, AllAllowance: 2e8}},
	} {
		if got := c.in.kernel(); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.in, got, c.want)
		}
	}
	if err := (*Kernel)(nil).SetLimits(map[string]Limit{"ring.file": {Off: true}}); err != nil {
		t.Error(err)
	}
	if n := (*Kernel)(nil).Limited(); len(n) != 0 {
		t.Error(n)
	}
}
