// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package record holds what the sensor's sources on Linux tell of the host:
// one type for each kind of record, the same whoever made it, the decoder of
// the bytes that the kernel programs write (layouts in bpf/picket.h), and what
// the numbers of an action mean. It reads nothing and knows no kernel.
package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// Kinds of record, as in bpf/picket.h.
const (
	TypeExec = iota + 1
	TypeFork
	TypeExit
	TypeFile
	TypePathOp
	TypeNet
	TypeDNS
	TypeFlow
	TypeTask
	TypeAction
	TypeLine
	TypePayload
	TypeSummary
	TypeStream
)

// Flags of a record.
const (
	FlagPathCut = 1 << iota
	FlagArgsCut
	FlagEnvCut
	FlagUnreadable
	FlagNameless
	FlagNoTask
	FlagVanished // ended before a source without programs could look at it; never set by the kernel
)

// Flags of a file that was open for writing.
const (
	FileCreated = 1 << iota
	FileTruncated
	FileAppend
	FileWriteOnly
	FileReported
	FileStillOpen
	FileHeld
)

// Operations on names.
const (
	OpUnlink = iota + 1
	OpRename
	OpLink
	OpSymlink
	OpTruncate
)

// Outcomes on the network.
const (
	NetConnected = iota + 1
	NetFailed
	NetAccepted
	NetListen
	NetClosed
)

// Directions of a name-service message.
const (
	DNSQuery = iota + 1
	DNSAnswer
)

const (
	HeaderSize = 96                   // bytes of a Header in the ring
	TaskSize   = HeaderSize + 48 + 48 // bytes of a Task in the ring
	Unset      = 0xffffffff           // an id that was never given
	maxRecord  = 64 << 10
)

var (
	ErrShort   = errors.New("record ends early")
	ErrUnknown = errors.New("record of an unknown kind")
)

// header begins every record: which process, when.
type Header struct {
	Type, Flags         uint16
	Len                 uint32
	Time                uint64 // boot clock, ns
	Start, ParentStart  uint64
	CPU, PID, TID, PPID uint32
	UID, EUID           uint32
	GID, EGID           uint32
	LoginUID, Audit     uint32
	SID, NetNS          uint32
	Comm                string
}

// TaskPart is what only a start or a walk over all processes tells.
type TaskPart struct {
	Caps, CgroupID             uint64
	MntNS, PidNS, NetNS, UsrNS uint32
	TTY                        string
}

// ImagePart identifies the content of a file.
type ImagePart struct {
	Ino, Size                        uint64
	CtimeSec                         int64
	CtimeNsec, Dev, Mode, Nlink, Sup uint32
	UID                              uint32
}

type Exec struct {
	Header
	Task                 TaskPart
	Image                ImagePart
	Exe, Cwd, Cgroup     string
	Args, Env            []byte // NUL after each
	ArgsTotal, EnvTotal  uint32
	ExeNameless, PathCut bool
}

type Fork struct {
	Header
	ChildStart uint64
	ChildPID   uint32
}

type Exit struct {
	Header
	UserNs, SystemNs, RunNs uint64
	Code                    uint32
	NeverExec               bool
	CodeUnknown             bool // by a source that is not told how a process ended
}

type File struct {
	Header
	OpenedAt, OpenerStart uint64
	OpenerPID, FD         uint32
	SizeAtOpen            int64
	MtimeSec              int64
	MtimeNsec, FileFlags  uint32
	InoAtOpen             uint64
	Image                 ImagePart
	Pos, Key              uint64
	Held                  bool
	Path                  string
}

type PathOp struct {
	Header
	Op, Arg            uint32
	Base, Name         string
	BaseNew, NameNew   string
	IncompleteBaseName bool
}

type Net struct {
	Header
	Op, Error     uint32
	Protocol      uint16
	Local, Remote netip.AddrPort
}

type DNS struct {
	Header
	Direction     uint16
	Local, Remote netip.AddrPort
	Payload       []byte
	Total         uint32
}

