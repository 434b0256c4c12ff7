// SPDX-License-Identifier: Apache-2.0

package container

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
)

// Where runtimes keep their state, below the root of the host.
var (
	dockerRoots = []string{"var/lib/docker", "var/snap/docker/common/var-lib-docker"}
	bundleRoots = []string{
		"run/containerd/io.containerd.runtime.v2.task", "run/k3s/containerd/io.containerd.runtime.v2.task",
		"var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task",
		"run/containerd/io.containerd.runtime.v1.linux",
	}
	storageRoots = []string{"var/lib/containers/storage", "run/containers/storage"}
	homeStorage  = ".local/share/containers/storage"
	homeDocker   = ".local/share/docker"
)

// find reads the state of a container; nil when no runtime has any. It may
// take as long as the disk does.
func find(root string, p Place) *Info {
	var i *Info
	switch {
	case strings.ContainsAny(p.ID, "/\x00") || p.ID == "." || p.ID == ".." || len(p.ID) > 255:
		return nil
	case p.Runtime == LXC:
		i = findLXC(root, p.ID)
	case p.Runtime == Nspawn:
		i = findMachine(root, p.ID)
	case IsID(p.ID):
		i = findByID(root, p)
	}
	if i == nil {
		return nil
	}
	return i.settle(root, p)
}

// findByID tries the runtimes that use ids. The one that the control group
// names is asked first; a bundle of containerd may belong to docker. Below a
// user's session only what that user runs counts: any user can make a group
// there that is called like a container of the system.
func findByID(root string, p Place) *Info {
	if p.Owner != 0 {
		return findAtHome(root, p)
	}
	if p.Runtime == Podman || p.Runtime == CRIO {
		if i := findStorage(root, p); i != nil {
			return i
		}
	}
	if i := findDocker(root, p.ID); i != nil {
		return i
	}
	if i := findBundle(root, p.ID); i != nil {
		return i
	}
	return findStorage(root, p)
}

// findAtHome reads what runtimes of a user keep below that user's home.
func findAtHome(root string, p Place) *Info {
	home := homeOf(read(filepath.Join(root, "etc/passwd"), maxFile), p.Owner)
	if home == "" {
		return nil
	}
	home = filepath.Join(root, home)
	if b := readBelow(home, filepath.Join(homeDocker, "containers", p.ID, "config.v2.json"), maxFile); b != nil {
		return parseDocker(b)
	}
	return storage(p.ID, func(name string, limit int64) []byte { return readBelow(home, filepath.Join(homeStorage, name), limit) })
}

// settle completes what was found: the labels of a pod are written at its
// sandbox, and what the control group tells fills gaps.
func (i *Info) settle(root string, p Place) *Info {
	if IsID(i.sandbox) && i.sandbox != p.ID {
		if s := findByID(root, Place{ID: i.sandbox, Runtime: i.Runtime, Owner: p.Owner}); s != nil {
			i.labels = s.labels
		}
	}
	i.ID, i.Told = clip(p.ID), true
	if p.Runtime != "" {
		i.Runtime = p.Runtime
	}
	if i.PodUID == "" {
		i.PodUID = p.PodUID
	}
	if i.ImageDigest == "" {
		if _, digest, ok := strings.Cut(i.Image, "@"); ok {
			i.ImageDigest = digest
		}
	}
	i.Labels = labelsJSON(i.labels)
	for _, s := range []*string{&i.Name, &i.Image, &i.ImageDigest, &i.PodName, &i.PodNamespace, &i.PodUID} {
		*s = clip(*s)
	}
	i.labels = nil
	return i
}

// kubernetes takes over what a runtime's labels or annotations tell of a pod.
func (i *Info) kubernetes(m map[string]string) {
	i.PodName = first(m, "io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri-o.KubeName")
	i.PodNamespace = first(m, "io.kubernetes.pod.namespace", "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri-o.Namespace")
	i.PodUID = first(m, "io.kubernetes.pod.uid", "io.kubernetes.cri.sandbox-uid")
	i.sandbox = first(m, "io.kubernetes.sandbox.id", "io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID")
	if name := first(m, "io.kubernetes.container.name", "io.kubernetes.cri.container-name"); name != "" {
		i.Name = name
	}
}

func first(m map[string]string, keys ...string) string {
	for _, k := range keys {
		if v := m[k]; v != "" {
			return v
		}
	}
	return ""
}

