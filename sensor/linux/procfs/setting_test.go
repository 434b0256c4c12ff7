// SPDX-License-Identifier: Apache-2.0

//go:build linux

package procfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sys/unix"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/proc/sys/kernel/yama/ptrace_scope":      "kernel.yama.ptrace_scope",
		"/proc/sys/net/ipv4/conf/eth0/forwarding": "net.ipv4.conf.eth0.forwarding",
		"/proc/sys/net/ipv4/ip_forward":           "net.ipv4.ip_forward",
		"/proc/sys/net/core/somaxconn":            "",
		"/proc/sys/fs/suid_dumpable":              "fs.suid_dumpable",
		"/sys/kernel/tracing/kprobe_events":       "/sys/kernel/tracing/kprobe_events",
		"/sys/kernel/security/apparmor/.remove":   "/sys/kernel/security/apparmor/.remove",
		"/sys/class/net/eth0/mtu":                 "",
		"/srv/proc/sys/kernel/yama":               "",
		"":                                        "",
	} {
		got, ok := Setting(path)
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q %v, want %q", path, got, ok, want)
		}
	}
	for path, want := range map[string]uint32{
		"/proc/12/mem": 12, "/proc/12/task/13/mem": 12, "/proc/12/fd/mem": 0, "/proc/self/mem": 0, "/proc/12/mem/x": 0, "/x/12/mem": 0,
		"/proc/99999999999/mem": 0, "/proc/12/other/13/mem": 0,
	} {
		if got, _ := MemoryOf(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

func FuzzSetting(f *testing.F) {
	f.Add("/proc/sys/net/ipv4/conf/all/rp_filter")
	f.Add("/proc/12/task/3/mem")
	f.Fuzz(func(t *testing.T, path string) {
		if name, ok := Setting(path); ok == (name == "") {
			t.Errorf("%q is setting %q: %v", path, name, ok)
		}
		if pid, ok := MemoryOf(path); ok && !strings.HasPrefix(path, "/proc/") {
			t.Errorf("%q is the memory of %d", path, pid)
		}
	})
}

// The capabilities of an image are read only while it is the file that started.
func TestFileCapabilitiesOfImage(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(name, "security.capability", []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0); err != nil {
		t.Skipf("not permitted here: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		t.Fatal(err)
	}
	i := record.ImagePart{Ino: st.Ino, Dev: unix.Major(st.Dev)<<20 | unix.Minor(st.Dev)}
	if got := fmt.Sprint(FileCapabilities(name, i)); got != "[CAP_NET_RAW]" {
		t.Errorf("%s", got)
	}
	i.Ino++
	if got := FileCapabilities(name, i); got != nil {
		t.Errorf("of another file: %v", got)
	}
}
