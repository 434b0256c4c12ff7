// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"time"

	"golang.org/x/sys/unix"
)

// kernel explains what was done to the kernel.
func (t *Told) kernel(r *Action) bool {
	switch r.Kind {
	case ModuleLoad, ModuleUnload:
		t.module(r)
	case BPFProgram, BPFMap, BPFOther:
		t.bpf(r)
	case Kexec:
		t.Action, t.Path = "KernelImageLoaded", Place(r.Base, "")
		t.Extra["Flags"] = flagged([]flag{{1, "OnCrash"}, {2, "PreserveContext"}}, r.Args[0]&3)
	case Perf:
		t.Action = "PerfEventOpened"
		t.Extra["EventType"], t.Extra["Config"] = numbered(perfTypes, r.Args[0]), hexadecimal(r.Args[1])
		if pid := int64(r.Args[2]); pid > 0 {
			t.Target = uint32(pid)
		} else if pid < 0 {
			t.Extra["AllProcesses"] = true
		}
	case IOUring:
		t.Action = "IoUringCreated"
		t.Extra["Entries"], t.Extra["Flags"] = r.Args[0], hexadecimal(r.Args[1])
	case Userfaultfd:
		t.Action = "UserFaultHandlerCreated"
		t.Extra["UserModeOnly"] = r.Args[0]&1 != 0
	case DeviceMemory:
		t.memory(r)
	default:
		return t.system(r)
	}
	return true
}

// system explains settings of the host.
func (t *Told) system(r *Action) bool {
	switch r.Kind {
	case Reboot:
		t.Action = "SystemRebootRequested"
		t.Extra["Command"] = named(rebootCommands, r.Args[0])
	case SetTime:
		t.Action = "SystemTimeChanged"
		t.Extra["Clock"] = named(map[uint64]string{0: "RealTime", 11: "Tai"}, r.Args[1])
		if s := int64(r.Args[0]); s > 0 && s < 253402300800 {
			t.Extra["NewTime"] = time.Unix(s, 0).UTC().Format(time.RFC3339)
		}
	case HostName:
		t.Action = "HostNameChanged"
		t.Extra["HostName"] = r.Name
		if r.Args[0] != 0 {
			t.Action, t.Extra = "DomainNameChanged", map[string]any{"DomainName": r.Name}
		}
	case Swap:
		t.Action, t.Path = "SwapEnabled", Place(r.Base, r.Name)
		if r.Args[0] != 0 {
			t.Action = "SwapDisabled"
		}
	default:
		return false
	}
	return true
}

func (t *Told) module(r *Action) {
	if r.Kind == ModuleUnload {
		t.Action, t.Extra["ModuleName"] = "DriverUnload", r.Name
		return
	}
	t.Action = "DriverLoad"
	t.Path = Place(r.Base, "")
	if r.Args[2] != 0 {
		t.Extra["ModuleName"] = r.Name
	}
	if r.Args[1] == 0 {
		t.Extra["FromMemory"] = true
	}
	if r.NameNew != "" {
		t.Extra["Parameters"] = r.NameNew
	}
	if flags := r.Args[0] & 7; flags != 0 {
		t.Extra["Flags"] = flagged([]flag{{1, "IgnoreVersions"}, {2, "IgnoreKernelVersion"}, {4, "Compressed"}}, flags)
	}
}

var programTypes = []string{"Unspecified", "SocketFilter", "Kprobe", "SchedCls", "SchedAct", "Tracepoint", "Xdp", "PerfEvent", "CgroupSkb",
	"CgroupSock", "LwtIn", "LwtOut", "LwtXmit", "SockOps", "SkSkb", "CgroupDevice", "SkMsg", "RawTracepoint", "CgroupSockAddr", "LwtSeg6Local",
	"LircMode2", "SkReuseport", "FlowDissector", "CgroupSysctl", "RawTracepointWritable", "CgroupSockopt", "Tracing", "StructOps", "Ext", "Lsm",
	"SkLookup", "Syscall", "Netfilter"}

var mapTypes = []string{"Unspecified", "Hash", "Array", "ProgArray", "PerfEventArray", "PercpuHash", "PercpuArray", "StackTrace", "CgroupArray",
	"LruHash", "LruPercpuHash", "LpmTrie", "ArrayOfMaps", "HashOfMaps", "Devmap", "Sockmap", "Cpumap", "Xskmap", "Sockhash", "CgroupStorage",
	"ReuseportSockarray", "PercpuCgroupStorage", "Queue", "Stack", "SkStorage", "DevmapHash", "StructOps", "Ringbuf", "InodeStorage",
	"TaskStorage", "BloomFilter", "UserRingbuf", "CgrpStorage", "Arena"}

var bpfCommands = map[uint64]string{8: "ProgramAttach", 9: "ProgramDetach", 13: "ProgramById", 14: "MapById", 17: "RawTracepointOpen",
	28: "LinkCreate", 29: "LinkUpdate", 34: "LinkDetach"}

func (t *Told) bpf(r *Action) {
	switch r.Kind {
	case BPFProgram:
		t.Action = "BpfProgramLoaded"
		t.Extra["ProgramType"], t.Extra["Instructions"] = numbered(programTypes, r.Args[0]), r.Args[1]
		t.Extra["AttachType"] = r.Args[2]
	case BPFMap:
		t.Action = "BpfMapCreated"
		t.Extra["MapType"], t.Extra["Entries"] = numbered(mapTypes, r.Args[0]), r.Args[1]
	default:
		t.Action = "BpfOperation"
		t.Extra["Operation"], t.Extra["Argument"] = named(bpfCommands, r.Args[0]), r.Args[1]
		return
	}
	if r.Name != "" {
		t.Extra["Name"] = r.Name
	}
}

var perfTypes = []string{"Hardware", "Software", "Tracepoint", "HardwareCache", "Raw", "Breakpoint"}

var rebootCommands = map[uint64]string{unix.LINUX_REBOOT_CMD_RESTART: "Restart", unix.LINUX_REBOOT_CMD_HALT: "Halt",
	unix.LINUX_REBOOT_CMD_POWER_OFF: "PowerOff", unix.LINUX_REBOOT_CMD_RESTART2: "Restart", unix.LINUX_REBOOT_CMD_CAD_ON: "EnableCtrlAltDel",
	unix.LINUX_REBOOT_CMD_KEXEC: "Kexec", unix.LINUX_REBOOT_CMD_SW_SUSPEND: "Suspend"}

// memory explains how a process reached for the memory or the ports of the
// machine.
func (t *Told) memory(r *Action) {
	switch r.Args[0] {
	case 1:
		t.Action = "IoPortsAccessed"
		t.Extra["Method"], t.Extra["FirstPort"], t.Extra["PortCount"], t.Extra["Allowed"] = "ioperm", r.Args[1], r.Args[2], r.Args[3] != 0
	case 2:
		t.Action = "IoPortsAccessed"
		t.Extra["Method"], t.Extra["Level"] = "iopl", r.Args[1]
	default:
		t.Action, t.Path = "KernelMemoryOpened", Place(r.Base, r.Name)
		t.Extra["Access"] = numbered([]string{"Read", "Write", "ReadWrite"}, r.Args[1]&unix.O_ACCMODE)
	}
}