func findDocker(root, id string) *Info {
	roots := dockerRoots
	if dir := dockerRoot(read(filepath.Join(root, "etc/docker/daemon.json"), maxFile)); dir != "" {
		roots = append([]string{dir}, roots...)
	}
	for _, dir := range roots {
		if b := read(filepath.Join(root, dir, "containers", id, "config.v2.json"), maxFile); b != nil {
			return parseDocker(b)
		}
	}
	return nil
}

// dockerRoot reads where docker was told to keep its data.
func dockerRoot(b []byte) string {
	var v struct {
		DataRoot string `json:"data-root"`
	}
	if len(b) == 0 || json.Unmarshal(b, &v) != nil || !filepath.IsAbs(v.DataRoot) {
		return ""
	}
	return v.DataRoot
}

// parseDocker reads docker's record of a container. It may be caught while it
// is written: nil, and another try comes.
func parseDocker(b []byte) *Info {
	var v struct {
		Name, Image   string
		ImageManifest struct {
			Digest string `json:"digest"`
		}
		Config struct {
			Image  string
			Labels map[string]string
		}
	}
	if json.Unmarshal(b, &v) != nil {
		return nil
	}
	i := &Info{Runtime: Docker, Name: strings.TrimPrefix(v.Name, "/"), Image: v.Config.Image, labels: v.Config.Labels}
	if i.ImageDigest = v.ImageManifest.Digest; i.ImageDigest == "" && !strings.Contains(i.Image, "@") {
		i.ImageDigest = v.Image
	}
	i.kubernetes(v.Config.Labels)
	return i
}

func findBundle(root, id string) *Info {
	for _, base := range bundleRoots {
		for _, namespace := range folders(filepath.Join(root, base)) {
			if b := read(filepath.Join(namespace, id, "config.json"), maxFile); b != nil {
				i := parseBundle(b)
				if i != nil && i.Runtime == "" {
					i.Runtime = Containerd
					if filepath.Base(namespace) == "moby" {
						i.Runtime = Docker
					}
				}
				return i
			}
		}
	}
	return nil
}

// parseBundle reads the annotations that runtimes add to an OCI bundle.
func parseBundle(b []byte) *Info {
	var v struct{ Annotations map[string]string }
	if json.Unmarshal(b, &v) != nil {
		return nil
	}
	a := v.Annotations
	i := &Info{Name: first(a, "nerdctl/name", "io.container.name"),
		Image: first(a, "io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.Image",
			"nerdctl/image-name", "org.opencontainers.image.ref.name", "io.podman.annotations.image")}
	i.kubernetes(a)
	for k, runtime := range map[string]string{"io.kubernetes.cri-o.ContainerID": CRIO, "io.kubernetes.cri-o.ContainerType": CRIO,
		"io.kubernetes.cri.container-type": Containerd} {
		if a[k] != "" {
			i.Runtime = runtime
		}
	}
	if i.Runtime == "" && a["io.container.manager"] == "libpod" {
		i.Runtime = Podman
	}
	if i.Runtime == CRIO {
		i.crio(a)
	}
	return i
}

// crio reads what CRI-O packs as JSON into annotations.
func (i *Info) crio(a map[string]string) {
	var labels map[string]string
	if json.Unmarshal([]byte(a["io.kubernetes.cri-o.Labels"]), &labels) == nil {
		i.labels = labels
		own := *i
		i.kubernetes(labels)
		i.sandbox = own.sandbox
		for _, s := range []struct{ to, from *string }{{&i.PodName, &own.PodName}, {&i.PodNamespace, &own.PodNamespace}, {&i.PodUID, &own.PodUID}} {
			if *s.to == "" {
				*s.to = *s.from
			}
		}
	}
	if ref := a["io.kubernetes.cri-o.ImageRef"]; strings.Contains(ref, "sha256:") {
		i.ImageDigest = ref[strings.LastIndex(ref, "sha256:"):]
	}
	if i.Name == "" {
		i.Name = a["io.kubernetes.cri-o.Name"]
	}
}

// findStorage reads the store that podman and CRI-O share.
func findStorage(root string, p Place) *Info {
	for _, dir := range storageRoots {
		i := storage(p.ID, func(name string, limit int64) []byte { return read(filepath.Join(root, dir, name), limit) })
		if i != nil {
			return i
		}
	}
	return nil
}

