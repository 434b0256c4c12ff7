// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kernel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// SecurityTools are processes that are told of when another one signals,
// slows or bounds them, by the name that the kernel keeps of them.
var SecurityTools = []string{
	"picket-sensor", "auditd", "audisp-syslog", "osqueryd", "falco", "tetragon", "tracee", "sysmon", "sysmonforlinux",
	"clamd", "freshclam", "clamonacc", "wazuh-agentd", "wazuh-syscheckd", "wazuh-logcollec", "wazuh-execd", "ossec-agentd", "ossec-syscheckd",
	"elastic-agent", "elastic-endpoint", "auditbeat", "filebeat", "mdatp", "wdavdaemon", "falcon-sensor", "cbagentd", "sentineld",
	"velociraptor", "rsyslogd", "syslog-ng", "systemd-journal", "fail2ban-server", "crowdsec", "suricata", "snort", "zeek", "aide", "apparmor",
}

// DaemonSockets are the names, without their folder, of sockets through which
// a client makes a daemon act with the rights of root.
var DaemonSockets = []string{
	"docker.sock", "containerd.sock", "containerd.sock.ttrpc", "crio.sock", "podman.sock", "buildkitd.sock", "cri-dockerd.sock", "kubelet.sock",
	"libvirt-sock", "libvirt-admin-sock", "virtqemud-sock", "private", "io.systemd.Manager", "io.systemd.Home", "system_bus_socket",
	"snapd.socket", "lxd.socket", "unix.socket", "packagekit.sock", "dockershim.sock", "salt_master.sock", "supervisor.sock",
	"haproxy.sock", "acpid.socket", "multipathd.socket", "lvmpolld.socket",
}

const (
	commRoom   = 16 // bytes of the name of a process, with the NUL
	socketRoom = 32
)

func (k *Kernel) openPrivilege(load func() (*ebpf.CollectionSpec, error)) error {
	if err := k.family(load, whereKnown); err != nil {
		return err
	}
	return fillNames(k.own["guarded"], SecurityTools, commRoom)
}

func (k *Kernel) openSocket(load func() (*ebpf.CollectionSpec, error)) error {
	if err := k.family(load, required); err != nil {
		return err
	}
	return fillNames(k.own["daemons"], DaemonSockets, socketRoom)
}

// fillNames puts names of a fixed room into a map. What is longer is cut as
// the kernel cuts it.
func fillNames(m *ebpf.Map, names []string, room int) error {
	for _, name := range names {
		if err := m.Put(nameKey(name, room), uint32(1)); err != nil {
			return fmt.Errorf("watch for %s: %w", name, err)
		}
	}
	return nil
}

func nameKey(name string, room int) []byte {
	key := make([]byte, room)
	copy(key[:room-1], name)
	return key
}

// IsSecurityTool knows names whole and as the kernel cuts them.
func IsSecurityTool(name string) bool {
	const room = commRoom - 1
	return slices.ContainsFunc(SecurityTools, func(tool string) bool {
		return name == tool || len(name) == room && len(tool) > room && tool[:room] == name
	})
}

// impostors are names that a process takes to be overlooked: those of kernel
// threads, of which these are the beginnings, and of daemons on every host.
var (
	kernelThreads = []string{"[", "kworker", "kthread", "ksoftirqd", "kswapd", "kdevtmpfs", "khugepaged", "kcompactd", "kblockd", "kauditd",
		"migration/", "rcu_", "cpuhp/", "irq/", "jbd2/", "xfs-", "scsi_", "watchdog", "writeback", "idle_inject", "ext4-", "md_", "crypto", "bioset"}
	daemonNames = []string{"systemd", "init", "sshd", "cron", "crond", "dbus-daemon", "bash", "sh", "login", "agetty", "nginx", "apache2", "httpd",
		"mysqld", "postgres", "dockerd", "containerd", "udevd", "systemd-udevd", "systemd-logind", "polkitd", "NetworkManager"}
)

// Impersonates reports whether a name is one of those.
func Impersonates(name string) bool {
	for _, prefix := range kernelThreads {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains(daemonNames, name) || IsSecurityTool(name)
}
