// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package kernel climbs the ladder of hooks: it probes what the running kernel
// can be asked for, loads and attaches the best programs for each kind of
// event, and hands out their ring buffers and counters. It decides by trying,
// never by version, and knows nothing of rows.
package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/bpf"
	"github.com/picket-edr/picket/sensor/linux/procfs"
	"github.com/picket-edr/picket/sensor/linux/record"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// rung is one way of collecting a kind of event: the best that works on the
// host is taken. It is probed by doing it, never by kernel version.
type rung struct {
	name  string // as reported: tracepoint, cgroup, proc
	blind string // what it cannot see
	open  func(*Kernel) error
}

// ladder is the rungs for one kind of event, best first.
type ladder struct {
	kind  string
	rungs []rung
}

const (
	processBlind = "environment beyond 8 KiB and arguments beyond 32 KiB; the upper part of paths beyond 3,840 bytes; what a shell reads from a pipe; a program that changes its own arguments later"
	fileBlind    = "what io_uring and 32-bit programs do to files; writes through a shared mapping after the file was closed; " +
		"names given to unlink, rename and link are read after the call, so a program can show others, and symbolic links within them are not followed; " +
		"the upper part of paths beyond 3,840 bytes; memory devices opened under another name"
	hookBlind = "that two files were exchanged; a file that stays mapped after it was closed is told of when the mapping goes; " +
		"texts of symbolic links beyond 255 bytes are cut; the upper part of paths beyond 3,840 bytes; memory devices that the caller may not open"
	oldBlind = "; the upper part of paths with more than 48 components"
)

const (
	attributeBlind = "what a file had before; calls by io_uring and by 32-bit programs; mounts made by fsmount tell their place only; " +
		"names are read after the call, so a program can show others"
	privilegeBlind = "identities before a change where no record told them; targets in another process namespace that are named by id; calls by 32-bit programs"
	kernelBlind    = "calls by 32-bit programs; what io_uring does once it is set up"
	imageBlind     = "a library that the same program mapped before is not told again; the loader, which the kernel maps; " +
		"memory that is made executable later; mappings by 32-bit programs"
	socketBlind = "sockets and connections made by io_uring and by 32-bit programs; sockets of daemons under a name that is not on the list"
)