func storage(id string, read func(string, int64) []byte) *Info {
	b := read(filepath.Join("overlay-containers", id, "userdata/config.json"), maxFile)
	if b == nil {
		return nil
	}
	i := parseBundle(b)
	if i == nil {
		return nil
	}
	if i.Runtime == "" {
		i.Runtime = Podman
	}
	i.fromIndex(read("overlay-containers/containers.json", maxIndex), id)
	return i
}

// fromIndex completes a container from the list that its store keeps.
func (i *Info) fromIndex(b []byte, id string) {
	var all []struct {
		ID       string   `json:"id"`
		Names    []string `json:"names"`
		Image    string   `json:"image"`
		Metadata string   `json:"metadata"`
	}
	if len(b) == 0 || json.Unmarshal(b, &all) != nil {
		return
	}
	for _, c := range all {
		if c.ID != id {
			continue
		}
		var m struct {
			Name  string `json:"name"`
			Image string `json:"image-name"`
		}
		_ = json.Unmarshal([]byte(c.Metadata), &m) // where it is something else the names are left
		if i.Name == "" {
			if i.Name = m.Name; i.Name == "" && len(c.Names) > 0 {
				i.Name = c.Names[0]
			}
		}
		if m.Image != "" && i.Image == "" {
			i.Image = m.Image
		}
		if i.ImageDigest == "" && IsID(c.Image) && !strings.Contains(i.Image, "@") {
			i.ImageDigest = "sha256:" + c.Image
		}
		return
	}
}

// homeOf finds the home of a user in the text of /etc/passwd.
func homeOf(passwd []byte, uid uint32) string {
	want := strconv.FormatUint(uint64(uid), 10)
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= 6 && f[2] == want && filepath.IsAbs(f[5]) {
			return filepath.Clean(f[5])
		}
	}
	return ""
}

// findLXC reads the configuration of a container of LXC, or of LXD or Incus.
func findLXC(root, name string) *Info {
	if b := read(filepath.Join(root, "var/lib/lxc", name, "config"), maxFile); b != nil {
		return parseLXC(b, name)
	}
	for _, dir := range []string{"var/lib/incus", "var/lib/lxd", "var/snap/lxd/common/lxd"} {
		if b := read(filepath.Join(root, dir, "containers", name, "backup.yaml"), maxFile); b != nil {
			return parseLXD(b, name)
		}
	}
	return nil
}

// parseLXC takes the image from the comment that the template left: which
// distribution and release it downloaded, or else the template itself.
func parseLXC(b []byte, name string) *Info {
	i := &Info{Runtime: LXC, Name: name}
	template, rootfs := "", ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "# Template used to create this container:"); ok {
			template = filepath.Base(strings.TrimSpace(text))
		}
		if text, ok := strings.CutPrefix(line, "# Parameters passed to the template:"); ok {
			i.Image = templateImage(strings.Fields(text))
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if ok && (key == "lxc.rootfs.path" || key == "lxc.rootfs") {
			rootfs = value
		}
	}
	if i.Image == "" {
		i.Image = template
	}
	if i.Image == "" {
		i.Image = rootfs
	}
	return i
}

func templateImage(words []string) string {
	var dist, release string
	for n := 0; n+1 < len(words); n++ {
		switch words[n] {
		case "-d", "--dist":
			dist = words[n+1]
		case "-r", "--release":
			release = words[n+1]
		}
	}
	if dist == "" {
		return ""
	}
	return strings.TrimSuffix(dist+"/"+release, "/")
}

// parseLXD reads the few lines that matter of a backup.yaml.
func parseLXD(b []byte, name string) *Info {
	i := &Info{Runtime: LXC, Name: name}
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		switch {
		case key == "image.description" && i.Image == "":
			i.Image = value
		case key == "volatile.base_image" && IsID(value) && i.ImageDigest == "":
			i.ImageDigest = "sha256:" + value
		}
	}
	return i
}

// findMachine reads what systemd keeps of a registered machine.
func findMachine(root, name string) *Info {
	if b := read(filepath.Join(root, "run/systemd/machines", name), maxFile); b != nil {
		return parseMachine(b, name)
	}
	return nil
}

func parseMachine(b []byte, name string) *Info {
	i := &Info{Runtime: Nspawn, Name: name}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && key == "ROOT" {
			i.Image = strings.Trim(value, `"`)
		}
	}
	return i
}
