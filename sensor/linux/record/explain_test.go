// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/picket-edr/picket/schema"
)

const all = ^uint64(0)

// packed is text as records carry it in their arguments.
func packed(text string) (out [4]uint64) {
	for i := range text {
		out[i/8] |= uint64(text[i]) << (8 * (i % 8))
	}
	return out
}

func args(first uint64, rest [4]uint64) [6]uint64 {
	return [6]uint64{first, rest[0], rest[1], rest[2], rest[3]}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	capability := [6]uint64{20, 0, 0x00002000_02000001, 0, 0, 0}
	for _, c := range []struct {
		r                  Action
		action, path, want string
	}{
		{Action{Kind: Chmod, Args: [6]uint64{0o4755}, Base: "/tmp", Name: "x"}, "FilePermissionsModified", "/tmp/x",
			`{"Executable":true,"Mode":"4755","SetUid":true}`},
		{Action{Kind: Chmod, Args: [6]uint64{0o2757, 0o2755, 1}, Base: "/tmp/x"}, "FilePermissionsModified", "/tmp/x",
			`{"Mode":"2757","PreviousMode":"2755","WorldWritable":true}`},
		{Action{Kind: Chown, Args: [6]uint64{0, Unset}, Name: "/a/../b"}, "FileOwnerModified", "/b", `{"UserId":0}`},
		{Action{Kind: Chown, Args: [6]uint64{1, 2, 3, 4, 1}, Name: "/b"}, "FileOwnerModified", "/b",
			`{"GroupId":2,"PreviousGroupId":4,"PreviousUserId":3,"UserId":1}`},
		{Action{Kind: SetXattr, Args: capability, Name: "/b", NameNew: "security.capability"}, "FileExtendedAttributeModified", "/b",
			`{"AttributeBytes":20,"AttributeName":"security.capability","FileCapabilities":["CAP_NET_RAW"]}`},
		{Action{Kind: SetXattr, Args: [6]uint64{3, 0, 0x636261}, Name: "/b", NameNew: "user.x"}, "FileExtendedAttributeModified", "/b",
			`{"AttributeBytes":3,"AttributeName":"user.x","AttributeValue":"abc"}`},
		{Action{Kind: SetXattr, Args: [6]uint64{2, 0, 0x01ff}, Name: "/b", NameNew: "user.x"}, "FileExtendedAttributeModified", "/b",
			`{"AttributeBytes":2,"AttributeName":"user.x","AttributeValue":"ff01"}`},
		{Action{Kind: RemoveXattr, Name: "/b", NameNew: "user.x"}, "FileExtendedAttributeRemoved", "/b", `{"AttributeName":"user.x"}`},
		{Action{Kind: Utimes, Args: [6]uint64{0, 0x3fffffff, 981173106, 5}, Name: "/b"}, "FileTimestampModificationEvent", "/b",
			`{"AccessTime":"now","ModificationTime":"2001-02-03T04:05:06.000000005Z"}`},
		{Action{Kind: Utimes, Args: [6]uint64{0, 0x3ffffffe, all >> 1, 0}, Name: "/b"}, "FileTimestampModificationEvent", "/b",
			`{"AccessTime":"unchanged","ModificationTime":"9223372036854775807 s"}`},
		{Action{Kind: Attributes, Args: [6]uint64{0x30}, Base: "/b"}, "FileAttributesModified", "/b", `{"Attributes":["Immutable","AppendOnly"]}`},
		{Action{Kind: Attributes, Args: [6]uint64{1<<32 | 8}, Base: "/b"}, "FileAttributesModified", "/b", `{"Attributes":["Immutable"]}`},
		{Action{Kind: Mknod, Args: [6]uint64{0o60600, 8<<8 | 1}, Name: "/b"}, "DeviceNodeCreated", "/b",
			`{"Device":"8:1","FileType":"BlockDevice","Mode":"0600"}`},
		{Action{Kind: Mount, Args: args(0xc0ed0000|2|8, packed("tmpfs")), Name: "/mnt", NameNew: "none"}, "VolumeMounted", "/mnt",
			`{"FileSystem":"tmpfs","Flags":["NoSetUid","NoExecution"],"Source":"none"}`},
		{Action{Kind: Mount, Result: -1, Args: [6]uint64{0, 0, 0, 0, 0, 1}, Name: "/mnt", BaseNew: "/x"}, "VolumeMounted", "/mnt",
			`{"ErrorCode":"EPERM","FileSystem":"","Method":"move_mount","Source":"/x"}`},
		{Action{Kind: Unmount, Args: [6]uint64{2}, Name: "/mnt"}, "VolumeUnmounted", "/mnt", `{"Flags":["Detach"]}`},
		{Action{Kind: MapImage, Base: "/lib/x.so"}, "ImageLoaded", "/lib/x.so", `{}`},
		{Action{Kind: Sysctl}, "", "", ""},
		{Action{Kind: 9999}, "", "", ""},
	} {
		check(t, c.r, c.action, c.path, 0, c.want)
	}
}