// ladders lists what the kernel can be asked for. Rungs that need trampolines
// or probes go in front of those here. The old ones are the same programs for
// kernels that cannot loop over a function, which came with 5.17.
func ladders() []ladder {
	return []ladder{
		{"process", []rung{
			{"tracepoint", processBlind, func(k *Kernel) error { return k.family(bpf.LoadProcess, required) }},
			{"tracepoint-old", processBlind + oldBlind, func(k *Kernel) error { return k.family(bpf.LoadProcessOld, required) }}}},
		{"file", []rung{
			{"lsm", hookBlind, func(k *Kernel) error { return k.openFiles(bpf.LoadFileLSM) }},
			{"fentry", hookBlind, func(k *Kernel) error { return k.openFiles(bpf.LoadFileFentry) }},
			{"kprobe", hookBlind, func(k *Kernel) error { return k.openFiles(bpf.LoadFileKprobe) }},
			{"kprobe-old", hookBlind + oldBlind, func(k *Kernel) error { return k.openFiles(bpf.LoadFileKprobeOld) }},
			{"tracepoint", fileBlind, func(k *Kernel) error { return k.openFiles(bpf.LoadFile) }},
			{"tracepoint-old", fileBlind + oldBlind, func(k *Kernel) error { return k.openFiles(bpf.LoadFileOld) }}}},
		{"network", []rung{{"tracepoint",
			"accepts by io_uring; connections attempted by 32-bit programs without a route; raw sockets and protocols other than TCP and UDP",
			func(k *Kernel) error { return k.family(bpf.LoadNetwork, whereKnown) }}}},
		{"dns", []rung{{"cgroup",
			"what is asked over TLS, HTTPS or QUIC; answers beyond 1,472 bytes are cut; processes outside the version 2 control group tree",
			func(k *Kernel) error { return k.family(bpf.LoadDNS, required) }}}},
		{"stream", []rung{{"cgroup",
			"streams that were open before the sensor; what does not begin within the first 4 packets of a stream or comes in pieces of less than 8 bytes; " +
				"QUIC and other encrypted beginnings; server names within an encrypted client hello; processes outside the version 2 control group tree",
			func(k *Kernel) error { return k.family(bpf.LoadStream, required) }}}},
		{"attribute", []rung{
			{"tracepoint", attributeBlind, func(k *Kernel) error { return k.family(bpf.LoadAttribute, whereKnown) }},
			{"tracepoint-old", attributeBlind + oldBlind, func(k *Kernel) error { return k.family(bpf.LoadAttributeOld, whereKnown) }}}},
		{"privilege", []rung{
			{"tracepoint", privilegeBlind, func(k *Kernel) error { return k.openPrivilege(bpf.LoadPrivilege) }},
			{"tracepoint-old", privilegeBlind + oldBlind, func(k *Kernel) error { return k.openPrivilege(bpf.LoadPrivilegeOld) }}}},
		{"kernel", []rung{
			{"tracepoint", kernelBlind, func(k *Kernel) error { return k.family(bpf.LoadKernel, whereKnown) }},
			{"tracepoint-old", kernelBlind + oldBlind, func(k *Kernel) error { return k.family(bpf.LoadKernelOld, whereKnown) }}}},
		{"image", []rung{
			{"tracepoint", imageBlind, func(k *Kernel) error { return k.family(bpf.LoadImage, required) }},
			{"tracepoint-old", imageBlind + oldBlind, func(k *Kernel) error { return k.family(bpf.LoadImageOld, required) }}}},
		{"socket", []rung{
			{"tracepoint", socketBlind, func(k *Kernel) error { return k.openSocket(bpf.LoadSocket) }},
			{"tracepoint-old", socketBlind + oldBlind, func(k *Kernel) error { return k.openSocket(bpf.LoadSocketOld) }}}},
	}
}

// Whether a program that cannot be attached spoils its rung.
const (
	required   = false
	whereKnown = true // a system call that this architecture has not is left out
)

const maxSnapshot = 64 << 20 // bytes of task records

// sharedMaps are one for all families that have them.
var sharedMaps = []string{"connections", "counters", "priority", "bulk", "excluded", "woken", "limits", "buckets", "action_scratch_map", "repeats"}

// Kernel holds what was loaded into it.
type Kernel struct {
	cgroup   string // where the version 2 tree is mounted
	maps     map[string]*ebpf.Map
	types    *btf.Cache
	programs map[string]*ebpf.Program
	own      map[string]*ebpf.Map // maps of one family
	counters *ebpf.Memory         // of the map of that name
	links    []link.Link
	excluded []int // processes
	lines    lineProbes
}

// Open probes the kernel and attaches to it the best rung for each kind of
// event, or the one that rungs names for a kind.
func Open(rungs map[string]string) (*Kernel, []picket.Hook) {
	k := &Kernel{maps: map[string]*ebpf.Map{}, types: btf.NewCache(), programs: map[string]*ebpf.Program{}, own: map[string]*ebpf.Map{}}
	_ = rlimit.RemoveMemlock() // before 5.11 the limit counts; where it cannot be raised loading says so
	MountTracefs()
	k.cgroup = cgroupMount(procfs.ReadSome("/proc/self/mounts", 4<<20))
	hooks := k.climb(ladders(), rungs)
	k.types = nil // the kernel's types take tens of megabytes and are not needed again
	return k, hooks
}