type Task struct {
	Header
	Task  TaskPart
	Image ImagePart
}

// cursor reads fields one after the other and remembers whether the bytes
// were enough, so that decoders need one check at their end.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.short = true
		c.b = nil
		return make([]byte, min(max(n, 0), maxRecord))
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u16() uint16 { return binary.LittleEndian.Uint16(c.take(2)) }
func (c *cursor) u32() uint32 { return binary.LittleEndian.Uint32(c.take(4)) }
func (c *cursor) u64() uint64 { return binary.LittleEndian.Uint64(c.take(8)) }

// text reads n bytes up to the first NUL.
func (c *cursor) text(n int) string {
	b := c.take(n)
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return Clean(string(b))
}

// tail reads n bytes that follow the fixed part; n comes from the record and
// is checked against what is there.
func (c *cursor) tail(n uint32) []byte {
	if int64(n) > int64(len(c.b)) {
		c.short = true
		return nil
	}
	return c.take(int(n))
}

func (c *cursor) header() (h Header) {
	h.Type, h.Flags, h.Len = c.u16(), c.u16(), c.u32()
	h.Time, h.Start, h.ParentStart = c.u64(), c.u64(), c.u64()
	h.CPU, h.PID, h.TID, h.PPID = c.u32(), c.u32(), c.u32(), c.u32()
	h.UID, h.EUID, h.GID, h.EGID = c.u32(), c.u32(), c.u32(), c.u32()
	h.LoginUID, h.Audit, h.SID, h.NetNS = c.u32(), c.u32(), c.u32(), c.u32()
	h.Comm = c.text(16)
	return h
}

func (c *cursor) task() (t TaskPart) {
	t.Caps, t.CgroupID = c.u64(), c.u64()
	t.MntNS, t.PidNS, t.NetNS, t.UsrNS = c.u32(), c.u32(), c.u32(), c.u32()
	t.TTY = c.text(16)
	return t
}

func (c *cursor) image() (i ImagePart) {
	i.Ino, i.Size = c.u64(), c.u64()
	i.CtimeSec = int64(c.u64())
	i.CtimeNsec, i.Dev, i.Mode, i.Nlink, i.Sup, i.UID = c.u32(), c.u32(), c.u32(), c.u32(), c.u32(), c.u32()
	return i
}

func (c *cursor) err() error {
	if c.short {
		return ErrShort
	}
	return nil
}

// Decode turns the bytes of one ring record into its typed form. The result
// shares no memory with b.
func Decode(b []byte) (any, error) {
	if len(b) < HeaderSize {
		return nil, ErrShort
	}
	c := &cursor{b: b}
	h := c.header()
	// A ring pads and reserves whole sizes: the record says how much counts.
	if int64(h.Len) < HeaderSize || int64(h.Len) > int64(len(b)) {
		return nil, ErrShort
	}
	c.b = b[HeaderSize:h.Len]
	switch h.Type {
	case TypeExec:
		return decodeExec(c, h)
	case TypeFork:
		r := &Fork{Header: h, ChildStart: c.u64(), ChildPID: c.u32()}
		return r, c.err()
	case TypeExit:
		r := &Exit{Header: h, UserNs: c.u64(), SystemNs: c.u64(), RunNs: c.u64(), Code: c.u32()}
		r.NeverExec = c.u32()&1 != 0
		return r, c.err()
	case TypeFile:
		return decodeFile(c, h)
	case TypePathOp:
		return decodePathOp(c, h)
	case TypeNet, TypeFlow:
		r := c.net(h)
		return &r, c.err()
	case TypeStream:
		return decodeStream(c, h)
	case TypePayload:
		return decodePayload(c, h)
	case TypeDNS:
		r := &DNS{Header: h}
		family := c.u16()
		r.Direction = c.u16()
		r.Local, r.Remote = c.ends(family)
		n := c.u32()
		r.Total = c.u32()
		r.Payload = slices.Clone(c.tail(n))
		return r, c.err()
	case TypeAction:
		return decodeAction(c, h)
	case TypeLine:
		return decodeLine(c, h)
	case TypeTask:
		r := &Task{Header: h, Task: c.task(), Image: c.image()}
		return r, c.err()
	}
	return nil, ErrUnknown
}