func check(t *testing.T, r Action, action, path string, target uint32, want string) {
	t.Helper()
	told, ok := Explain(&r)
	if action == "" {
		if ok {
			t.Errorf("%v was explained as %+v", r.Kind, told)
		}
		return
	}
	if !ok {
		t.Errorf("%v was not explained", r.Kind)
		return
	}
	extra, err := json.Marshal(told.Extra)
	if err != nil {
		t.Fatal(err)
	}
	if told.Action != action || told.Path != path || told.Target != target {
		t.Errorf("%v: %s %s %d, want %s %s %d", r.Kind, told.Action, told.Path, told.Target, action, path, target)
	}
	if diff := cmp.Diff(want, string(extra)); diff != "" {
		t.Errorf("%s (-want +got): %s", action, diff)
	}
}

func TestExplainPrivileges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r            Action
		action, path string
		target       uint32
		want         string
	}{
		{Action{Header: Header{UID: 5, EUID: 6, PID: 3, TID: 4}, Kind: SetUID, Args: [6]uint64{2, all, 0}}, UserChanged, "", 0,
			`{"EffectiveUserId":6,"Method":"setresuid","PreviousEffectiveUserId":0,"ThreadId":4,"UserId":5}`},
		{Action{Header: Header{GID: 5, EGID: 6}, Kind: SetGID, Args: [6]uint64{0, 1, 2}}, GroupChanged, "", 0,
			`{"EffectiveGroupId":6,"GroupId":5,"Method":"setgid","PreviousEffectiveGroupId":2,"PreviousGroupId":1}`},
		{Action{Kind: SetGroups, Args: [6]uint64{3, 7<<32 | 6, 8}}, "ProcessGroupsChanged", "", 0, `{"GroupCount":3,"Groups":[6,7,8]}`},
		{Action{Kind: CapSet, Caps: 1<<21 | 1<<60}, CapabilitiesGained, "", 0, `{"Capabilities":["CAP_SYS_ADMIN","0x1000000000000000"]}`},
		{Action{Kind: Unshare, Args: [6]uint64{0x10000000 | 0x20000, 1}, TargetPID: 9}, "NamespaceCreated", "", 9,
			`{"Method":"clone","Namespaces":["Mount","User"]}`},
		{Action{Kind: SetNS, Result: -1, Args: [6]uint64{0x40000000}}, "NamespaceEntered", "", 0, `{"ErrorCode":"EPERM","Namespaces":["Network"]}`},
		{Action{Kind: Chroot, Name: "/srv"}, "RootDirectoryChanged", "/srv", 0, `{}`},
		{Action{Kind: PivotRoot, Base: "/new", Name: ".", BaseNew: "/new", NameNew: "old"}, "RootDirectoryChanged", "/new", 0,
			`{"Method":"pivot_root","OldRoot":"/new/old"}`},
		{Action{Kind: Seccomp, Args: [6]uint64{1}}, "SeccompFilterSet", "", 0, `{"Mode":"Filter"}`},
		{Action{Kind: Prctl, Args: [6]uint64{15}, Name: "kworker"}, Renamed, "", 0, `{"ProcessName":"kworker"}`},
		{Action{Kind: Prctl, Args: [6]uint64{22, 2}}, "SeccompFilterSet", "", 0, `{"Mode":"Filter"}`},
		{Action{Kind: Prctl, Args: [6]uint64{28, 3}}, "SecureBitsChanged", "", 0, `{"SecureBits":"0x3"}`},
		{Action{Kind: Prctl, Args: [6]uint64{35, 13}}, "ProcessMemoryMapChanged", "", 0, `{"Field":"ExecutableFile"}`},
		{Action{Kind: Prctl, Args: [6]uint64{0x59616d61, all}}, "ProcessTracerAllowed", "", 0, `{"AnyProcess":true}`},
		{Action{Kind: Prctl, Args: [6]uint64{0x59616d61, 77}}, "ProcessTracerAllowed", "", 77, `{}`},
		{Action{Kind: Prctl, Args: [6]uint64{47, 2, 13}}, "AmbientCapabilityRaised", "", 0, `{"Capability":"CAP_NET_RAW"}`},
		{Action{Kind: Prctl, Args: [6]uint64{4, 0}}, "ProcessDumpableChanged", "", 0, `{"Dumpable":0}`},
		{Action{Kind: Prctl, Args: [6]uint64{1234}}, "", "", 0, ""},
		{Action{Kind: Personality, Args: [6]uint64{0x440000}}, "ProcessPersonalityChanged", "", 0,
			`{"Flags":["NoAddressRandomization","ReadImpliesExecute"],"Personality":"0x440000","PreviousPersonality":"0x0"}`},
		{Action{Kind: Memfd, Args: [6]uint64{1}, Name: "x"}, "MemoryFileCreated", "", 0, `{"Flags":["CloseOnExec"],"MemoryFileName":"x"}`},
		{Action{Kind: Keyctl, Args: [6]uint64{11, 0xfffffffd}}, "KeyringAccessed", "", 0, `{"KeyId":-3,"Operation":"Read"}`},
		{Action{Kind: Ptrace, Args: [6]uint64{16, 9}}, "PTraceDetected", "", 9, `{"Request":"Attach"}`},
		{Action{Kind: Ptrace}, "PTraceDetected", "", 0, `{"Request":"TraceMe"}`},
		{Action{Kind: VMWrite, Args: [6]uint64{9, 8}}, "WriteProcessMemoryApiCall", "", 9, `{"Bytes":8,"Method":"process_vm_writev"}`},
		{Action{Kind: VMRead, Args: [6]uint64{9, 8}}, "ReadProcessMemoryApiCall", "", 9, `{"Bytes":8,"Method":"process_vm_readv"}`},
		{Action{Kind: MemWrite, TargetPID: 9, Base: "/proc/9/mem"}, "WriteProcessMemoryApiCall", "/proc/9/mem", 9, `{"Method":"mem"}`},
		{Action{Kind: Signal, Result: -1, Args: [6]uint64{9, 8}}, SignalSent, "", 8, `{"ErrorCode":"EPERM","Signal":"SIGKILL"}`},
		{Action{Kind: Signal, Args: [6]uint64{all, 8}}, SignalSent, "", 8, `{"Signal":"-1"}`},
		{Action{Kind: Priority, Args: [6]uint64{1, 8, 0xfffffff6}}, PriorityChanged, "", 8, `{"Nice":-10}`},
		{Action{Kind: Priority, Args: [6]uint64{2, 8, 5}}, PriorityChanged, "", 8, `{"Scheduler":"Idle"}`},
		{Action{Kind: Priority, Args: [6]uint64{3, 8, 7, 64}}, LimitChanged, "", 8, `{"Limit":64,"Resource":"OpenFiles"}`},
	} {
		check(t, c.r, c.action, c.path, c.target, c.want)
	}
}