// climb takes for each kind the first rung that works, and only that of the
// given name where there is one.
func (k *Kernel) climb(ladders []ladder, only map[string]string) []picket.Hook {
	var hooks []picket.Hook
	for _, l := range ladders {
		h := picket.Hook{Kind: l.kind, Rung: "off"}
		var failures []string
		for _, r := range l.rungs {
			if name := only[l.kind]; name != "" && name != r.name {
				continue
			}
			if err := r.open(k); err != nil {
				failures = append(failures, r.name+": "+short(err))
				continue
			}
			h.Rung, h.Attached, h.BlindSpot = r.name, true, r.blind
			break
		}
		h.Error = strings.Join(failures, "; ")
		hooks = append(hooks, h)
	}
	return hooks
}

// short keeps the gist of an error: a verifier's log runs to thousands of lines.
func short(err error) string {
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		return fmt.Sprintf("%.200v", ve)
	}
	// A hint of the library that is wrong where something else forbids it.
	text := strings.ReplaceAll(err.Error(), " (MEMLOCK may be too low, consider rlimit.RemoveMemlock)", "")
	return fmt.Sprintf("%.300s", text)
}

// load loads the programs of one object over the common maps.
func (k *Kernel) load(load func() (*ebpf.CollectionSpec, error)) (*ebpf.CollectionSpec, *ebpf.Collection, error) {
	spec, err := load()
	if err != nil {
		return nil, nil, fmt.Errorf("read the object: %w", err)
	}
	for name, each := range map[string]int{"process_scratch_map": 1, "counters": len(Classes)} {
		if m := spec.Maps[name]; m != nil {
			m.MaxEntries = uint32(processors() * each)
		}
	}
	k.prune(spec)
	if err := k.share(spec); err != nil {
		return nil, nil, err
	}
	shared := maps.Clone(k.maps)
	maps.DeleteFunc(shared, func(name string, _ *ebpf.Map) bool { return spec.Maps[name] == nil })
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared, Cache: k.types})
	if err != nil {
		return nil, nil, fmt.Errorf("load: %w", err)
	}
	return spec, coll, nil
}

// adopt takes over programs and maps.
func (k *Kernel) adopt(coll *ebpf.Collection) {
	for name := range coll.Programs {
		k.programs[name] = coll.DetachProgram(name)
	}
	for name := range coll.Maps {
		if k.maps[name] == nil {
			k.own[name] = coll.DetachMap(name)
		}
	}
}

// family loads one object and attaches its programs, all or none.
func (k *Kernel) family(load func() (*ebpf.CollectionSpec, error), optional bool) error {
	spec, coll, err := k.load(load)
	if err != nil {
		return err
	}
	defer coll.Close() // what is taken over below is detached from it
	var links []link.Link
	undo := func(err error) error {
		for _, l := range links {
			l.Close()
		}
		return err
	}
	for name, p := range coll.Programs {
		l, err := k.attach(spec.Programs[name].SectionName, p)
		if errors.Is(err, os.ErrNotExist) && optional {
			continue
		}
		if err != nil {
			return undo(fmt.Errorf("attach %s: %w", name, err))
		}
		if l != nil {
			links = append(links, l)
		}
	}
	if len(links) == 0 {
		return errors.New("nothing to attach to")
	}
	k.links = append(k.links, links...)
	k.adopt(coll)
	return nil
}

// processors is how many the kernel may ever use.
func processors() int {
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return runtime.NumCPU()
	}
	return n
}

// stead names programs that take the place of one whose tracepoint a kernel
// has not.
var stead = map[string][]string{"file_prepare_exec": {"file_execve", "file_execveat"}, "kernel_module_load": nil}

// prune leaves out the one or the other.
func (k *Kernel) prune(spec *ebpf.CollectionSpec) {
	for name, others := range stead {
		p := spec.Programs[name]
		if p == nil {
			continue
		}
		if k.traces(strings.TrimPrefix(p.SectionName, "tp_btf/")) {
			for _, other := range others {
				delete(spec.Programs, other)
			}
		} else {
			delete(spec.Programs, name)
		}
	}
}

