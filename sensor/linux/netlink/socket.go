// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	receiveBuffer = 4 << 20
	maxDatagram   = 64 << 10
)

// Socket receives messages of some multicast groups.
type Socket struct {
	file *os.File
	conn interface {
		Read(f func(fd uintptr) bool) error
	}
	fd int
}

// open subscribes to groups of a family of netlink.
func open(family int, groups ...int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, family)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as is allowed
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, g := range groups {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to netlink: %w", err), unix.Close(fd))
	}
	s := &Socket{file: os.NewFile(uintptr(fd), "netlink"), fd: fd}
	if s.conn, err = s.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

// Close ends a Run.
func (s *Socket) Close() error { return s.file.Close() }

// ask requests a list of the kernel.
func (s *Socket) ask(kind uint16, seq uint32) error {
	b := make([]byte, headerSize+1+3)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(b[8:], seq)
	b[headerSize] = unix.AF_UNSPEC
	if err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask the kernel for a list: %w", err)
	}
	return nil
}

// receive hands over messages until ctx ends. overrun is called when some did
// not find room.
func (s *Socket) receive(ctx context.Context, message func(Message), overrun func() error) error {
	stop := context.AfterFunc(ctx, func() { s.file.Close() })
	defer stop()
	b := make([]byte, maxDatagram)
	for {
		var n int
		var failure error
		err := s.conn.Read(func(fd uintptr) bool {
			n, _, failure = unix.Recvfrom(int(fd), b, 0)
			return !errors.Is(failure, unix.EAGAIN)
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("read netlink: %w", err)
		case errors.Is(failure, unix.EINTR):
			continue
		case errors.Is(failure, unix.ENOBUFS):
			if err := overrun(); err != nil {
				return err
			}
			continue
		case failure != nil:
			return fmt.Errorf("read netlink: %w", failure)
		}
		if !Each(b[:n], message) {
			if err := overrun(); err != nil {
				return err
			}
		}
	}
}
