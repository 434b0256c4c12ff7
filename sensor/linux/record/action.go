// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

// ActionKind is what a process did, as enum action in bpf/picket.h.
type ActionKind uint32

// Kinds of action on files.
const (
	Chmod ActionKind = iota + 1
	Chown
	SetXattr
	RemoveXattr
	Utimes
	Attributes
	Mknod
	Mount
	Unmount
	MapImage
)

// Kinds of action on privileges and other processes.
const (
	SetUID ActionKind = iota + 11
	SetGID
	SetGroups
	CapSet
	Unshare
	SetNS
	Chroot
	PivotRoot
	Seccomp
	Prctl
	Ptrace
	VMWrite
	VMRead
	MemWrite
	Signal
	Priority
	Memfd
	Keyctl
	Personality
)

// Kinds of action on the kernel.
const (
	ModuleLoad ActionKind = iota + 30
	ModuleUnload
	BPFProgram
	BPFMap
	BPFOther
	Kexec
	Perf
	IOUring
	Reboot
	SetTime
	HostName
	Swap
	Sysctl
	DeviceMemory
	Userfaultfd
	Quota
)

// Kinds of action on sockets.
const (
	RawSocket ActionKind = iota + 46
	PacketSocket
	UnixConnect
	SocketFilter
	Promiscuous
	Tunnel
	Firewall
	Netlink
)

// Action is what a process did; what its arguments mean stands in bpf/action.h.
type Action struct {
	Header
	Kind             ActionKind
	Result           int32 // of the system call; 0 where a hook has none
	Args             [6]uint64
	TargetPID        uint32 // process that it was done to; 0: none
	TargetUID        uint32
	TargetStart      uint64 // boot clock, ns; 0: not known
	Caps             uint64 // effective capabilities afterwards
	Image            ImagePart
	MntNS, PidNS     uint32 // afterwards
	UsrNS            uint32
	Base, Name       string
	BaseNew, NameNew string
	Cut              bool // a text is longer than the record may hold, or could not be read
}

func decodeAction(c *cursor, h Header) (*Action, error) {
	r := &Action{Header: h, Kind: ActionKind(c.u32()), Result: int32(c.u32())}
	for i := range r.Args {
		r.Args[i] = c.u64()
	}
	r.TargetPID, r.TargetUID, r.TargetStart, r.Caps = c.u32(), c.u32(), c.u64(), c.u64()
	r.Image = c.image()
	r.MntNS, r.PidNS, r.UsrNS, _ = c.u32(), c.u32(), c.u32(), c.u32()
	base1, name1, base2, name2 := c.u32(), c.u32(), c.u32(), c.u32()
	r.Base, r.Name = c.folder(base1), Clean(CString(c.tail(name1)))
	r.BaseNew, r.NameNew = c.folder(base2), Clean(CString(c.tail(name2)))
	r.Cut = h.Flags&(FlagPathCut|FlagUnreadable) != 0
	return r, c.err()
}

// folder reads a path that may not be there.
func (c *cursor) folder(n uint32) string {
	if n == 0 {
		return ""
	}
	return joinPath(c.tail(n))
}
