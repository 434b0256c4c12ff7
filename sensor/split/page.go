// SPDX-License-Identifier: Apache-2.0

//go:build linux

package split

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageSize is the size of the shared memory: all systems have pages of at
// least this size, and a larger one is only partly used.
const pageSize = 4096

// page is memory that a collector writes and its agent reads. It outlives the
// collector: what that had accepted when it was killed stays known.
type page struct {
	mem      []byte
	accepted *atomic.Uint64 // rows that went into the queue
	refused  *atomic.Uint64 // rows that found it full
}

// newPageFile makes the memory of one collector. Nobody can make it shorter,
// which would kill whoever looks at it.
func newPageFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("picket-sensor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make shared page: %w", err)
	}
	f := os.NewFile(uintptr(fd), "page")
	err = f.Truncate(pageSize)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make shared page: %w", err), f.Close())
	}
	return f, nil
}

// mapPage makes the memory visible and closes the file.
func mapPage(f *os.File, writable bool) (*page, error) {
	defer f.Close()
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return nil, fmt.Errorf("map shared page: it is not sealed: %w", errors.Join(err, unix.EINVAL))
	}
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, pageSize, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map shared page: %w", err)
	}
	return &page{
		mem:      mem,
		accepted: (*atomic.Uint64)(unsafe.Pointer(&mem[0])),
		refused:  (*atomic.Uint64)(unsafe.Pointer(&mem[8])),
	}, nil
}

// close makes the memory invisible again; it must not be used any more.
func (p *page) close() {
	if p != nil && p.mem != nil {
		_ = unix.Munmap(p.mem) // cannot fail for what Mmap returned
		p.mem = nil
	}
}