// Tasks reads records of one size that follow each other. A last one
// that is cut is left out.
func Tasks(b []byte) []*Task {
	var out []*Task
	for ; len(b) >= TaskSize; b = b[TaskSize:] {
		rec, err := Decode(b[:TaskSize])
		if err != nil {
			continue
		}
		if r, ok := rec.(*Task); ok {
			out = append(out, r)
		}
	}
	return out
}

func decodeExec(c *cursor, h Header) (*Exec, error) {
	r := &Exec{Header: h, Task: c.task(), Image: c.image()}
	exe, cwd, cgroup, args := c.u32(), c.u32(), c.u32(), c.u32()
	r.ArgsTotal = c.u32()
	env := c.u32()
	r.EnvTotal = c.u32()
	c.u32()
	r.ExeNameless = h.Flags&FlagNameless != 0
	r.PathCut = h.Flags&FlagPathCut != 0
	r.Exe = joinPath(c.tail(exe))
	r.Cwd = joinPath(c.tail(cwd))
	r.Cgroup = joinPath(c.tail(cgroup))
	r.Args = slices.Clone(c.tail(args))
	r.Env = slices.Clone(c.tail(env))
	return r, c.err()
}

func decodeFile(c *cursor, h Header) (*File, error) {
	r := &File{Header: h, OpenedAt: c.u64(), OpenerStart: c.u64(), OpenerPID: c.u32(), FD: c.u32()}
	r.SizeAtOpen, r.MtimeSec = int64(c.u64()), int64(c.u64())
	r.MtimeNsec, r.FileFlags, r.InoAtOpen = c.u32(), c.u32(), c.u64()
	r.Image = c.image()
	r.Pos, r.Key = c.u64(), c.u64()
	n := c.u32()
	r.Held = c.u32() != 0
	r.Path = joinPath(c.tail(n))
	return r, c.err()
}

func decodePathOp(c *cursor, h Header) (*PathOp, error) {
	r := &PathOp{Header: h, Op: c.u32(), Arg: c.u32()}
	base1, name1, base2, name2 := c.u32(), c.u32(), c.u32(), c.u32()
	r.Base = joinPath(c.tail(base1))
	r.Name = Clean(CString(c.tail(name1)))
	r.BaseNew = joinPath(c.tail(base2))
	r.NameNew = Clean(CString(c.tail(name2)))
	r.IncompleteBaseName = h.Flags&(FlagPathCut|FlagUnreadable) != 0
	return r, c.err()
}

// ends reads both ends of a connection.
func (c *cursor) ends(family uint16) (local, remote netip.AddrPort) {
	lport, rport := c.u16(), c.u16()
	return netip.AddrPortFrom(address(family, c.take(16)), lport), netip.AddrPortFrom(address(family, c.take(16)), rport)
}

func address(family uint16, b []byte) netip.Addr {
	switch family {
	case 2:
		return netip.AddrFrom4([4]byte(b[:4]))
	case 10:
		return netip.AddrFrom16([16]byte(b[:16])).Unmap()
	}
	return netip.Addr{}
}

// Address is an address of a family as the kernel programs write it.
func Address(family uint16, b [16]byte) netip.Addr { return address(family, b[:]) }

// CString is the text before the first NUL.
func CString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// joinPath turns components, leaf first and each ended by NUL, into a path.
func joinPath(b []byte) string {
	if len(b) == 0 {
		return "/"
	}
	parts := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	slices.Reverse(parts)
	return Clean("/" + strings.Join(parts, "/"))
}

// Clean makes text from a program fit for a row: valid UTF-8 without NUL.
func Clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return s
}
