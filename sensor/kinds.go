// SPDX-License-Identifier: Apache-2.0

package sensor

// Kinds are the kinds of events that a policy can switch off.
var Kinds = []string{"process", "file", "network", "stream", "interface", "firewall", "dns", "logon", "script", "attribute", "privilege", "kernel", "image", "socket"}

// kindsOfActions are the rows of the tables that hold several kinds. What is
// not listed has the kind of its table, or none: that cannot be switched off.
var kindsOfActions = map[string][]string{
	"dns":    {"DnsQueryRequest", "DnsQueryResponse"},
	"script": {"ScriptContent"},
	"attribute": {"FilePermissionsModified", "FileOwnerModified", "FileAttributesModified", "FileExtendedAttributeModified",
		"FileExtendedAttributeRemoved", "DeviceNodeCreated", "FileTimestampModificationEvent", "VolumeMounted", "VolumeUnmounted"},
	"privilege": {"ProcessUserChanged", "ProcessGroupChanged", "ProcessGroupsChanged", "ProcessCapabilitiesGained", "UnexplainedPrivilegeGain",
		"NamespaceCreated", "NamespaceEntered", "RootDirectoryChanged", "SeccompFilterSet", "ProcessRenamed", "ProcessDumpableChanged",
		"ProcessTracerAllowed", "ProcessMemoryMapChanged", "SecureBitsChanged", "AmbientCapabilityRaised", "ProcessPersonalityChanged",
		"MemoryFileCreated", "KeyringAccessed", "ProcessSignalSent", "ProcessPriorityChanged", "ProcessLimitChanged", "PTraceDetected",
		"ReadProcessMemoryApiCall", "WriteProcessMemoryApiCall"},
	"kernel": {"DriverLoad", "DriverUnload", "BpfProgramLoaded", "BpfMapCreated", "BpfOperation", "KernelImageLoaded", "KernelSettingChanged",
		"KernelMemoryOpened", "IoPortsAccessed", "PerfEventOpened", "IoUringCreated", "UserFaultHandlerCreated", "SystemRebootRequested",
		"SystemTimeChanged", "HostNameChanged", "DomainNameChanged", "SwapEnabled", "SwapDisabled"},
	"socket": {"RawSocketCreated", "PacketSocketCreated", "SocketFilterAttached", "DaemonSocketConnected"},
}
