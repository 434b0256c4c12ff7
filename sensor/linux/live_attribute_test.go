// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picket-edr/picket/event"
	"golang.org/x/sys/unix"
)

func TestLiveAttributes(t *testing.T) {
	l := startLive(t, nil)
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Chmod(0o640); err != nil { // part of its making
		t.Fatal(err)
	}
	f.Close()
	if f, err = os.OpenFile(name, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	past := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, err := range []error{
		os.Chmod(name, 0o4755|os.ModeSetuid), os.Chmod(name, 0o4755|os.ModeSetuid), f.Chown(12, 34), os.Chtimes(name, past, past),
		os.Chtimes(name, past, time.Time{}), // leaves the time of modification alone
		f.Chmod(0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	is := func(action, want string) *event.DeviceFileEvents {
		t.Helper()
		r := find(l, func(r *event.DeviceFileEvents) bool {
			return r.FolderPath == name && r.ActionType == action && strings.Contains(r.AdditionalFields, want)
		})
		if r.FileName != "file" || r.InitiatingProcessId != int64(os.Getpid()) {
			t.Errorf("%v", columns(r))
		}
		return r
	}
	is("FilePermissionsModified", `"Executable":true,"Mode":"4755","SetUid":true`)
	is("FileOwnerModified", `"GroupId":34,"UserId":12`)
	if r := is("FilePermissionsModified", `"Mode":"0600"`); r.FileMode&0o777 != 0o600 || r.FileInode == 0 {
		t.Errorf("%v", columns(r))
	}
	r := find(l, func(r *event.DeviceEvents) bool {
		return r.ActionType == "FileTimestampModificationEvent" && r.FolderPath == name
	})
	if !strings.Contains(r.AdditionalFields, `"ModificationTime":"2001-02-03T04:05:06Z"`) {
		t.Errorf("%v", columns(r))
	}
	find(l, func(r *event.DeviceEvents) bool {
		return r.FolderPath == name && strings.Contains(r.AdditionalFields, `"AccessTime":"2001-02-03T04:05:06Z","ModificationTime":"unchanged"`)
	})
	if n := len(all(l, func(r *event.DeviceFileEvents) bool {
		return r.ActionType == "FilePermissionsModified" && r.FolderPath == name
	})); n != 2 {
		t.Errorf("%d changes of permissions are told, want 2", n)
	}
}

func TestLiveExtendedAttributes(t *testing.T) {
	l := startLive(t, nil)
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	// cap_net_raw=ep
	capability := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(name, "security.capability", capability, 0); err != nil {
		t.Skipf("no extended attributes here: %v", err)
	}
	if err := unix.Removexattr(name, "security.capability"); err != nil {
		t.Fatal(err)
	}
	find(l, func(r *event.DeviceFileEvents) bool {
		return r.ActionType == "FileExtendedAttributeModified" && r.FolderPath == name && strings.Contains(r.AdditionalFields, `"FileCapabilities":["CAP_NET_RAW"]`)
	})
	find(l, func(r *event.DeviceFileEvents) bool {
		return r.ActionType == "FileExtendedAttributeRemoved" && r.FolderPath == name && strings.Contains(r.AdditionalFields, "security.capability")
	})
	node := filepath.Join(dir, "null")
	if err := unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err == nil {
		find(l, func(r *event.DeviceFileEvents) bool {
			return r.ActionType == "DeviceNodeCreated" && r.FolderPath == node && strings.Contains(r.AdditionalFields, `"Device":"1:3"`)
		})
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0x10); err != nil {
		t.Skipf("no attributes here: %v", err)
	}
	defer func() { _ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0) }()
	find(l, func(r *event.DeviceFileEvents) bool {
		return r.ActionType == "FileAttributesModified" && r.FolderPath == name && strings.Contains(r.AdditionalFields, `"Attributes":["Immutable"]`)
	})
}

func TestLiveMounts(t *testing.T) {
	l := startLive(t, nil)
	dir := t.TempDir()
	if err := unix.Mount("picket-test", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "size=64k"); err != nil {
		t.Skipf("mounting is not permitted: %v", err)
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	for action, want := range map[string]string{
		"VolumeMounted": `"FileSystem":"tmpfs","Flags":["NoSetUid","NoExecution"],"Source":"picket-test"`, "VolumeUnmounted": `"Flags":["Detach"]`,
	} {
		r := find(l, func(r *event.DeviceEvents) bool { return r.ActionType == action && r.FolderPath == dir })
		if !strings.Contains(r.AdditionalFields, want) {
			t.Errorf("%v, want %s", columns(r), want)
		}
	}
}

// A library is told once for each program, however often that runs.
func TestLiveImages(t *testing.T) {
	l := startLive(t, nil)
	program := filepath.Join(t.TempDir(), "program")
	raw, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := exec.Command(program, "0").Run(); err != nil {
			t.Fatal(err)
		}
	}
	libc := func(r *event.DeviceImageLoadEvents) bool {
		return r.InitiatingProcessFolderPath == program && strings.HasPrefix(r.FileName, "libc.so")
	}
	r := find(l, libc)
	if r.ActionType != "ImageLoaded" || r.FileSize == 0 || r.SHA256 == "" && l.lost.copy()["hash.late"] == 0 {
		t.Errorf("%v", columns(r))
	}
	l.stop()
	if n := len(all(l, libc)); n != 1 {
		t.Errorf("%d rows about one program and one library", n)
	}
}

func TestLiveDaemonSockets(t *testing.T) {
	l := startLive(t, nil)
	dir := t.TempDir()
	name := filepath.Join(dir, "docker.sock")
	s, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	other, err := net.Listen("unix", filepath.Join(dir, "other.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	alias := filepath.Join(dir, "alias")
	if err := os.Symlink(name, alias); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{other.Addr().String(), alias, name} {
		c, err := net.Dial("unix", to)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	r := find(l, func(r *event.DeviceEvents) bool {
		return r.ActionType == "DaemonSocketConnected" && strings.HasPrefix(r.FolderPath, dir)
	})
	if r.FolderPath != name || r.InitiatingProcessId != int64(os.Getpid()) {
		t.Errorf("%v", columns(r))
	}
	l.stop()
	if n := len(all(l, func(r *event.DeviceEvents) bool {
		return r.ActionType == "DaemonSocketConnected" && strings.HasPrefix(r.FolderPath, dir)
	})); n != 1 {
		t.Errorf("%d rows, want 1: a second connection and other sockets are not told", n)
	}
}

func TestLiveKernelSettings(t *testing.T) {
	const name = "/proc/sys/kernel/randomize_va_space"
	was, err := os.ReadFile(name)
	if err != nil {
		t.Skip(err)
	}
	l := startLive(t, nil)
	if err := os.WriteFile(name, was, 0o644); err != nil { // what it is already
		t.Skip(err)
	}
	r := find(l, func(r *event.DeviceEvents) bool {
		return r.ActionType == "KernelSettingChanged" && r.FolderPath == name
	})
	want := `"Setting":"kernel.randomize_va_space","Value":"` + strings.TrimSpace(string(was)) + `"`
	if !strings.Contains(r.AdditionalFields, want) {
		t.Errorf("%v, want %s", columns(r), want)
	}
}

// A program with the set-user-id bit runs as its owner, and says so.
func TestLiveSetUID(t *testing.T) {
	l := startLive(t, nil)
	program := filepath.Join(t.TempDir(), "program")
	raw, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(program, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(program).Run(); err != nil {
		t.Fatal(err)
	}
	r := find(l, func(r *event.DeviceProcessEvents) bool {
		return r.ActionType == "ProcessCreated" && r.FolderPath == program
	})
	if !strings.Contains(r.AdditionalFields, `"SetUid":true`) {
		t.Errorf("%v", columns(r))
	}
}
