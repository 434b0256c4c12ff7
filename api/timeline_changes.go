// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"strings"
)

// changeSentences are the sentences of what changed in files by which programs
// and accounts stay on a host. A name after a plus is a key of
// AdditionalFields; {+change} says added, changed or removed.
var changeSentences = map[string]string{
	"ScheduledTaskCreated":             "{InitiatingProcessFileName} created the scheduled task {FolderPath}",
	"ScheduledTaskUpdated":             "{InitiatingProcessFileName} changed the scheduled task {FolderPath}",
	"ScheduledTaskDeleted":             "{InitiatingProcessFileName} removed the scheduled task {FolderPath}",
	"ScheduledTaskEnabled":             "{InitiatingProcessFileName} enabled the timer {FileName}",
	"ScheduledTaskDisabled":            "{InitiatingProcessFileName} disabled the timer {FileName}",
	"ServiceInstalled":                 "{InitiatingProcessFileName} installed the service {FolderPath}",
	"ServiceModified":                  "{InitiatingProcessFileName} changed the service {FolderPath}",
	"ServiceDeleted":                   "{InitiatingProcessFileName} removed the service {FolderPath}",
	"ServiceEnabled":                   "{InitiatingProcessFileName} enabled the service {FileName}",
	"ServiceDisabled":                  "{InitiatingProcessFileName} disabled the service {FileName}",
	"SystemdGeneratorModified":         "{InitiatingProcessFileName} {+change} the systemd generator {FolderPath}",
	"DbusServiceModified":              "{InitiatingProcessFileName} {+change} the D-Bus service {FolderPath}",
	"ShellProfileModified":             "{InitiatingProcessFileName} {+change} the shell profile {FolderPath}",
	"XdgAutostartModified":             "{InitiatingProcessFileName} {+change} what a desktop starts: {FolderPath}",
	"MotdScriptModified":               "{InitiatingProcessFileName} {+change} a script of the message of the day: {FolderPath}",
	"EnvironmentModified":              "{InitiatingProcessFileName} {+change} variables of all sessions: {FolderPath}",
	"ApplicationProfileModified":       "{InitiatingProcessFileName} {+change} the start file {FolderPath}",
	"DynamicLinkerConfigModified":      "{InitiatingProcessFileName} {+change} what the dynamic linker loads: {FolderPath}",
	"UdevRuleModified":                 "{InitiatingProcessFileName} {+change} the udev rules {FolderPath}",
	"KernelModuleConfigModified":       "{InitiatingProcessFileName} {+change} which kernel modules are loaded: {FolderPath}",
	"KernelModuleFileModified":         "{InitiatingProcessFileName} {+change} the kernel module {FolderPath}",
	"KernelParameterConfigModified":    "{InitiatingProcessFileName} {+change} kernel parameters: {FolderPath}",
	"InitramfsModified":                "{InitiatingProcessFileName} {+change} a part of the first file system: {FolderPath}",
	"BootImageModified":                "{InitiatingProcessFileName} {+change} the boot image {FolderPath}",
	"BootConfigModified":               "{InitiatingProcessFileName} {+change} the boot configuration {FolderPath}",
	"UserAccountCreated":               "{InitiatingProcessFileName} created the account {AccountName}",
	"UserAccountDeleted":               "{InitiatingProcessFileName} removed the account {AccountName}",
	"UserAccountModified":              "{InitiatingProcessFileName} changed the account {AccountName}",
	"UserAccountAddedToLocalGroup":     "{InitiatingProcessFileName} added {AccountName} to the group {+GroupName}",
	"UserAccountRemovedFromLocalGroup": "{InitiatingProcessFileName} removed {AccountName} from the group {+GroupName}",
	"SecurityGroupCreated":             "{InitiatingProcessFileName} created the group {+GroupName}",
	"SecurityGroupDeleted":             "{InitiatingProcessFileName} removed the group {+GroupName}",
	"SecurityGroupModified":            "{InitiatingProcessFileName} changed the group {+GroupName}",
	"PasswordChanged":                  "{InitiatingProcessFileName} changed the password of {subject}: {+Change}",
	"PamConfigModified":                "{InitiatingProcessFileName} {+change} the PAM configuration {FolderPath}",
	"PamModuleModified":                "{InitiatingProcessFileName} {+change} the PAM module {FolderPath}",
	"SudoersModified":                  "{InitiatingProcessFileName} {+change} who may use sudo: {FolderPath}",
	"PolkitRuleModified":               "{InitiatingProcessFileName} {+change} the polkit rule {FolderPath}",
	"SudoTimestampModified":            "{InitiatingProcessFileName} {+change} a record that lets sudo skip the password: {FolderPath}",
	"SshAuthorizedKeysModified":        "{InitiatingProcessFileName} {+change} SSH keys that may log on: {FolderPath}",
	"SshConfigModified":                "{InitiatingProcessFileName} {+change} the SSH configuration {FolderPath}",
	"SshHostKeyModified":               "{InitiatingProcessFileName} {+change} the SSH host key {FolderPath}",
	"RemoteTrustModified":              "{InitiatingProcessFileName} {+change} whom the host trusts: {FolderPath}",
	"LoginPolicyModified":              "{InitiatingProcessFileName} {+change} rules for logons: {FolderPath}",
	"RootCertificateInstalled":         "{InitiatingProcessFileName} installed the root certificate {+Subject}",
	"RootCertificateRemoved":           "{InitiatingProcessFileName} removed the root certificate {+Subject}",
	"RootCertificateStoreModified":     "{InitiatingProcessFileName} {+change} trusted certificates: {FolderPath}",
	"PackageInstalled":                 "{InitiatingProcessFileName} installed the package {+PackageName} {+PackageVersion}",
	"PackageUpgraded":                  "{InitiatingProcessFileName} changed the package {+PackageName} to {+PackageVersion}",
	"PackageRemoved":                   "{InitiatingProcessFileName} removed the package {+PackageName}",
	"PackageDatabaseModified":          "{InitiatingProcessFileName} {+change} the database of packages {FolderPath}",
	"PackageScriptModified":            "{InitiatingProcessFileName} {+change} the package script {FolderPath}",
	"PackageManagerConfigModified":     "{InitiatingProcessFileName} {+change} the package manager's configuration {FolderPath}",
	"BrowserExtensionInstalled":        "{InitiatingProcessFileName} installed the browser extension {+ExtensionId}",
	"BrowserExtensionModified":         "{InitiatingProcessFileName} changed the browser extension {+ExtensionId}",
	"BrowserExtensionRemoved":          "{InitiatingProcessFileName} removed the browser extension {+ExtensionId}",
	"BrowserPolicyModified":            "{InitiatingProcessFileName} {+change} the browser policy {FolderPath}",
	"PythonStartupModified":            "{InitiatingProcessFileName} {+change} what Python runs when it starts: {FolderPath}",
	"GitHookModified":                  "{InitiatingProcessFileName} {+change} the git hook {FolderPath}",
	"NetworkDispatcherModified":        "{InitiatingProcessFileName} {+change} what runs when the network changes: {FolderPath}",
	"NameResolutionModified":           "{InitiatingProcessFileName} {+change} how names are resolved: {FolderPath}",
	"FirewallConfigModified":           "{InitiatingProcessFileName} {+change} rules of the firewall: {FolderPath}",
	"ContainerConfigModified":          "{InitiatingProcessFileName} {+change} the configuration of containers {FolderPath}",
	"AuditPolicyModification":          "{InitiatingProcessFileName} {+change} what is audited: {FolderPath}",
	"LoggingConfigModified":            "{InitiatingProcessFileName} {+change} what is logged: {FolderPath}",
	"LogRotationModified":              "{InitiatingProcessFileName} {+change} the rotation of logs: {FolderPath}",
	"SecurityControlModified":          "{InitiatingProcessFileName} {+change} the security configuration {FolderPath}",
	"SecurityLogCleared":               "{InitiatingProcessFileName} took away from the log {FolderPath}: {+Cleared}",
}

// extraField reads one text out of AdditionalFields; "" when there is none.
func extraField(f map[string]string, key string) string {
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(f["AdditionalFields"]), &m) != nil {
		return ""
	}
	var s string
	if json.Unmarshal(m[key], &s) != nil {
		return ""
	}
	return s
}

// changePart is what stands for a name after a plus.
func changePart(f map[string]string, name string) string {
	switch name {
	case "change":
		switch extraField(f, "Operation") {
		case "Created":
			return "added"
		case "Deleted":
			return "removed"
		}
		return "changed"
	case "Change", "Cleared":
		return strings.ToLower(extraField(f, name))
	}
	return extraField(f, name)
}