// traces reports whether the kernel has a tracepoint.
func (k *Kernel) traces(name string) bool {
	types, err := k.types.Kernel()
	if err != nil {
		return false
	}
	var t *btf.Typedef
	return types.TypeByName("btf_trace_"+name, &t) == nil
}

// openFiles attaches the file programs and then lets them note what is opened.
func (k *Kernel) openFiles(load func() (*ebpf.CollectionSpec, error)) error {
	if err := k.family(load, whereKnown); err != nil {
		return err
	}
	k.WatchFiles(true)
	return nil
}

// WatchFiles lets the file programs note what is opened for writing, or not.
func (k *Kernel) WatchFiles(on bool) {
	value := uint32(0)
	if on {
		value = 1
	}
	if m := k.own["watching"]; m != nil {
		_ = m.Put(uint32(0), value) // an array of one: cannot fail
	}
}

// share makes the common maps when the first family is loaded.
func (k *Kernel) share(spec *ebpf.CollectionSpec) error {
	for _, name := range sharedMaps {
		if k.maps[name] != nil || spec.Maps[name] == nil {
			continue
		}
		m, err := ebpf.NewMap(spec.Maps[name])
		if err != nil {
			return fmt.Errorf("make map %s: %w", name, err)
		}
		k.maps[name] = m
		if name == "counters" {
			if k.counters, err = m.Memory(); err != nil {
				return fmt.Errorf("read the counters as memory: %w", err)
			}
		}
	}
	return nil
}

var cgroupHooks = map[string]ebpf.AttachType{
	"cgroup_skb/egress": ebpf.AttachCGroupInetEgress, "cgroup_skb/ingress": ebpf.AttachCGroupInetIngress,
	"cgroup/bind4": ebpf.AttachCGroupInet4Bind, "cgroup/bind6": ebpf.AttachCGroupInet6Bind,
	"cgroup/sock_release": ebpf.AttachCgroupInetSockRelease,
	"cgroup/post_bind4":   ebpf.AttachCGroupInet4PostBind, "cgroup/post_bind6": ebpf.AttachCGroupInet6PostBind,
}

// attach hooks a program up by the name of its section. An iterator is run on
// demand instead.
func (k *Kernel) attach(section string, p *ebpf.Program) (link.Link, error) {
	where := strings.Split(section, "/")
	switch where[0] {
	case "tp_btf":
		return link.AttachTracing(link.TracingOptions{Program: p})
	case "tracepoint":
		if len(where) != 3 {
			return nil, fmt.Errorf("section %q names no tracepoint", section)
		}
		return link.Tracepoint(where[1], where[2], p, nil)
	case "cgroup_skb", "cgroup":
		if k.cgroup == "" {
			return nil, errors.New("no version 2 control group tree is mounted")
		}
		at, ok := cgroupHooks[section]
		if !ok {
			return nil, fmt.Errorf("section %q names no hook", section)
		}
		return link.AttachCgroup(link.CgroupOptions{Path: k.cgroup, Attach: at, Program: p})
	case "lsm":
		return k.attachLSM(p)
	case "fentry", "fexit":
		return link.AttachTracing(link.TracingOptions{Program: p})
	case "kprobe", "kretprobe":
		if len(where) != 2 {
			return nil, fmt.Errorf("section %q names no function", section)
		}
		if where[0] == "kprobe" {
			return link.Kprobe(where[1], p, nil)
		}
		return link.Kretprobe(where[1], p, nil)
	case "iter":
		return nil, nil
	}
	return nil, fmt.Errorf("section %q is of an unknown kind", section)
}

