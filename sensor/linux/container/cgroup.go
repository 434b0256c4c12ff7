// SPDX-License-Identifier: Apache-2.0

package container

import (
	"strconv"
	"strings"
)

// Names of runtimes, as they are reported.
const (
	Docker     = "docker"
	Containerd = "containerd"
	Podman     = "podman"
	CRIO       = "cri-o"
	LXC        = "lxc"
	Nspawn     = "systemd-nspawn"
	BuildKit   = "buildkit"
)

// Place is what the path of a control group tells. The zero Place is the host.
type Place struct {
	ID      string
	Runtime string // empty where the path does not tell
	PodUID  string
	Owner   uint32 // user whose session runs it; 0: the system
}

// scopes are what systemd drivers write before an id of 64 digits.
var scopes = map[string]string{
	"docker": Docker, "cri-containerd": Containerd, "nerdctl": Containerd, "libpod": Podman, "libpod-payload": Podman, "crio": CRIO,
}

// parents are folders that cgroupfs drivers put such an id into.
var parents = map[string]string{
	"docker": Docker, "libpod_parent": Podman, "k8s.io": Containerd, "crio": CRIO, "ecs": Docker,
}

// FromCgroup finds the innermost container in the path of a control group, in
// version 1 and 2 layouts and those of the systemd and the cgroupfs drivers.
// Helpers that a runtime runs on the host beside a container are not in it.
func FromCgroup(path string) Place {
	var p Place
	parts := strings.Split(path, "/")
	for i, part := range parts {
		part = strings.TrimSuffix(part, ".scope")
		if uid := podUID(part); uid != "" {
			p.PodUID = uid
		}
		if owner, ok := sessionOwner(part); ok {
			p.Owner = owner
		}
		before := ""
		if i > 0 {
			before = parts[i-1]
		}
		if id, runtime, ok := contained(before, part); ok {
			p.ID, p.Runtime = id, runtime
		}
	}
	if p.ID == "" {
		return Place{}
	}
	return p
}

// contained tells the container that one element of a path names.
func contained(before, part string) (id, runtime string, ok bool) {
	if j := strings.LastIndexAny(part, "-:"); j >= 0 && IsID(part[j+1:]) {
		prefix := part[:j]
		if k := strings.LastIndexByte(prefix, ':'); k >= 0 {
			prefix = prefix[k+1:] // slice:runtime:id, as containerd writes it
		}
		if strings.HasSuffix(prefix, "conmon") {
			return "", "", false
		}
		return part[j+1:], scopes[prefix], true
	}
	if IsID(part) {
		return part, parents[before], true
	}
	if before == "buildkit" && isBuildID(part) {
		return part, BuildKit, true
	}
	if name, found := strings.CutPrefix(part, "lxc.payload."); found && name != "" {
		return name, LXC, true
	}
	if (before == "lxc" || before == "lxc.payload") && part != "" {
		return part, LXC, true
	}
	if name, found := strings.CutPrefix(part, "systemd-nspawn@"); found {
		name = unescape(strings.TrimSuffix(name, ".service"))
		return name, Nspawn, name != ""
	}
	if name, found := strings.CutPrefix(part, "machine-"); found && before == "machine.slice" {
		return machine(unescape(name))
	}
	return "", "", false
}

// machine reads the name of a registered machine. Virtual machines are
// registered like containers are.
func machine(name string) (id, runtime string, ok bool) {
	if name == "" || strings.HasPrefix(name, "qemu-") || strings.HasPrefix(name, "vmspawn-") {
		return "", "", false
	}
	if rest, found := strings.CutPrefix(name, "lxc-"); found {
		if number, inner, found := strings.Cut(rest, "-"); found && isDecimal(number) && inner != "" {
			return inner, LXC, true // by libvirt: lxc-NUMBER-NAME
		}
	}
	return name, Nspawn, true
}

// IsID reports whether s is an id as docker, containerd, CRI-O and podman
// make them.
func IsID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

func isDecimal(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

// isBuildID tells the ids of build steps: 25 digits and small letters.
func isBuildID(s string) bool {
	if len(s) != 25 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'z') {
			return false
		}
	}
	return true
}

// podUID reads the id of a pod from pod<uid> or kubepods-besteffort-pod<uid>.slice,
// where the dashes of the uid are underscores.
func podUID(part string) string {
	slice, rest, driven := strings.Cut(part, ".slice") // containerd appends :runtime:id
	if driven && rest != "" && rest[0] != ':' {
		return ""
	}
	uid, ok := strings.CutPrefix(slice, "pod")
	if !ok {
		i := strings.LastIndex(slice, "-pod")
		if i < 0 || !strings.Contains(slice[:i], "kubepods") {
			return ""
		}
		uid = slice[i+len("-pod"):]
	}
	uid = strings.ReplaceAll(uid, "_", "-")
	if bare := strings.ReplaceAll(uid, "-", ""); len(bare) != 32 || !isHex(bare) {
		return ""
	}
	return uid
}

// sessionOwner reads the user id from user-1000.slice.
func sessionOwner(part string) (uint32, bool) {
	number, ok := strings.CutPrefix(strings.TrimSuffix(part, ".slice"), "user-")
	if !ok {
		return 0, false
	}
	uid, err := strconv.ParseUint(number, 10, 32)
	return uint32(uid), err == nil
}

// unescape undoes systemd's escapes in the name of a unit: - stands for a
// slash, but a machine's name has none, and \x2d for the dash itself.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil && n > ' ' && n != '/' && n < 0x7f {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
