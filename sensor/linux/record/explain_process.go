// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"golang.org/x/sys/unix"
)

var traceRequests = map[uint64]string{
	unix.PTRACE_TRACEME: "TraceMe", unix.PTRACE_POKETEXT: "PokeText", unix.PTRACE_POKEDATA: "PokeData", 6: "PokeUser",
	13: "SetRegisters", unix.PTRACE_ATTACH: "Attach", unix.PTRACE_SETREGSET: "SetRegisterSet", unix.PTRACE_SEIZE: "Seize",
}

// process explains what was done to another process.
func (t *Told) process(r *Action) bool {
	switch r.Kind {
	case Ptrace:
		t.Action = "PTraceDetected"
		t.Extra["Request"] = named(traceRequests, r.Args[0])
		if r.Args[0] != unix.PTRACE_TRACEME {
			t.Target = uint32(r.Args[1])
		}
	case VMWrite, VMRead:
		t.Action = "WriteProcessMemoryApiCall"
		t.Extra["Method"] = "process_vm_writev"
		if r.Kind == VMRead {
			t.Action, t.Extra["Method"] = "ReadProcessMemoryApiCall", "process_vm_readv"
		}
		t.Target, t.Extra["Bytes"] = uint32(r.Args[0]), r.Args[1]
	case MemWrite:
		t.Action = "WriteProcessMemoryApiCall"
		t.Extra["Method"] = "mem"
		t.Target, t.Path = r.TargetPID, Place(r.Base, r.Name)
	case Signal:
		t.Action = SignalSent
		t.Extra["Signal"] = signalName(r.Args[0])
		t.Target = uint32(r.Args[1])
	case Priority:
		t.priority(r)
	default:
		return false
	}
	return true
}

var resources = []string{"CpuTime", "FileSize", "Data", "Stack", "Core", "ResidentSet", "Processes", "OpenFiles", "LockedMemory", "AddressSpace",
	"Locks", "PendingSignals", "MessageQueue", "Nice", "RealtimePriority", "RealtimeTime"}

func (t *Told) priority(r *Action) {
	t.Action, t.Target = PriorityChanged, uint32(r.Args[1])
	switch r.Args[0] {
	case 1:
		t.Extra["Nice"] = int32(r.Args[2])
	case 2:
		t.Extra["Scheduler"] = named(map[uint64]string{0: "Other", 1: "Fifo", 2: "RoundRobin", 3: "Batch", 5: "Idle", 6: "Deadline",
			^uint64(0): "Attributes"}, r.Args[2])
	case 3:
		t.Action = LimitChanged
		t.Extra["Resource"] = numbered(resources, r.Args[2])
		if r.Args[3] != ^uint64(0) {
			t.Extra["Limit"] = r.Args[3]
		}
	}
}

func signalName(n uint64) string {
	if n < 65 {
		if name := unix.SignalName(unix.Signal(n)); name != "" {
			return name
		}
	}
	return decimal(int64(n))
}
