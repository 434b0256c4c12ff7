// SPDX-License-Identifier: Apache-2.0

//go:build linux

package guest

import (
	"fmt"
	"os"
	"strings"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

// actionRungs are those of the programs at the exit of system calls.
var actionRungs = []string{"tracepoint", "tracepoint-old"}

// deed is a kind with a row in DeviceEvents that says the texts among its
// additional fields; a path of "" is any.
func deed(hook, name, action, does, path string, do func(*Act) error, texts ...string) Kind {
	return Kind{
		Name: name, Hook: hook, Table: "DeviceEvents", Action: action, Does: does, Do: do, Rungs: actionRungs,
		Match: where(func(a *Act, r *event.DeviceEvents) bool {
			return (path == "" || r.FolderPath == a.Path(path)) && says(r.AdditionalFields, texts...)
		}),
	}
}

// upon is the same of what is done to another process, which has an id.
func upon(name, action, does string, do func(*Act) error, texts ...string) Kind {
	k := deed("privilege", name, action, does, "", do)
	k.Match = where(func(a *Act, r *event.DeviceEvents) bool {
		return r.ProcessId != 0 && r.ProcessId != int64(a.PID) && says(r.AdditionalFields, texts...)
	})
	return k
}

// altered is the same of a row in DeviceFileEvents about the file "x".
func altered(name, action, does string, do func(*Act) error, texts ...string) Kind {
	return Kind{
		Name: name, Hook: "attribute", Table: "DeviceFileEvents", Action: action, Does: does, Do: do, Rungs: actionRungs,
		Match: where(func(a *Act, r *event.DeviceFileEvents) bool {
			return r.FolderPath == a.Path("x") && r.FileName == "x" && says(r.AdditionalFields, texts...)
		}),
	}
}

func says(fields string, texts ...string) bool {
	for _, text := range texts {
		if !strings.Contains(fields, text) {
			return false
		}
	}
	return true
}

// inGuest marks a kind that would change the host that runs the tests.
func inGuest(k Kind) Kind {
	k.Guest = true
	return k
}

// capNetRaw is the value of security.capability of a program that may use raw
// sockets, from its start or when it asks for it.
func capNetRaw(fromStart byte) []byte {
	return []byte{fromStart, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
}

var attributeKinds = []Kind{
	altered("permissions changed", "FilePermissionsModified", "makes a file run with the rights of its owner",
		onFile(func(name string) error { return unix.Chmod(name, 0o4755) }), `"Mode":"4755"`, `"SetUid":true`),
	altered("permissions changed by a descriptor", "FilePermissionsModified", "makes an open file writable for all", changesOpen, `"Mode":"0666"`),
	altered("owner changed", "FileOwnerModified", "gives a file to another user and group",
		onFile(func(name string) error { return os.Chown(name, 12, 34) }), `"UserId":12`, `"GroupId":34`),
	altered("extended attribute set", "FileExtendedAttributeModified", "gives a file a capability",
		onFile(func(name string) error { return unix.Setxattr(name, "security.capability", capNetRaw(1), 0) }), "security.capability", "CAP_NET_RAW"),
	altered("extended attribute removed", "FileExtendedAttributeRemoved", "takes the capability from a file",
		onFile(func(name string) error {
			if err := unix.Setxattr(name, "security.capability", capNetRaw(1), 0); err != nil {
				return err
			}
			return unix.Removexattr(name, "security.capability")
		}), "security.capability"),
	altered("device node made", "DeviceNodeCreated", "makes a node for the null device",
		func(a *Act) error { return unix.Mknod(a.Path("x"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) }, `"Device":"1:3"`),
	deed("attribute", "times set", "FileTimestampModificationEvent", "sets the times of a file back", "x", onFile(setsBack), "2001-02-03T04:05:06Z"),
	deed("attribute", "file system mounted", "VolumeMounted", "mounts a file system in memory", "at", mounting, `"FileSystem":"tmpfs"`, `"Source":"picket-test"`, "NoExecution"),
	deed("attribute", "file system bound elsewhere", "VolumeMounted", "opens a tree and moves it to another place", "at", movesMount, `"Method":"move_mount"`, `"FileSystem":`),
	deed("attribute", "file system unmounted", "VolumeUnmounted", "unmounts that file system", "at", mounting, `"Flags":["Detach"]`),
}

var imageKinds = []Kind{{
	Name: "file mapped as code", Hook: "image", Table: "DeviceImageLoadEvents", Action: "ImageLoaded",
	Does: "maps a file that it wrote so that it can be run", Do: mapsCode, Rungs: actionRungs,
	Match: where(func(a *Act, r *event.DeviceImageLoadEvents) bool {
		return r.FolderPath == a.Path("library") && r.FileSize == 4096
	}),
}}

var privilegeKinds = []Kind{
	deed("privilege", "user changed", "ProcessUserChanged", "becomes another user", "", becomes, `"EffectiveUserId":4242`, `"Method":"setuid"`),
	deed("privilege", "group changed", "ProcessGroupChanged", "takes another group", "", becomes, `"GroupId":4242`),
	deed("privilege", "groups changed", "ProcessGroupsChanged", "takes two groups beside its own", "", takesGroups, `"Groups":[4,27]`),
	deed("privilege", "capability gained", "ProcessCapabilitiesGained", "raises a capability that its image permits and does not give", "",
		gains, `"Gained":["CAP_NET_RAW"]`),
	deed("privilege", "namespace made", "NamespaceCreated", "leaves the namespace of host names", "", onThread(func() error { return unix.Unshare(unix.CLONE_NEWUTS) }), `"Uts"`),
	deed("privilege", "process in a new namespace", "NamespaceCreated", "starts a process in a namespace of host names of its own", "", startsElsewhere, `"Uts"`, `"Method":"clone"`),
	deed("privilege", "namespace entered", "NamespaceEntered", "enters a namespace by its descriptor", "", entersNamespace, `"Uts"`),
	deed("privilege", "root folder changed", "RootDirectoryChanged", "takes its folder as the root", ".", func(a *Act) error { return unix.Chroot(a.Dir) }),
	deed("privilege", "filter for system calls set", "SeccompFilterSet", "sets a filter that allows everything with prctl", "", filtersByPrctl, `"Mode":"Filter"`),
	deed("privilege", "filter for system calls set by its own call", "SeccompFilterSet", "does the same with seccomp", "", filtersBySeccomp, `"Mode":"Filter"`),
	deed("privilege", "name of a kernel thread taken", "ProcessRenamed", "renames itself to kworker/7:7", "", renames, "kworker/7:7"),
	deed("privilege", "dumps switched off", "ProcessDumpableChanged", "makes itself not dumpable", "",
		onThread(func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }), `"Dumpable":0`),
	deed("privilege", "layout fixed", "ProcessPersonalityChanged", "switches the random layout of memory off", "", fixesLayout, "NoAddressRandomization"),
	deed("privilege", "memory file made", "MemoryFileCreated", "makes a memory file", "", makesMemoryFile, `"MemoryFileName":"picket-test-memory"`),
	upon("process traced", "PTraceDetected", "attaches to a process that it started", traces, `"Request":"Attach"`),
	upon("memory of a process written", "WriteProcessMemoryApiCall", "writes eight bytes back that it read from a process that it started", reachesInto, `"Method":"process_vm_writev"`),
	upon("memory of a process read", "ReadProcessMemoryApiCall", "reads eight bytes of a process that it started", reachesInto, `"Method":"process_vm_readv"`),
	upon("signal to another user's process", "ProcessSignalSent", "ends a process of another user", signals, `"Signal":"SIGTERM"`),
}

var kernelKinds = []Kind{
	inGuest(deed("kernel", "module loaded", "DriverLoad", "loads a module from a file", "", loadsModule, `"ModuleName":"dummy"`, `"Parameters":"numdummies=0"`)),
	inGuest(deed("kernel", "module unloaded", "DriverUnload", "unloads that module", "", loadsModule, `"ModuleName":"dummy"`)),
	inGuest(deed("kernel", "other kernel prepared", "KernelImageLoaded", "asks for another kernel of no parts", "", prepares)),
	deed("kernel", "kernel program loaded", "BpfProgramLoaded", "loads a socket filter", "", loadsProgram, `"Name":"picket_test"`, `"ProgramType":"SocketFilter"`),
	deed("kernel", "kernel map made", "BpfMapCreated", "makes an array", "", makesMap, `"Name":"picket_test"`, `"MapType":"Array"`),
	deed("kernel", "event counter opened", "PerfEventOpened", "opens a counter of nothing", "", opensCounter, `"EventType":"Software"`),
	inGuest(deed("kernel", "queue of calls made", "IoUringCreated", "sets io_uring up", "", makesQueue, `"Entries":4`)),
	inGuest(deed("kernel", "ports opened", "IoPortsAccessed", "gets access to port 128", "", opensPort, `"Method":"ioperm"`, `"FirstPort":128`)),
	inGuest(deed("kernel", "host named", "HostNameChanged", "names the host of its own namespace", "", namesHost, `"HostName":"picket-test"`)),
	inGuest(deed("kernel", "clock set", "SystemTimeChanged", "sets the clock to the time that it shows", "", setsClock, `"Clock":"RealTime"`)),
	inGuest(deed("kernel", "restart asked for", "SystemRebootRequested", "asks for a command that does not exist", "", asksRestart, `"Command":"8306910"`)),
}

var socketKinds = []Kind{
	deed("socket", "raw socket made", "RawSocketCreated", "makes a raw socket", "", makesSocket(unix.AF_INET, unix.IPPROTO_ICMP), `"Family":"IPv4"`, `"SocketProtocol":"Icmp"`),
	deed("socket", "packet socket made", "PacketSocketCreated", "makes a socket that sees all packets", "", makesSocket(unix.AF_PACKET, 0x300), `"EtherType":"0x3"`),
	deed("socket", "filter attached to a socket", "SocketFilterAttached", "attaches a filter to such a socket", "", attachesFilter, `"Family":"Packet"`),
	deed("socket", "socket of a daemon connected", "DaemonSocketConnected", "connects to a socket with the name of that of docker", "docker.sock", connectsDaemon, `"SocketType":"Stream"`),
}

// memoryKinds are opens of what holds the memory of the machine.
var memoryKinds = []Kind{
	opensMemory("memory of the machine opened", "opens /dev/mem", "/dev/mem"),
	opensMemory("memory of the kernel opened", "opens /proc/kcore", "/proc/kcore"),
	opensMemory("memory of the machine opened by another name", "makes a node for the memory of the machine and opens it", "",
		Gap{Rung: "tracepoint", Why: byName}, Gap{Rung: "tracepoint-old", Why: byName}),
}

const byName = "it knows such devices by name"

func opensMemory(name, does, path string, gaps ...Gap) Kind {
	k := deed("file", name, "KernelMemoryOpened", does, "", func(a *Act) error {
		if path != "" {
			return closed(unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0))
		}
		if err := unix.Mknod(a.Path("hidden"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 1))); err != nil {
			return fmt.Errorf("make a node: %w", err)
		}
		return closed(unix.Open(a.Path("hidden"), unix.O_RDONLY|unix.O_CLOEXEC, 0))
	})
	k.Rungs, k.Gaps = fileRungs, gaps
	k.Match = where(func(a *Act, r *event.DeviceEvents) bool {
		if path == "" {
			return r.FolderPath == a.Path("hidden") && says(r.AdditionalFields, `"Access":"Read"`)
		}
		return r.FolderPath == path && says(r.AdditionalFields, `"Access":"Read"`)
	})
	return inGuest(k)
}
