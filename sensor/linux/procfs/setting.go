// SPDX-License-Identifier: Apache-2.0

//go:build linux

package procfs

import (
	"strconv"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

// MemoryOf is the process whose memory a file of /proc is.
func MemoryOf(path string) (pid uint32, ok bool) {
	rest, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return 0, false
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 2 && len(parts) != 4 || parts[len(parts)-1] != "mem" || len(parts) == 4 && parts[1] != "task" {
		return 0, false
	}
	n, err := strconv.ParseUint(parts[0], 10, 32)
	if err != nil {
		return 0, false
	}
	return uint32(n), true
}

// settings are what is told of: below /proc/sys by the beginning of the name
// that sysctl gives it, elsewhere by the beginning of the path.
var (
	settings = []string{"kernel.", "fs.protected_", "fs.suid_dumpable", "fs.binfmt_misc", "vm.mmap_min_addr", "vm.unprivileged_userfaultfd",
		"vm.overcommit_memory", "vm.drop_caches", "user.max_", "dev.tty.", "net.core.bpf_jit_", "net.ipv4.ip_forward", "net.ipv4.tcp_syncookies", "net.ipv4.icmp_"}
	settingSuffixes = []string{".forwarding", ".accept_redirects", ".send_redirects", ".accept_source_route", ".rp_filter", ".log_martians",
		".route_localnet", ".accept_ra", ".disable_ipv6"}
	settingFiles = []string{"/sys/kernel/security/", "/sys/kernel/debug/", "/sys/kernel/tracing/", "/sys/fs/selinux/", "/sys/module/",
		"/sys/kernel/mm/", "/sys/power/", "/proc/sysrq-trigger"}
)

// Setting names the setting that a file of the kernel is, when it is one that
// matters to the safety of the host.
func Setting(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "/proc/sys/")
	if !ok {
		for _, prefix := range settingFiles {
			if strings.HasPrefix(path, prefix) {
				return path, true
			}
		}
		return "", false
	}
	name := strings.ReplaceAll(rest, "/", ".")
	for _, prefix := range settings {
		if strings.HasPrefix(name, prefix) {
			return name, true
		}
	}
	if strings.HasPrefix(name, "net.") {
		for _, suffix := range settingSuffixes {
			if strings.HasSuffix(name, suffix) {
				return name, true
			}
		}
	}
	return "", false
}

// OwnPidNamespace is the inode of the process-id namespace of the sensor, in
// which ids that it knows count; 0 when it cannot be told.
func OwnPidNamespace() uint32 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) != nil {
		return 0
	}
	return uint32(st.Ino)
}

// FileCapabilities reads what an image may do beside its user, if it still is
// the file that was started.
func FileCapabilities(path string, i record.ImagePart) []string {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Ino != i.Ino || unix.Major(st.Dev)<<20|unix.Minor(st.Dev) != i.Dev {
		return nil
	}
	value := make([]byte, 64)
	n, err := unix.Lgetxattr(path, "security.capability", value)
	if err != nil {
		return nil
	}
	return record.FileCapabilities(value[:n])
}
