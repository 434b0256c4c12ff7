// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Rings reads both ring buffers without ever blocking in them: their order
// matters, so one goroutine decides which to look at.
type Rings struct {
	priority, bulk *ringbuf.Reader
	epoll, event   int
	record         ringbuf.Record
}

// Rings opens the ring buffers; there are none when no program was loaded.
func (k *Kernel) Rings() (*Rings, error) {
	if k.maps["bulk"] == nil {
		return nil, fmt.Errorf("no ring buffer: %w", ebpf.ErrNotSupported)
	}
	return openRings(k.maps["priority"], k.maps["bulk"])
}

func openRings(priority, bulk *ebpf.Map) (*Rings, error) {
	r := &Rings{epoll: -1, event: -1}
	var err error
	if r.priority, err = ringbuf.NewReader(priority); err != nil {
		return nil, fmt.Errorf("read the priority ring: %w", err)
	}
	if r.bulk, err = ringbuf.NewReader(bulk); err != nil {
		return nil, errors.Join(fmt.Errorf("read the bulk ring: %w", err), r.Close())
	}
	past := time.Unix(0, 1)
	r.priority.SetDeadline(past)
	r.bulk.SetDeadline(past)
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if r.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	for _, fd := range []int{priority.FD(), bulk.FD(), r.event} {
		if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return nil, errors.Join(fmt.Errorf("watch the rings: %w", err), r.Close())
		}
	}
	return r, nil
}

// Wait returns when a ring holds something, interrupt was called, or the time
// is up.
func (r *Rings) Wait(d time.Duration) {
	var events [3]unix.EpollEvent
	n, err := unix.EpollWait(r.epoll, events[:], int(d/time.Millisecond))
	if err != nil {
		return // interrupted by a signal: look anyway
	}
	for _, e := range events[:n] {
		if int(e.Fd) == r.event {
			var b [8]byte
			_, _ = unix.Read(r.event, b[:]) // only resets it
		}
	}
}

// Interrupt makes wait return.
func (r *Rings) Interrupt() {
	_, _ = unix.Write(r.event, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full means that it is already set
}

// TakeBulk removes up to n records from the bulk ring.
func (r *Rings) TakeBulk(n int) [][]byte {
	var batch [][]byte
	for len(batch) < n && r.bulk.ReadInto(&r.record) == nil {
		batch = append(batch, slices.Clone(r.record.RawSample))
	}
	return batch
}

// maxAtOnce bounds what is taken from the priority ring before the bulk ring is
// looked at again.
const maxAtOnce = 1 << 16

// EachPriority empties the priority ring.
func (r *Rings) EachPriority(f func([]byte)) int {
	n := 0
	for n < maxAtOnce && r.priority.ReadInto(&r.record) == nil {
		f(r.record.RawSample)
		n++
	}
	return n
}

// Close lets go of the rings.
func (r *Rings) Close() error {
	var errs []error
	for _, reader := range []*ringbuf.Reader{r.priority, r.bulk} {
		if reader != nil {
			errs = append(errs, reader.Close())
		}
	}
	for _, fd := range []int{r.epoll, r.event} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}
