// SPDX-License-Identifier: Apache-2.0

package container

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// idOf is the id that the trees in testdata give to a container.
func idOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func TestFromCgroup(t *testing.T) {
	t.Parallel()
	id, inner := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	const uid = "3e0c4d2b-8a51-4c0e-9a77-2b6a4f5e6d7c"
	under := strings.ReplaceAll(uid, "-", "_")
	for in, want := range map[string]Place{
		"/": {}, "": {}, "/user.slice/user-0.slice/session-1.scope": {},
		"/system.slice/cron.service":                       {},
		"/docker/" + id:                                    {ID: id, Runtime: Docker},
		"/docker/" + id + "/init.scope":                    {ID: id, Runtime: Docker},
		"/system.slice/docker-" + id + ".scope":            {ID: id, Runtime: Docker},
		"/ecs/" + id[:32] + "/" + id:                       {ID: id},
		"/kubepods/besteffort/pod" + uid + "/" + id:        {ID: id, PodUID: uid},
		"/kubepods/burstable/pod" + id[:32] + "/" + id:     {ID: id, PodUID: id[:32]}, // static pods
		"/default/" + id:                                   {ID: id},
		"/k8s.io/" + id:                                    {ID: id, Runtime: Containerd},
		"/system.slice/nerdctl-" + id + ".scope":           {ID: id, Runtime: Containerd},
		"/machine.slice/libpod-" + id + ".scope":           {ID: id, Runtime: Podman},
		"/libpod_parent/libpod-" + id:                      {ID: id, Runtime: Podman},
		"/machine.slice/libpod-" + id + ".scope/container": {ID: id, Runtime: Podman},
		"/machine.slice/libpod-conmon-" + id + ".scope":    {},
		"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container": {ID: id, Runtime: Podman, Owner: 1000},
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + id + ".scope": {
			ID: id, Runtime: Containerd, PodUID: uid},
		"/kubepods.slice/kubepods-pod" + under + ".slice/crio-" + id + ".scope/container": {ID: id, Runtime: CRIO, PodUID: uid},
		"/kubepods.slice/kubepods-pod" + under + ".slice/crio-conmon-" + id + ".scope":    {},
		"/system.slice/containerd.service/kubepods-burstable-pod" + under + ".slice:cri-containerd:" + id: {
			ID: id, Runtime: Containerd, PodUID: uid},
		"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope": {ID: id, Runtime: Containerd},
		// kind: a pod within a node that is a container itself.
		"/docker/" + inner + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + under + ".slice/cri-containerd-" + id + ".scope": {
			ID: id, Runtime: Containerd, PodUID: uid},
		"/docker/" + inner + "/docker/" + id:                                {ID: id, Runtime: Docker},
		"/docker/" + inner + "/system.slice/libpod-conmon-" + id + ".scope": {ID: inner, Runtime: Docker},
		"/docker/buildkit/vn2qk7k9xl8pv3o2ds7y2y9rp":                        {ID: "vn2qk7k9xl8pv3o2ds7y2y9rp", Runtime: BuildKit},
		"/docker/buildkit/short":                                            {},
		"/lxc/web/init.scope":                                               {ID: "web", Runtime: LXC},
		"/lxc.payload.db/system.slice":                                      {ID: "db", Runtime: LXC},
		"/lxc.payload/db":                                                   {ID: "db", Runtime: LXC},
		"/lxc.monitor.db":                                                   {},
		`/machine.slice/machine-lxc\x2d4711\x2dmail.scope`:                  {ID: "mail", Runtime: LXC},
		`/machine.slice/machine-qemu\x2d1\x2dwindows.scope/libvirt`:         {},
		`/machine.slice/machine-my\x2ddebian.scope/payload`:                 {ID: "my-debian", Runtime: Nspawn},
		"/machine.slice/machine-sid.scope":                                  {ID: "sid", Runtime: Nspawn},
		"/machine.slice/systemd-nspawn@sid.service/payload/init.scope":      {ID: "sid", Runtime: Nspawn},
		"/docker/" + strings.ToUpper(id):                                    {},
		"/process/" + id[:32]:                                               {},
	} {
		if diff := cmp.Diff(want, FromCgroup(in)); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	api := Info{Name: "api", Runtime: Docker, Image: "registry.test/api@sha256:" + idOf("image-b"), ImageDigest: "sha256:" + idOf("image-b"),
		PodName: "api-0", PodNamespace: "prod", PodUID: "3e0c4d2b-8a51-4c0e-9a77-2b6a4f5e6d7c", Labels: `{"app":"api","tier":"backend"}`}
	ledger := Info{Name: "ledger", Runtime: CRIO, Image: "quay.io/bank/ledger:2", ImageDigest: "sha256:" + idOf("image-a"),
		PodName: "ledger-1", PodNamespace: "bank", PodUID: "9c8b7a65-1111-2222-3333-444455556666", Labels: `{"app":"ledger","pod-template-hash":"6b7"}`}
	pause := ledger
	pause.Name, pause.Image, pause.ImageDigest = "POD", "registry.k8s.io/pause:3.9", ""
	redis := Info{Name: "redis", Runtime: Containerd, Image: "docker.io/library/redis:7", PodName: "cache-7d9", PodNamespace: "default",
		PodUID: "0f6b1a53-6a0d-4c43-8d4d-0d6f1f2e3a4b"}
	for _, c := range []struct {
		place Place
		want  *Info
	}{
		{Place{ID: idOf("docker-web"), Runtime: Docker}, &Info{Name: "shop-web-1", Runtime: Docker, Image: "nginx:1.25", ImageDigest: "sha256:" + idOf("image-b"),
			Labels: `{"com.docker.compose.project":"shop","com.docker.compose.service":"web","maintainer":"NGINX Docker Maintainers <docker-maint@nginx.com>"}`}},
		{Place{ID: idOf("docker-pod")}, &api},
		{Place{ID: idOf("containerd-app"), Runtime: Containerd}, &redis},
		{Place{ID: idOf("nerdctl")}, &Info{Name: "proxy", Runtime: Containerd, Image: "docker.io/library/haproxy:3.0"}},
		{Place{ID: idOf("moby")}, &Info{Runtime: Docker}},
		{Place{ID: idOf("crio-app"), Runtime: CRIO, PodUID: "from-the-path"}, &ledger},
		{Place{ID: idOf("crio-sandbox")}, &pause},
		{Place{ID: idOf("podman-db"), Runtime: Podman}, &Info{Name: "db", Runtime: Podman, Image: "docker.io/library/postgres:16", ImageDigest: "sha256:" + idOf("image-c")}},
		{Place{ID: idOf("rootless"), Runtime: Podman, Owner: 1000}, &Info{Name: "toy", Runtime: Podman, ImageDigest: "sha256:" + idOf("image-a")}},
		{Place{ID: "mail", Runtime: LXC}, &Info{Name: "mail", Runtime: LXC, Image: "debian/trixie"}},
		{Place{ID: "plain", Runtime: LXC}, &Info{Name: "plain", Runtime: LXC, Image: "overlayfs:/srv/base:/srv/plain"}},
		{Place{ID: "dev", Runtime: LXC}, &Info{Name: "dev", Runtime: LXC, Image: "ubuntu 24.04 LTS amd64 (release)", ImageDigest: "sha256:" + idOf("image-a")}},
		{Place{ID: "sid", Runtime: Nspawn}, &Info{Name: "sid", Runtime: Nspawn, Image: "/var/lib/machines/sid"}},
		{Place{ID: idOf("rootless"), Runtime: Podman}, nil},
		{Place{ID: idOf("rootless"), Runtime: Podman, Owner: 77}, nil},
		{Place{ID: idOf("docker-web"), Runtime: Docker, Owner: 1000}, nil}, // a user's group called like a container of the system
		{Place{ID: idOf("broken")}, nil},
		{Place{ID: "..", Runtime: LXC}, nil},
		{Place{ID: "../lxc/mail", Runtime: LXC}, nil},
		{Place{ID: "nowhere", Runtime: Nspawn}, nil},
		{Place{ID: "vn2qk7k9xl8pv3o2ds7y2y9rp", Runtime: BuildKit}, nil},
	} {
		got := find("testdata/host", c.place)
		if c.want != nil {
			c.want.ID, c.want.Told = c.place.ID, true
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(Info{}), cmpopts.IgnoreFields(Info{}, "sandbox")); diff != "" {
			t.Errorf("%+v: %s", c.place, diff)
		}
	}
}

func TestCacheRetries(t *testing.T) {
	t.Parallel()
	root, now, looks := t.TempDir(), time.Unix(1000, 0), 0
	guard := func(look func() *Info) (*Info, bool) {
		looks++
		return look(), true
	}
	c := NewCache(Options{Root: root, Now: func() time.Time { return now }, Guard: guard})
	p := Place{ID: idOf("late"), Runtime: Docker, PodUID: "u"}
	if c.Get(Place{}) != nil || looks != 0 {
		t.Fatal("the host is no container")
	}
	for range 3 {
		if i := c.Get(p); i.Told || i.ID != p.ID || i.Runtime != Docker || i.PodUID != "u" {
			t.Fatalf("before its state is there: %+v", i)
		}
	}
	if looks != 1 {
		t.Fatalf("%d looks at once, want 1", looks)
	}
	for want, wait := 2, retryFirst; want < 20; want, wait = want+1, min(2*wait, retryLast) {
		now = now.Add(wait - 1)
		c.Get(p)
		if now = now.Add(1); looks != want-1 {
			t.Fatalf("looked %v too early", wait)
		}
		if c.Get(p); looks != want {
			t.Fatalf("did not look after %v", wait)
		}
	}
	put(t, filepath.Join(root, "var/lib/docker/containers", p.ID, "config.v2.json"), `{"Name":"/late","Config":{"Image":"x"}}`)
	now = now.Add(retryLast)
	if i := c.Get(p); !i.Told || i.Name != "late" || i.PodUID != "u" {
		t.Fatalf("after its state came: %+v", i)
	}
	if err := os.RemoveAll(filepath.Join(root, "var")); err != nil {
		t.Fatal(err)
	}
	now, looks = now.Add(time.Hour), 0
	if i := c.Get(p); i.Name != "late" || looks != 0 {
		t.Fatalf("a container that is gone is forgotten: %+v after %d looks", i, looks)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	looks := 0
	c := NewCache(Options{Root: t.TempDir(), Guard: func(func() *Info) (*Info, bool) { looks++; return nil, false }})
	first := Place{ID: "c0", Runtime: LXC}
	for n := range 2 * maxKnown {
		if i := c.Get(Place{ID: fmt.Sprintf("c%d", n), Runtime: LXC}); i.Name == "" {
			t.Fatal("no name")
		}
		c.Get(first) // used all the time: stays
	}
	if len(c.known) != maxKnown || c.order.Len() != maxKnown || c.known[first] == nil {
		t.Errorf("%d places known, %d in order", len(c.known), c.order.Len())
	}
}

// What stands in the place of a state file may be anything.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	root, id := t.TempDir(), idOf("hostile")
	put(t, filepath.Join(root, "etc/passwd"), "ana:x:1000:1000::/home/ana:/bin/sh\n")
	home := filepath.Join(root, "home/ana/.local/share/containers/storage/overlay-containers", id, "userdata")
	put(t, filepath.Join(root, "secret"), `{"annotations":{"nerdctl/name":"stolen"}}`)
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	name, p := filepath.Join(home, "config.json"), Place{ID: id, Runtime: Podman, Owner: 1000}
	for what, create := range map[string]func() error{
		"pipe":             func() error { return syscall.Mkfifo(name, 0o600) },
		"folder":           func() error { return os.Mkdir(name, 0o700) },
		"link out of home": func() error { return os.Symlink(filepath.Join(root, "secret"), name) },
		"device":           func() error { return os.Symlink("/dev/zero", name) },
		"large":            func() error { return os.WriteFile(name, make([]byte, maxFile+1), 0o600) },
		"wrong types":      func() error { return os.WriteFile(name, []byte(`{"annotations":[1]}`), 0o600) },
	} {
		if err := create(); err != nil {
			t.Fatal(what, err)
		}
		if i := find(root, p); i != nil {
			t.Errorf("%s: %+v", what, i)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	many := map[string]string{"io.kubernetes.pod.name": "x", strings.Repeat("k", maxText+1): "y"}
	for n := range 2 * maxLabels {
		many[fmt.Sprint("label", n)] = strings.Repeat("é", maxText) + "\x00"
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(labelsJSON(many)), &got); err != nil || len(got) != maxLabels {
		t.Fatalf("%d labels, %v", len(got), err)
	}
	for k, v := range got {
		if !strings.HasPrefix(k, "label") || len(v) > maxText || !utf8.ValidString(v) {
			t.Errorf("label %q has %d bytes", k, len(v))
		}
	}
	if labelsJSON(map[string]string{"io.kubernetes.pod.uid": "1"}) != "" {
		t.Error("labels of Kubernetes itself are kept")
	}
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzFromCgroup(f *testing.F) {
	id := strings.Repeat("0a", 32)
	for _, seed := range []string{"/docker/" + id, "/a.slice:cri-containerd:" + id, "/user-1.slice/libpod-" + id + ".scope",
		`/machine.slice/machine-a\x2db.scope`, "/lxc/..", "/kubepods-pod1.slice", "/docker/buildkit/vn2qk7k9xl8pv3o2ds7y2y9rp"} {
		f.Add(seed)
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, path string) {
		p := FromCgroup(path)
		if strings.Contains(p.ID, "/") || p.ID == "" && p != (Place{}) {
			t.Fatalf("%+v", p)
		}
		if find(root, p) != nil {
			t.Fatalf("%+v was found in an empty folder", p)
		}
	})
}

func FuzzState(f *testing.F) {
	for _, seed := range []string{`{"Name":"/a","Config":{"Image":"x","Labels":{"a":"b"}}}`, `{"annotations":{"io.kubernetes.cri-o.Labels":"{\"a\":1}"}}`,
		`[{"id":"x","metadata":"{}"}]`, "# Parameters passed to the template: -d a -r", "image.description: x", "ROOT=/x", "a:b:1000:1:::", `{"data-root":"/x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dockerRoot(b)
		homeOf(b, 1000)
		index := &Info{}
		index.fromIndex(b, "x")
		for _, i := range []*Info{parseDocker(b), parseBundle(b), parseLXC(b, "n"), parseLXD(b, "n"), parseMachine(b, "n"), index} {
			if i == nil {
				continue
			}
			i.sandbox = ""
			i.settle("/nowhere", Place{ID: "n"})
			for _, s := range []string{i.Name, i.Image, i.ImageDigest, i.PodName, i.PodNamespace, i.PodUID} {
				if len(s) > 3*maxText || !utf8.ValidString(s) || strings.Contains(s, "\x00") {
					t.Fatalf("%q", s)
				}
			}
			if i.Labels != "" && !json.Valid([]byte(i.Labels)) {
				t.Fatalf("labels %q", i.Labels)
			}
		}
	})
}
