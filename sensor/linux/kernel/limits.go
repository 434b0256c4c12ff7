// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kernel

import (
	"fmt"
	"time"
)

// Limit is how much of a class may be told. The zero value is no limit.
type Limit struct {
	PerSecond, Burst       uint32 // of one process
	AllPerSecond, AllBurst uint32 // of the host
	Off                    bool   // nothing is told
}

// kernelLimit is struct limit of bpf/picket.h.
type kernelLimit struct {
	Interval, Allowance       uint64
	AllInterval, AllAllowance uint64
	Off, Pad                  uint32
}

func (l Limit) kernel() kernelLimit {
	bucket := func(perSecond, burst uint32) (interval, allowance uint64) {
		if perSecond == 0 {
			return 0, 0
		}
		interval = uint64(time.Second) / uint64(perSecond)
		return interval, interval * uint64(burst)
	}
	var k kernelLimit
	k.Interval, k.Allowance = bucket(l.PerSecond, l.Burst)
	k.AllInterval, k.AllAllowance = bucket(l.AllPerSecond, l.AllBurst)
	if l.Off {
		k.Off = 1
	}
	return k
}

// SetLimits puts limits in force, by the name of the class. Classes that are
// not named have none.
func (k *Kernel) SetLimits(limits map[string]Limit) error {
	if k == nil || k.maps["limits"] == nil {
		return nil
	}
	for i, class := range Classes {
		if err := k.maps["limits"].Put(uint32(i), limits[class.Name].kernel()); err != nil {
			return fmt.Errorf("limit %s: %w", class.Name, err)
		}
	}
	return nil
}

// Bucket names what a limit counts: one class of events of one process, or of
// all when PID is 0.
type Bucket struct {
	Start uint64 // of the process, boot clock, ns
	PID   uint32
	Class uint32
}

// Limited returns how many events of each process were left out since the
// bucket came to be. Buckets that nobody uses are forgotten.
func (k *Kernel) Limited() map[Bucket]uint64 {
	out := map[Bucket]uint64{}
	if k == nil || k.maps["buckets"] == nil {
		return out
	}
	var key Bucket
	var value struct{ Due, Limited uint64 }
	for it := k.maps["buckets"].Iterate(); it.Next(&key, &value); {
		if value.Limited > 0 {
			out[key] = value.Limited
		}
	}
	return out
}
