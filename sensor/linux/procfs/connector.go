// SPDX-License-Identifier: Apache-2.0

//go:build linux

package procfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

// Kinds of event, from linux/cn_proc.h.
const (
	forked   = 0x1
	executed = 0x2
	changedU = 0x4
	changedG = 0x40
	traced   = 0x100
	renamed  = 0x200
	exited   = 0x80000000
)

const (
	eventHeader   = 16 + 20 + 16 // netlink, connector, event
	listen        = 1            // PROC_CN_MCAST_LISTEN
	receiveBuffer = 16 << 20
	maxStarts     = 1 << 17
)

// Connector receives the kernel's messages about processes. It learns of an
// event after it happened and reads the rest from /proc, so a process that ends
// at once keeps its secrets. What it loses it knows: messages are numbered.
type Connector struct {
	file   *os.File
	conn   syscallConn
	proc   *FS
	offset int64 // ns from the monotonic to the boot clock
	next   map[uint32]uint32
	starts map[uint32]uint64
	lost   func(n uint64)
}

type syscallConn interface {
	Read(f func(fd uintptr) bool) error
}

// OpenConnector subscribes to the kernel's messages. It fails where the kernel has no
// connector, and outside of the first network and process-id namespace. lost
// is told of messages that did not arrive.
func OpenConnector(proc *FS, lost func(n uint64)) (*Connector, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("open the process connector: %w", err)
	}
	if err := subscribe(fd); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to process events: %w", err), unix.Close(fd))
	}
	c := &Connector{file: os.NewFile(uintptr(fd), "process connector"), proc: proc, next: map[uint32]uint32{}, starts: map[uint32]uint64{}, lost: lost}
	if c.conn, err = c.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, c.file.Close())
	}
	c.offset = offset()
	return c, nil
}

func subscribe(fd int) error {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil { // CN_IDX_PROC
		return err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as is allowed
	}
	b := make([]byte, 16+20+4)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint32(b[12:], uint32(os.Getpid()))
	binary.NativeEndian.PutUint32(b[16:], 1) // CN_IDX_PROC
	binary.NativeEndian.PutUint32(b[20:], 1) // CN_VAL_PROC
	binary.NativeEndian.PutUint16(b[32:], 4)
	binary.NativeEndian.PutUint32(b[36:], listen)
	return unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// offset is how far the boot clock is ahead of the monotonic one: the time
// that the host has slept.
func offset() int64 {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	return boot.Nano() - mono.Nano()
}

// Run hands records to emit until ctx ends.
func (c *Connector) Run(ctx context.Context, emit func(any) bool) error {
	stop := context.AfterFunc(ctx, func() { c.file.Close() })
	defer stop()
	for pid, start := range c.running() {
		c.starts[pid] = start
	}
	b := make([]byte, 8192)
	for {
		var n int
		var failure error
		err := c.conn.Read(func(fd uintptr) bool {
			n, _, failure = unix.Recvfrom(int(fd), b, 0)
			return !errors.Is(failure, unix.EAGAIN)
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("read process events: %w", err)
		case errors.Is(failure, unix.ENOBUFS), errors.Is(failure, unix.EINTR):
			continue // the numbers of the messages that come will tell how many are missing
		case failure != nil:
			return fmt.Errorf("read process events: %w", failure)
		}
		c.message(b[:n], emit)
	}
}

func (c *Connector) running() map[uint32]uint64 {
	out := map[uint32]uint64{}
	for _, pid := range c.proc.PIDs() {
		if start, ok := c.proc.Start(pid); ok {
			out[pid] = start
		}
	}
	return out
}

// message turns the bytes of one datagram into records.
func (c *Connector) message(b []byte, emit func(any) bool) {
	if len(b) < eventHeader {
		return
	}
	u32 := func(at int) uint32 {
		if at+4 > len(b) {
			return 0
		}
		return binary.NativeEndian.Uint32(b[at:])
	}
	what, cpu := u32(36), u32(40)
	if what == 0 {
		return // the answer to our subscription
	}
	c.count(cpu, u32(24))
	e := event{what: what, at: uint64(int64(binary.NativeEndian.Uint64(b[44:])) + c.offset)}
	for i := range e.data {
		e.data[i] = u32(eventHeader + 4*i)
	}
	c.handle(&e, emit)
}

// count compares the number of a message with the one that is due on its
// processor.
func (c *Connector) count(cpu, seq uint32) {
	if next, ok := c.next[cpu]; ok && seq != next {
		if gap := seq - next; gap < 1<<31 {
			c.lost(uint64(gap))
		}
	}
	c.next[cpu] = seq + 1
}

type event struct {
	what uint32
	at   uint64 // boot clock
	data [6]uint32
}

func (c *Connector) handle(e *event, emit func(any) bool) {
	tgid := e.data[1]
	switch e.what {
	case forked:
		if child := e.data[3]; e.data[2] == child {
			emit(&record.Fork{Header: c.header(tgid, e.at), ChildPID: child, ChildStart: c.start(child, e.at)})
		}
	case executed:
		r, ok := c.proc.Exec(tgid, e.at)
		if !ok {
			r = &record.Exec{Header: c.header(tgid, e.at)}
			r.Flags |= record.FlagUnreadable | record.FlagVanished
		} else {
			c.starts[tgid] = r.Start
		}
		emit(r)
	case changedU, changedG:
		const unknown = ^uint64(0) // by which call, and what was before
		kind := record.SetUID
		if e.what == changedG {
			kind = record.SetGID
		}
		if h, _, ok := c.proc.Header(tgid, e.at); ok {
			h.TID = e.data[0]
			emit(&record.Action{Header: h, Kind: kind, Args: [6]uint64{unknown, unknown, unknown}})
		}
	case traced:
		if tracer := e.data[3]; tracer != 0 {
			emit(&record.Action{Header: c.header(tracer, e.at), Kind: record.Ptrace, Args: [6]uint64{unix.PTRACE_ATTACH},
				TargetPID: tgid, TargetStart: c.starts[tgid]})
		}
	case exited:
		if e.data[0] == tgid {
			h := c.header(tgid, e.at)
			delete(c.starts, tgid)
			emit(&record.Exit{Header: h, Code: e.data[2]})
		}
	}
}

// header names a process by what is remembered of it.
func (c *Connector) header(pid uint32, at uint64) record.Header {
	h := record.Header{Time: at, PID: pid, TID: pid, Start: c.starts[pid], Flags: record.FlagNoTask}
	return h
}

// start is when a new process began: as /proc tells, or, when it has ended
// already, when the kernel told of it.
func (c *Connector) start(pid uint32, at uint64) uint64 {
	start, ok := c.proc.Start(pid)
	if !ok {
		start = at / tickNs * tickNs
	}
	if len(c.starts) < maxStarts {
		c.starts[pid] = start
	}
	return start
}

// Close ends the subscription.
func (c *Connector) Close() error { return c.file.Close() }
