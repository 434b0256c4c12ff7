// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"golang.org/x/sys/unix"
)

// Names of actions that other packages look at.
const (
	UserChanged        = "ProcessUserChanged"
	GroupChanged       = "ProcessGroupChanged"
	CapabilitiesGained = "ProcessCapabilitiesGained"
	Renamed            = "ProcessRenamed"
	PriorityChanged    = "ProcessPriorityChanged"
	LimitChanged       = "ProcessLimitChanged"
	SignalSent         = "ProcessSignalSent"
)

var identityCalls = [][2]string{{"setuid", "setgid"}, {"setreuid", "setregid"}, {"setresuid", "setresgid"}, {"setfsuid", "setfsgid"}}

var namespaces = []flag{
	{unix.CLONE_NEWNS, "Mount"}, {unix.CLONE_NEWPID, "Pid"}, {unix.CLONE_NEWNET, "Network"}, {unix.CLONE_NEWUSER, "User"},
	{unix.CLONE_NEWUTS, "Uts"}, {unix.CLONE_NEWIPC, "Ipc"}, {unix.CLONE_NEWCGROUP, "Cgroup"}, {unix.CLONE_NEWTIME, "Time"},
}

// privilege explains what a process did to its own rights.
func (t *Told) privilege(r *Action) bool {
	switch r.Kind {
	case SetUID, SetGID:
		t.identity(r)
	case SetGroups:
		t.Action = "ProcessGroupsChanged"
		t.Extra["GroupCount"] = r.Args[0]
		groups := make([]uint32, 0, 8)
		for i := range min(r.Args[0], 8) {
			groups = append(groups, uint32(r.Args[1+i/2]>>(32*(i%2))))
		}
		t.Extra["Groups"] = groups
	case CapSet:
		t.Action = CapabilitiesGained
		t.Extra["Capabilities"] = Capabilities(r.Caps)
	case Unshare:
		t.Action = "NamespaceCreated"
		t.Extra["Namespaces"] = flagged(namespaces, r.Args[0])
		if r.Args[1] != 0 {
			t.Extra["Method"], t.Target = "clone", r.TargetPID
		}
	case SetNS:
		t.Action = "NamespaceEntered"
		if r.Args[0] != 0 {
			t.Extra["Namespaces"] = flagged(namespaces, r.Args[0])
		}
	case Chroot:
		t.Action, t.Path = "RootDirectoryChanged", Place(r.Base, r.Name)
	case PivotRoot:
		t.Action, t.Path = "RootDirectoryChanged", Place(r.Base, r.Name)
		t.Extra["Method"], t.Extra["OldRoot"] = "pivot_root", Place(r.BaseNew, r.NameNew)
	case Seccomp:
		t.Action = "SeccompFilterSet"
		t.Extra["Mode"] = numbered([]string{"Strict", "Filter"}, r.Args[0])
	case Prctl:
		return t.prctl(r)
	case Personality:
		t.Action = "ProcessPersonalityChanged"
		t.Extra["Personality"], t.Extra["PreviousPersonality"] = hexadecimal(r.Args[0]), hexadecimal(r.Args[1])
		t.Extra["Flags"] = flagged([]flag{{0x40000, "NoAddressRandomization"}, {0x400000, "ReadImpliesExecute"}}, r.Args[0]&0x440000)
	case Memfd:
		t.Action = "MemoryFileCreated"
		t.Extra["MemoryFileName"], t.Extra["Flags"] = r.Name, flagged(memoryFlags, r.Args[0])
	case Keyctl:
		t.Action = "KeyringAccessed"
		t.Extra["Operation"], t.Extra["KeyId"] = named(keyOperations, r.Args[0]), int32(r.Args[1])
	default:
		return false
	}
	return true
}

var memoryFlags = []flag{{unix.MFD_CLOEXEC, "CloseOnExec"}, {unix.MFD_ALLOW_SEALING, "AllowSealing"}, {unix.MFD_HUGETLB, "HugePages"},
	{unix.MFD_NOEXEC_SEAL, "NoExecution"}, {unix.MFD_EXEC, "Executable"}}

var keyOperations = map[uint64]string{unix.KEYCTL_CHOWN: "ChangeOwner", unix.KEYCTL_SETPERM: "SetPermissions", unix.KEYCTL_READ: "Read",
	unix.KEYCTL_ASSUME_AUTHORITY: "AssumeAuthority", unix.KEYCTL_GET_PERSISTENT: "GetPersistent"}

func (t *Told) identity(r *Action) {
	t.Action = UserChanged
	which := 0
	names := [2]string{"UserId", "EffectiveUserId"}
	now := [2]uint32{r.UID, r.EUID}
	if r.Kind == SetGID {
		t.Action, which, names, now = GroupChanged, 1, [2]string{"GroupId", "EffectiveGroupId"}, [2]uint32{r.GID, r.EGID}
	}
	if call := r.Args[0]; call < uint64(len(identityCalls)) {
		t.Extra["Method"] = identityCalls[call][which]
	}
	for i, name := range names {
		t.Extra[name] = now[i]
		if before := r.Args[1+i]; before != ^uint64(0) {
			t.Extra["Previous"+name] = uint32(before)
		}
	}
}

// prctl explains the options that are told.
func (t *Told) prctl(r *Action) bool {
	switch arg := r.Args[1]; r.Args[0] {
	case unix.PR_SET_NAME:
		t.Action = Renamed
		t.Extra["ProcessName"] = r.Name
	case unix.PR_SET_DUMPABLE:
		t.Action = "ProcessDumpableChanged"
		t.Extra["Dumpable"] = arg
	case unix.PR_SET_SECCOMP:
		t.Action = "SeccompFilterSet"
		t.Extra["Mode"] = numbered([]string{"Off", "Strict", "Filter"}, arg)
	case unix.PR_SET_SECUREBITS:
		t.Action = "SecureBitsChanged"
		t.Extra["SecureBits"] = hexadecimal(arg)
	case unix.PR_SET_MM:
		t.Action = "ProcessMemoryMapChanged"
		t.Extra["Field"] = named(map[uint64]string{unix.PR_SET_MM_EXE_FILE: "ExecutableFile", unix.PR_SET_MM_ARG_START: "ArgumentsStart",
			unix.PR_SET_MM_ARG_END: "ArgumentsEnd", unix.PR_SET_MM_MAP: "Map"}, arg)
	case unix.PR_SET_PTRACER:
		t.Action = "ProcessTracerAllowed"
		if int64(arg) == -1 || uint32(arg) == Unset {
			t.Extra["AnyProcess"] = true
		} else {
			t.Target = uint32(arg)
		}
	case unix.PR_CAP_AMBIENT:
		t.Action = "AmbientCapabilityRaised"
		t.Extra["Capability"] = numbered(capabilities, r.Args[2])
	default:
		return false
	}
	return true
}
