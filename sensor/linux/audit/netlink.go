// SPDX-License-Identifier: Apache-2.0

//go:build linux

package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	groupReadLog = 1       // AUDIT_NLGRP_READLOG as a bit
	buffered     = 4 << 20 // bytes that the kernel keeps for the reader
	headerBytes  = 16
	maxMessage   = 16 << 10
	getStatus    = 1000
	answerWait   = time.Second
)

// Range holds the types from First to Last.
type Range struct{ First, Last uint16 }

// Reader receives the messages of the kernel.
type Reader struct {
	f     *os.File
	types []Range
	lost  func(class string, n uint64)
}

// Open joins the group of listeners for messages of some types.
func Open(types []Range, lost func(class string, n uint64)) (*Reader, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_AUDIT)
	if err != nil {
		return nil, fmt.Errorf("audit socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "audit")
	if err := prepare(fd, types); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Reader{f: f, types: types, lost: lost}, nil
}

// prepare sets what the socket takes before it joins the group, so that
// nothing else ever reaches it.
func prepare(fd int, types []Range) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffered) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffered)
	}
	code := filter(types)
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("filter of the audit socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groupReadLog}); err != nil {
		return fmt.Errorf("join the audit group: %w", err)
	}
	return nil
}

// filter is a program that lets the kernel drop other types: where many rules
// audit, most messages are of no interest here.
func filter(types []Range) []unix.SockFilter {
	code := []unix.SockFilter{ // the type, least byte first, into the accumulator
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 5},
		{Code: unix.BPF_ALU | unix.BPF_LSH | unix.BPF_K, K: 8},
		{Code: unix.BPF_MISC | unix.BPF_TAX},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 4},
		{Code: unix.BPF_ALU | unix.BPF_OR | unix.BPF_X},
	}
	for _, t := range types {
		code = append(code,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: uint32(t.First), Jf: 2},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: uint32(t.Last), Jt: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: maxMessage})
	}
	return append(code, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K})
}

// Close ends the listening.
func (r *Reader) Close() error { return r.f.Close() }

// Run passes on messages until ctx ends.
func (r *Reader) Run(ctx context.Context, tell func(Record)) error {
	defer context.AfterFunc(ctx, func() { _ = r.f.SetReadDeadline(time.Unix(1, 0)) })()
	conn, err := r.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("audit socket: %w", err)
	}
	b := make([]byte, maxMessage)
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		err := conn.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), b, 0)
			return !errors.Is(failed, unix.EAGAIN)
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("audit socket: %w", err)
		case errors.Is(failed, unix.ENOBUFS):
			r.lost("audit.overrun", 1) // the kernel does not say how many
		case errors.Is(failed, unix.EINTR):
		case failed != nil:
			return fmt.Errorf("audit socket: %w", failed)
		default:
			r.message(b[:n], from, tell)
		}
	}
}

// message takes one datagram apart. Only the kernel may send here.
func (r *Reader) message(b []byte, from unix.Sockaddr, tell func(Record)) {
	if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 || len(b) < headerBytes {
		return
	}
	rec, err := Parse(binary.LittleEndian.Uint16(b[4:]), string(b[headerBytes:]))
	if err != nil {
		r.lost("audit.decode", 1)
		return
	}
	tell(rec)
}

// Enabled asks the kernel whether anything audits at all.
func Enabled() (bool, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	if err != nil {
		return false, fmt.Errorf("audit socket: %w", err)
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(int64(answerWait))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return false, fmt.Errorf("audit socket: %w", err)
	}
	ask := make([]byte, headerBytes)
	binary.LittleEndian.PutUint32(ask, headerBytes)
	binary.LittleEndian.PutUint16(ask[4:], getStatus)
	binary.LittleEndian.PutUint16(ask[6:], unix.NLM_F_REQUEST)
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, fmt.Errorf("ask for the audit status: %w", err)
	}
	b := make([]byte, 1024)
	n, _, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return false, fmt.Errorf("audit status: %w", err)
	}
	return status(b[:n])
}

// status reads the kernel's answer: what is set, then whether it is enabled.
func status(b []byte) (bool, error) {
	if len(b) < headerBytes+8 {
		return false, fmt.Errorf("audit status of %d bytes: %w", len(b), syscall.EBADMSG)
	}
	switch binary.LittleEndian.Uint16(b[4:]) {
	case unix.NLMSG_ERROR:
		return false, fmt.Errorf("audit status: %w", syscall.Errno(-int32(binary.LittleEndian.Uint32(b[headerBytes:]))))
	case getStatus:
		return binary.LittleEndian.Uint32(b[headerBytes+4:]) != 0, nil
	}
	return false, fmt.Errorf("audit status: %w", syscall.EBADMSG)
}
