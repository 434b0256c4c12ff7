// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kernel

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bpf"
)

func TestClimbTakesTheFirstRungThatWorks(t *testing.T) {
	t.Parallel()
	tried := ""
	step := func(name string, err error) rung {
		return rung{name, "blind to " + name, func(*Kernel) error { tried += name; return err }}
	}
	no := errors.New("not permitted")
	hooks := (&Kernel{}).climb([]ladder{
		{"process", []rung{step("a", no), step("b", nil), step("c", nil)}},
		{"file", []rung{step("d", no), step("e", no)}},
		{"network", []rung{step("f", nil)}},
	}, nil)
	want := []picket.Hook{
		{Kind: "process", Rung: "b", Attached: true, BlindSpot: "blind to b", Error: "a: not permitted"},
		{Kind: "file", Rung: "off", Error: "d: not permitted; e: not permitted"},
		{Kind: "network", Rung: "f", Attached: true, BlindSpot: "blind to f"},
	}
	for i, h := range hooks {
		if h != want[i] {
			t.Errorf("hook %+v, want %+v", h, want[i])
		}
	}
	if tried != "abdef" {
		t.Errorf("tried %s", tried)
	}
}

// Every section of the compiled programs is one that attach knows, and every
// shared map is there.
func TestSectionsAreKnown(t *testing.T) {
	t.Parallel()
	for _, load := range []func() (*ebpf.CollectionSpec, error){bpf.LoadProcess, bpf.LoadFile, bpf.LoadNetwork, bpf.LoadDNS, bpf.LoadStream,
		bpf.LoadAttribute, bpf.LoadImage, bpf.LoadPrivilege, bpf.LoadKernel, bpf.LoadSocket,
		bpf.LoadAttributeOld, bpf.LoadImageOld, bpf.LoadPrivilegeOld, bpf.LoadKernelOld, bpf.LoadSocketOld, bpf.LoadScript} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for name, p := range spec.Programs {
			where := strings.Split(p.SectionName, "/")
			_, cgroup := cgroupHooks[p.SectionName]
			ok := cgroup || where[0] == "tp_btf" && len(where) == 2 || where[0] == "tracepoint" && len(where) == 3 || p.SectionName == "iter/task" ||
				strings.HasSuffix(where[0], "probe") && lineHooks[name] == p.SectionName
			if !ok {
				t.Errorf("%s is in section %s", name, p.SectionName)
			}
		}
		for _, name := range sharedMaps {
			if spec.Maps[name] == nil && !slices.Contains([]string{"connections", "action_scratch_map", "repeats"}, name) {
				t.Errorf("no map %s", name)
			}
		}
		if n := spec.Maps["counters"]; n != nil && int(n.MaxEntries) != len(Classes) || n.ValueSize != counterSize {
			t.Errorf("%d classes of %d bytes in the kernel, %d of %d here", n.MaxEntries, n.ValueSize, len(Classes), counterSize)
		}
	}
}

func TestAttachRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	k := &Kernel{}
	for _, section := range []string{"", "kprobe/x", "tracepoint/x", "cgroup_skb/egress"} {
		if _, err := k.attach(section, nil); err == nil {
			t.Errorf("%q was attached", section)
		}
	}
	k.cgroup = "/sys/fs/cgroup"
	if _, err := k.attach("cgroup/nonsense", nil); err == nil {
		t.Error("an unknown control group hook was attached")
	}
	if l, err := k.attach("iter/task", nil); l != nil || err != nil {
		t.Errorf("an iterator is not attached before it is run: %v %v", l, err)
	}
}

func TestPruneFollowsTheKernel(t *testing.T) {
	t.Parallel()
	spec, err := bpf.LoadFile()
	if err != nil {
		t.Fatal(err)
	}
	k := &Kernel{types: btf.NewCache()}
	has := k.traces("sched_prepare_exec")
	k.prune(spec)
	if got := spec.Programs["file_prepare_exec"] != nil; got != has {
		t.Errorf("the kernel has the tracepoint: %v, the program stays: %v", has, got)
	}
	if got := spec.Programs["file_execve"] != nil; got == has {
		t.Errorf("the kernel has the tracepoint: %v, its stand-in stays: %v", has, got)
	}
	if k.traces("no_such_tracepoint") {
		t.Error("a tracepoint that no kernel has")
	}
}

func TestErrorsAreShort(t *testing.T) {
	t.Parallel()
	if s := short(errors.New(strings.Repeat("x", 5000))); len(s) != 300 {
		t.Errorf("%d bytes", len(s))
	}
}

func TestCgroupMount(t *testing.T) {
	t.Parallel()
	if got := cgroupMount([]byte("tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n")); got != "/sys/fs/cgroup/unified" {
		t.Errorf("cgroup2 at %q", got)
	}
}

// Names fit the room that the kernel keeps, or are cut as it cuts them.
func TestWatchedNames(t *testing.T) {
	t.Parallel()
	if got := string(nameKey("wazuh-logcollector", commRoom)); got != "wazuh-logcollec\x00" {
		t.Errorf("%q", got)
	}
	seen := map[string]bool{}
	for _, name := range append(SecurityTools, DaemonSockets...) {
		if seen[name] || name == "" {
			t.Errorf("%q is there twice or empty", name)
		}
		seen[name] = true
	}
	for _, name := range DaemonSockets {
		if len(name) >= socketRoom {
			t.Errorf("%q is longer than the kernel compares", name)
		}
	}
	spec, err := bpf.LoadPrivilege()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := bpf.LoadSocket()
	if err != nil {
		t.Fatal(err)
	}
	if spec.Maps["guarded"].KeySize != commRoom || sockets.Maps["daemons"].KeySize != socketRoom {
		t.Error("the keys have another size in the kernel")
	}
	if int(spec.Maps["guarded"].MaxEntries) < len(SecurityTools) || int(sockets.Maps["daemons"].MaxEntries) < len(DaemonSockets) {
		t.Error("there are more names than the maps hold")
	}
}

// A program whose tracepoint no kernel without modules has is left out.
func TestPruneModuleLoad(t *testing.T) {
	t.Parallel()
	spec, err := bpf.LoadKernel()
	if err != nil {
		t.Fatal(err)
	}
	k := &Kernel{types: btf.NewCache()}
	k.prune(spec)
	if got := spec.Programs["kernel_module_load"] != nil; got != k.traces("module_load") {
		t.Errorf("the program stays: %v", got)
	}
}

func TestImpostors(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"wazuh-logcollec": true, "wazuh-logcollector": false, "falco": true, "": false} {
		if IsSecurityTool(name) != want {
			t.Errorf("%q", name)
		}
	}
	for name, want := range map[string]bool{"kworker/0:1": true, "[kthreadd]": true, "sshd": true, "auditd": true, "worker": false, "": false} {
		if Impersonates(name) != want {
			t.Errorf("%q", name)
		}
	}
}