func TestExplainKernelAndSockets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r            Action
		action, path string
		target       uint32
		want         string
	}{
		{Action{Kind: ModuleLoad, Args: [6]uint64{2, 1, 1}, Base: "/m/x.ko", Name: "x", NameNew: "a=1"}, "DriverLoad", "/m/x.ko", 0,
			`{"Flags":["IgnoreKernelVersion"],"ModuleName":"x","Parameters":"a=1"}`},
		{Action{Kind: ModuleLoad, Result: -13}, "DriverLoad", "", 0, `{"ErrorCode":"EACCES","FromMemory":true}`},
		{Action{Kind: ModuleUnload, Name: "x"}, "DriverUnload", "", 0, `{"ModuleName":"x"}`},
		{Action{Kind: BPFProgram, Args: [6]uint64{2, 100, 0}, Name: "p"}, "BpfProgramLoaded", "", 0,
			`{"AttachType":0,"Instructions":100,"Name":"p","ProgramType":"Kprobe"}`},
		{Action{Kind: BPFMap, Args: [6]uint64{999, 1}}, "BpfMapCreated", "", 0, `{"Entries":1,"MapType":"999"}`},
		{Action{Kind: BPFOther, Args: [6]uint64{28, 41}}, "BpfOperation", "", 0, `{"Argument":41,"Operation":"LinkCreate"}`},
		{Action{Kind: Kexec, Args: [6]uint64{1, 1}, Base: "/boot/k"}, "KernelImageLoaded", "/boot/k", 0, `{"Flags":["OnCrash"]}`},
		{Action{Kind: Perf, Args: [6]uint64{1, 9, all, 0}}, "PerfEventOpened", "", 0, `{"AllProcesses":true,"Config":"0x9","EventType":"Software"}`},
		{Action{Kind: Perf, Args: [6]uint64{0, 0, 12}}, "PerfEventOpened", "", 12, `{"Config":"0x0","EventType":"Hardware"}`},
		{Action{Kind: IOUring, Args: [6]uint64{4, 2}}, "IoUringCreated", "", 0, `{"Entries":4,"Flags":"0x2"}`},
		{Action{Kind: Userfaultfd, Args: [6]uint64{1}}, "UserFaultHandlerCreated", "", 0, `{"UserModeOnly":true}`},
		{Action{Kind: DeviceMemory, Args: [6]uint64{0, 2}, Name: "/dev/mem"}, "KernelMemoryOpened", "/dev/mem", 0, `{"Access":"ReadWrite"}`},
		{Action{Kind: DeviceMemory, Args: [6]uint64{1, 0x80, 1, 1}}, "IoPortsAccessed", "", 0,
			`{"Allowed":true,"FirstPort":128,"Method":"ioperm","PortCount":1}`},
		{Action{Kind: DeviceMemory, Args: [6]uint64{2, 3}}, "IoPortsAccessed", "", 0, `{"Level":3,"Method":"iopl"}`},
		{Action{Kind: Reboot, Args: [6]uint64{0x1234567}}, "SystemRebootRequested", "", 0, `{"Command":"Restart"}`},
		{Action{Kind: SetTime, Args: [6]uint64{981173106, 0}}, "SystemTimeChanged", "", 0, `{"Clock":"RealTime","NewTime":"2001-02-03T04:05:06Z"}`},
		{Action{Kind: SetTime, Args: [6]uint64{all, 5, 1}}, "SystemTimeChanged", "", 0, `{"Clock":"5"}`},
		{Action{Kind: HostName, Name: "h"}, "HostNameChanged", "", 0, `{"HostName":"h"}`},
		{Action{Kind: HostName, Args: [6]uint64{1}, Name: "d"}, "DomainNameChanged", "", 0, `{"DomainName":"d"}`},
		{Action{Kind: Swap, Name: "/s"}, "SwapEnabled", "/s", 0, `{}`},
		{Action{Kind: Swap, Args: [6]uint64{1}, Name: "/s"}, "SwapDisabled", "/s", 0, `{}`},
		{Action{Kind: RawSocket, Args: [6]uint64{10, 3, 58}}, "RawSocketCreated", "", 0, `{"Family":"IPv6","SocketProtocol":"IcmpV6","SocketType":"Raw"}`},
		{Action{Kind: PacketSocket, Args: [6]uint64{17, 3, 0x0300}}, "PacketSocketCreated", "", 0, `{"EtherType":"0x3","Family":"Packet","SocketType":"Raw"}`},
		{Action{Kind: SocketFilter, Args: [6]uint64{50, 17, 2}}, "SocketFilterAttached", "", 0, `{"Bpf":true,"Family":"Packet","SocketType":"Datagram"}`},
		{Action{Kind: UnixConnect, Args: [6]uint64{1}, Base: "/run/docker.sock", Cut: true}, "DaemonSocketConnected", "/run/docker.sock", 0,
			`{"PathCut":true,"SocketType":"Stream"}`},
	} {
		check(t, c.r, c.action, c.path, c.target, c.want)
	}
}

