// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// reportIDs gives out the running numbers of events within the boot. Numbers
// are reserved on disk ahead of use, so that none is given out twice when the
// sensor restarts, and drawing one never waits for the disk.
type reportIDs struct {
	next  atomic.Int64 // last number given out
	limit atomic.Int64 // last number reserved
	wake  chan struct{}

	mu    sync.Mutex
	slots *slots
	boot  string
}

// reserveStep is how many numbers one write reserves; half of it is the notice
// that the disk gets.
const reserveStep = 64 << 10

type reservation struct {
	Boot  string `json:"boot"`
	Limit int64  `json:"limit"`
}

func openReportIDs(fs FS, name, boot string) (*reportIDs, error) {
	r := &reportIDs{wake: make(chan struct{}, 1), boot: boot}
	st, payload, err := openSlots(fs, name)
	r.slots = st
	var old reservation
	if payload != nil && json.Unmarshal(payload, &old) == nil && old.Boot == boot {
		r.skip(old.Limit)
	}
	return r, err
}

// skip never gives out numbers up to n again.
func (r *reportIDs) skip(n int64) { r.next.Store(max(r.next.Load(), n)) }

// draw returns the next number and asks for more when they run short.
func (r *reportIDs) draw() int64 {
	n := r.next.Add(1)
	if n+reserveStep/2 > r.limit.Load() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	return n
}

// reserve writes down that numbers up to limit may be in use.
func (r *reportIDs) reserve(limit int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slots == nil {
		return fmt.Errorf("reserve report ids: no file")
	}
	b, err := json.Marshal(reservation{r.boot, limit})
	if err == nil {
		err = r.slots.write(b)
	}
	if err != nil {
		return fmt.Errorf("reserve report ids: %w", err)
	}
	r.limit.Store(limit)
	return nil
}

func (r *reportIDs) extend() error { return r.reserve(r.next.Load() + reserveStep) }

// remake goes on in another file.
func (r *reportIDs) remake(fs FS, name string) error {
	st, _, err := openSlots(fs, name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	old := r.slots
	r.slots = st
	r.mu.Unlock()
	if old != nil {
		err = old.f.Close()
	}
	return errors.Join(err, r.extend())
}

// close gives back what was reserved and not used.
func (r *reportIDs) close() error {
	if r.slots == nil {
		return nil
	}
	err := r.reserve(r.next.Load())
	if cerr := r.slots.f.Close(); err == nil {
		err = cerr
	}
	return err
}
