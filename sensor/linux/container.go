// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/picket-edr/picket/sensor/linux/record"
)

const (
	maxContainerFile = 1 << 20
	maxContainers    = 4096
)

// containerOf finds the container in the path of a control group: docker,
// containerd, CRI-O and podman name it by 64 hexadecimal digits, in version 1
// and 2 layouts; LXC and nspawn by the name of the machine.
func containerOf(cgroup string) string {
	parts := strings.Split(cgroup, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		p := strings.TrimSuffix(parts[i], ".scope")
		if j := strings.LastIndexAny(p, "-:"); j >= 0 && isContainerID(p[j+1:]) {
			return p[j+1:]
		}
		if isContainerID(p) {
			return p
		}
	}
	for i, p := range parts {
		if name, ok := strings.CutPrefix(p, "lxc.payload."); ok && name != "" {
			return name
		}
		if p == "lxc" && i+1 < len(parts) && parts[i+1] != "" {
			return parts[i+1]
		}
		if name, ok := strings.CutPrefix(p, "systemd-nspawn@"); ok {
			return strings.TrimSuffix(name, ".service")
		}
		if name, ok := strings.CutPrefix(p, "machine-"); ok && i > 0 && parts[i-1] == "machine.slice" {
			return strings.TrimSuffix(name, ".scope")
		}
	}
	return ""
}

func isContainerID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

// containers remembers which image a container was made from, as its runtime
// wrote it down.
type containers struct {
	root  string // "/" but for tests
	known map[string]string
}

func newContainers(root string) *containers {
	return &containers{root: root, known: map[string]string{}}
}

// image returns the image of a container, "" where no runtime tells.
func (c *containers) image(id string) string {
	if id == "" || strings.ContainsAny(id, "/\x00") || id == ".." {
		return ""
	}
	if img, ok := c.known[id]; ok {
		return img
	}
	if len(c.known) >= maxContainers {
		clear(c.known)
	}
	img := c.look(id)
	c.known[id] = img
	return img
}

func (c *containers) look(id string) string {
	if !isContainerID(id) {
		return ""
	}
	if b := readSome(filepath.Join(c.root, "var/lib/docker/containers", id, "config.v2.json"), maxContainerFile); b != nil {
		return dockerImage(b)
	}
	bundles, err := filepath.Glob(filepath.Join(c.root, "run/containerd/io.containerd.runtime.v2.task/*", id, "config.json"))
	if err == nil && len(bundles) > 0 {
		return ociImage(readSome(bundles[0], maxContainerFile))
	}
	for _, dir := range []string{"run/containers/storage/overlay-containers", "var/lib/containers/storage/overlay-containers"} {
		if b := readSome(filepath.Join(c.root, dir, id, "userdata/config.json"), maxContainerFile); b != nil {
			return ociImage(b)
		}
	}
	return ""
}

// dockerImage reads the image name from docker's record of a container.
func dockerImage(b []byte) string {
	var v struct{ Config struct{ Image string } }
	if json.Unmarshal(b, &v) != nil {
		return ""
	}
	return record.Clean(v.Config.Image)
}

// ociImage reads the image name from the annotations that the runtimes add to
// an OCI bundle.
func ociImage(b []byte) string {
	var v struct{ Annotations map[string]string }
	if json.Unmarshal(b, &v) != nil {
		return ""
	}
	for _, key := range []string{
		"io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.Image",
		"org.opencontainers.image.ref.name", "io.podman.annotations.image",
	} {
		if img := v.Annotations[key]; img != "" {
			return record.Clean(img)
		}
	}
	return ""
}
