// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

// Kinds of doing things past the system calls that others watch.
var evasionKinds = []Kind{
	{
		Name: "file created by a 32-bit program", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does:  "becomes a 32-bit program that makes a file",
		Do:    func(a *Act) error { return small(a, a.Path("made"), "/none") },
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("made") && r.FileSize == 5 }),
		Rungs: fileRungs,
		Gaps:  besides("calls of 32-bit programs pass other tracepoints"),
	},
	{
		Name: "file deleted by a 32-bit program", Hook: "file", Table: "DeviceFileEvents", Action: "FileDeleted",
		Does: "becomes a 32-bit program that removes a file",
		Do: func(a *Act) error {
			return errors.Join(os.WriteFile(a.Path("gone"), nil, 0o600), small(a, a.Path("made"), a.Path("gone")))
		},
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("gone") }),
		Rungs: fileRungs,
		Gaps:  besides("calls of 32-bit programs pass other tracepoints"),
	},
	{
		Name: "file created by io_uring", Hook: "file", Table: "DeviceFileEvents", Action: "FileCreated",
		Does:  "has a ring open, write and close a file",
		Do:    func(a *Act) error { return withRing(func(r *uring) error { return r.writes(a.Path("made")) }) },
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("made") && r.FileSize == 5 }),
		Rungs: fileRungs,
		Gaps:  besides("a ring makes no system calls"),
	},
	{
		Name: "file deleted by io_uring", Hook: "file", Table: "DeviceFileEvents", Action: "FileDeleted",
		Does: "has a ring remove a file",
		Do: func(a *Act) error {
			return errors.Join(os.WriteFile(a.Path("gone"), nil, 0o600), withRing(func(r *uring) error { return r.removes(a.Path("gone")) }))
		},
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool { return r.FolderPath == a.Path("gone") }),
		Rungs: fileRungs,
		Gaps:  besides("a ring makes no system calls"),
	},
}

// besides are the gaps of rungs at system calls.
func besides(why string) []Gap {
	return []Gap{{Rung: "tracepoint", Why: why}, {Rung: "tracepoint-old", Why: why}}
}

// small turns the process into a 32-bit program of the oldest kind that writes
// five bytes to one file, removes another, and ends.
func small(a *Act, made, gone string) error {
	if err := os.WriteFile(a.Path("small"), smallProgram(made, gone), 0o755); err != nil {
		return err
	}
	return unix.Exec(a.Path("small"), []string{"small"}, nil)
}

// smallProgram is an ELF file for i386, one segment with code and texts.
func smallProgram(made, gone string) []byte {
	const base, head = 0x08048000, 52 + 32
	const codeSize = 3*5 + 5 + 2 + 2 + 3*5 + 2 + 5 + 2 + 2*5 + 2 + 5 + 2 + 2
	texts := []byte("12345\x00" + made + "\x00" + gone + "\x00")
	at := uint32(base + head + codeSize)
	madeAt := at + 6
	goneAt := madeAt + uint32(len(made)) + 1
	var code bytes.Buffer
	set := func(register byte, value uint32) {
		code.WriteByte(register)
		code.Write(binary.LittleEndian.AppendUint32(nil, value))
	}
	const eax, ecx, edx, ebx = 0xb8, 0xb9, 0xba, 0xbb // "set this register"
	call := func() { code.Write([]byte{0xcd, 0x80}) }
	set(eax, 5) // open
	set(ebx, madeAt)
	set(ecx, unix.O_CREAT|unix.O_WRONLY)
	set(edx, 0o600)
	call()
	code.Write([]byte{0x89, 0xc3}) // the descriptor to ebx
	set(eax, 4)                    // write
	set(ecx, at)
	set(edx, 5)
	call()
	set(eax, 6) // close
	call()
	set(eax, 10) // unlink
	set(ebx, goneAt)
	call()
	set(eax, 1)                    // exit
	code.Write([]byte{0x31, 0xdb}) // with 0
	call()
	size := uint32(head + code.Len() + len(texts))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, field := range []any{
		uint16(2), uint16(3), uint32(1), uint32(base + head), uint32(52), uint32(0), uint32(0), // for i386, one program header at 52
		uint16(52), uint16(32), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(0), uint32(base), uint32(base), size, size, uint32(7), uint32(0x1000),
	} {
		_ = binary.Write(&b, binary.LittleEndian, field) // to memory
	}
	b.Write(code.Bytes())
	b.Write(texts)
	return b.Bytes()
}

// uring is a ring of one entry at a time.
type uring struct {
	fd                                     int
	submit, done, entries                  []byte
	tail, mask, array, head, reply, cqMask uint32
}

const (
	opClose, opOpen, opWrite, opUnlink = 19, 18, 23, 36
	entrySize, replySize               = 64, 16
)

// withRing sets a ring up for f.
func withRing(f func(*uring) error) error {
	var params [30]uint32
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return fmt.Errorf("no ring: %w", errno)
	}
	r := &uring{fd: int(fd), tail: params[11], mask: params[12], array: params[16], head: params[20], cqMask: params[22], reply: params[25]}
	defer unix.Close(r.fd)
	for _, m := range []struct {
		to   *[]byte
		at   int64
		size uint32
	}{
		{&r.submit, 0, r.array + params[0]*4}, {&r.done, 0x8000000, r.reply + params[1]*replySize}, {&r.entries, 0x10000000, params[0] * entrySize},
	} {
		b, err := unix.Mmap(r.fd, m.at, int(m.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("map the ring: %w", err)
		}
		defer unix.Munmap(b)
		*m.to = b
	}
	return f(r)
}

func word(b []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[at])) }

// do has one thing done: an operation on a descriptor, with an address.
func (r *uring) do(op byte, fd int32, addr unsafe.Pointer, length, flags uint32) (int32, error) {
	tail := *word(r.submit, r.tail)
	slot := tail & *word(r.submit, r.mask)
	e := r.entries[slot*entrySize : (slot+1)*entrySize]
	clear(e)
	e[0] = op
	binary.LittleEndian.PutUint32(e[4:], uint32(fd))
	binary.LittleEndian.PutUint64(e[16:], uint64(uintptr(addr)))
	binary.LittleEndian.PutUint32(e[24:], length)
	binary.LittleEndian.PutUint32(e[28:], flags)
	*word(r.submit, r.array+slot*4) = slot
	atomic.StoreUint32(word(r.submit, r.tail), tail+1)
	const waitForReply = 1
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 1, waitForReply, 0, 0); errno != 0 {
		return 0, fmt.Errorf("enter the ring: %w", errno)
	}
	head := *word(r.done, r.head)
	result := int32(*word(r.done, r.reply+(head&*word(r.done, r.cqMask))*replySize+8))
	atomic.StoreUint32(word(r.done, r.head), head+1)
	if result < 0 {
		return 0, fmt.Errorf("operation %d: %w", op, unix.Errno(-result))
	}
	return result, nil
}

func (r *uring) writes(path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	fd, err := r.do(opOpen, unix.AT_FDCWD, unsafe.Pointer(name), 0o600, unix.O_CREAT|unix.O_WRONLY)
	if err != nil {
		return err
	}
	text := []byte("12345")
	if _, err := r.do(opWrite, fd, unsafe.Pointer(&text[0]), uint32(len(text)), 0); err != nil {
		return err
	}
	_, err = r.do(opClose, fd, nil, 0, 0)
	return err
}

func (r *uring) removes(path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	_, err = r.do(opUnlink, unix.AT_FDCWD, unsafe.Pointer(name), 0, 0)
	return err
}