func TestFileCapabilities(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][]string{
		"": nil, "\x01\x00\x00\x02": nil,
		"\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00":                                     {"CAP_CHOWN"},
		"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00":                                     nil, // half
		"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00":     {"CAP_NET_RAW", "CAP_BPF"},
		"\x01\x00\x00\x03\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00xxxx": {"CAP_NET_RAW"},
		"\x01\x00\x00\x09\x00\x20\x00\x00\x00\x00\x00\x00":                                     nil,
	} {
		if got := FileCapabilities([]byte(value)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	if IsSetUID(0o4644) || !IsSetUID(0o4711) || IsSetGID(0o2700) || !IsSetGID(0o2710) {
		t.Error("a bit that does nothing counts, or one that does not")
	}
}

// Whatever the numbers, a record is explained or refused, its text can be
// written as JSON, and the action is one that the tables list as told.
func FuzzExplain(f *testing.F) {
	known := map[string]bool{}
	for _, table := range schema.Tables {
		for _, a := range table.Actions {
			known[a.Name] = known[a.Name] || len(a.Fill) > 0
		}
	}
	for kind := range uint32(60) {
		f.Add(kind, int32(0), uint64(0), uint64(1), uint64(2), uint64(3), "/x", "y")
		f.Add(kind, int32(-1), all, all, all, all, "", "")
	}
	f.Fuzz(func(t *testing.T, kind uint32, result int32, a, b, c, d uint64, base, name string) {
		r := &Action{Kind: ActionKind(kind), Result: result, Args: [6]uint64{a, b, c, d, a, b}, Base: base, Name: name}
		told, ok := Explain(r)
		if !ok {
			return
		}
		if !known[told.Action] {
			t.Errorf("no table lists %q", told.Action)
		}
		if _, err := json.Marshal(told.Extra); err != nil {
			t.Errorf("%v: %v", told.Extra, err)
		}
		if strings.Contains(told.Path, "\x00") && !strings.Contains(base+name, "\x00") {
			t.Errorf("path %q", told.Path)
		}
	})
}
