// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// rings reads both ring buffers without ever blocking in them: their order
// matters, so one goroutine decides which to look at.
type rings struct {
	priority, bulk *ringbuf.Reader
	epoll, event   int
	record         ringbuf.Record
}

func openRings(priority, bulk *ebpf.Map) (*rings, error) {
	r := &rings{epoll: -1, event: -1}
	var err error
	if r.priority, err = ringbuf.NewReader(priority); err != nil {
		return nil, fmt.Errorf("read the priority ring: %w", err)
	}
	if r.bulk, err = ringbuf.NewReader(bulk); err != nil {
		return nil, errors.Join(fmt.Errorf("read the bulk ring: %w", err), r.close())
	}
	past := time.Unix(0, 1)
	r.priority.SetDeadline(past)
	r.bulk.SetDeadline(past)
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if r.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(err, r.close())
	}
	for _, fd := range []int{priority.FD(), bulk.FD(), r.event} {
		if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return nil, errors.Join(fmt.Errorf("watch the rings: %w", err), r.close())
		}
	}
	return r, nil
}

// wait returns when a ring holds something, interrupt was called, or the time
// is up.
func (r *rings) wait(d time.Duration) {
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

// interrupt makes wait return.
func (r *rings) interrupt() {
	_, _ = unix.Write(r.event, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full means that it is already set
}

// takeBulk removes up to n records from the bulk ring.
func (r *rings) takeBulk(n int) [][]byte {
	var batch [][]byte
	for len(batch) < n && r.bulk.ReadInto(&r.record) == nil {
		batch = append(batch, slices.Clone(r.record.RawSample))
	}
	return batch
}

// eachPriority empties the priority ring.
func (r *rings) eachPriority(f func([]byte)) int {
	n := 0
	for n < maxInARound && r.priority.ReadInto(&r.record) == nil {
		f(r.record.RawSample)
		n++
	}
	return n
}

func (r *rings) close() error {
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