// attachLSM hooks a program up as a security module. A kernel that was not
// booted with the one for programs takes it and never asks it.
func (k *Kernel) attachLSM(p *ebpf.Program) (link.Link, error) {
	const dir = "/sys/kernel/security"
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Type != unix.SECURITYFS_MAGIC {
		_ = unix.Mount("securityfs", dir, "securityfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	active, err := os.ReadFile(dir + "/lsm")
	if err != nil {
		return nil, fmt.Errorf("security modules cannot be told: %w", err)
	}
	if !slices.Contains(strings.Split(strings.TrimSpace(string(active)), ","), "bpf") {
		return nil, fmt.Errorf("bpf is not among the security modules %q: %w", active, ebpf.ErrNotSupported)
	}
	return link.AttachLSM(link.LSMOptions{Program: p})
}

// Close detaches everything. Rings must not be read any more.
func (k *Kernel) Close() error {
	errs := []error{k.Detach()}
	for _, p := range k.programs {
		errs = append(errs, p.Close())
	}
	for _, m := range k.maps {
		errs = append(errs, m.Close())
	}
	for _, m := range k.own {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// Detach stops the programs but keeps maps and rings for a last reading. The
// kernel waits for all processors at each, so they go together.
func (k *Kernel) Detach() error {
	var g errgroup.Group
	g.Go(k.lines.end)
	for _, l := range k.links {
		g.Go(l.Close)
	}
	k.links = nil
	return g.Wait()
}

// MountTracefs mounts the file system in which classic tracepoints are named.
// Hosts with systemd have it mounted, smaller ones often not.
func MountTracefs() {
	var st unix.Statfs_t
	if unix.Statfs("/sys/kernel/tracing", &st) == nil && st.Type == unix.TRACEFS_MAGIC {
		return
	}
	// Without it the file hooks fail to attach and say so.
	_ = unix.Mount("tracefs", "/sys/kernel/tracing", "tracefs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700")
}

// cgroupMount finds the version 2 tree in the text of /proc/self/mounts.
func cgroupMount(mounts []byte) string {
	s := bufio.NewScanner(bytes.NewReader(mounts))
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) >= 3 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	return ""
}

// Cgroup is where the version 2 control group tree is mounted; "" when it is not.
func (k *Kernel) Cgroup() string { return k.cgroup }

// Exclude replaces the processes whose doings are not collected.
func (k *Kernel) Exclude(pids []int) error {
	m := k.maps["excluded"]
	if m == nil {
		return nil // nothing is collected
	}
	var errs []error
	for _, pid := range pids {
		if err := m.Put(uint32(pid), uint32(1)); err != nil {
			errs = append(errs, fmt.Errorf("exclude process %d: %w", pid, err))
		}
	}
	for _, pid := range k.excluded {
		if slices.Contains(pids, pid) {
			continue
		}
		if err := m.Delete(uint32(pid)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("collect of process %d again: %w", pid, err))
		}
	}
	k.excluded = slices.Clone(pids)
	return errors.Join(errs...)
}

// Flows is the map of UDP flows, by socket and peer; nil while they are not
// collected by it.
func (k *Kernel) Flows() *ebpf.Map {
	if k == nil {
		return nil
	}
	return k.own["flows"]
}

// OpenFiles is the map of files that are open for writing, by the address of
// their struct file; nil while files are not collected by it.
func (k *Kernel) OpenFiles() *ebpf.Map {
	if k == nil {
		return nil
	}
	return k.own["open_files"]
}

// Tasks walks over all processes.
func (k *Kernel) Tasks() ([]*record.Task, error) {
	if k == nil || k.programs["process_all"] == nil {
		return nil, fmt.Errorf("no iterator: %w", ebpf.ErrNotSupported)
	}
	it, err := link.AttachIter(link.IterOptions{Program: k.programs["process_all"]})
	if err != nil {
		return nil, fmt.Errorf("attach the iterator: %w", err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return nil, fmt.Errorf("open the iterator: %w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxSnapshot))
	if err != nil {
		return nil, fmt.Errorf("read the iterator: %w", err)
	}
	return record.Tasks(b), nil
}
