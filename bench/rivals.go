// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

// rival is one sensor that is compared.
type rival struct {
	name  string
	need  string // program that must be there; "": none
	start func(ctx context.Context, dir string) (*process, error)
}

// rivals returns those that are wanted and installed; no sensor comes first.
func rivals(o CompareOptions) ([]*rival, error) {
	all := []*rival{
		{name: "none", start: func(context.Context, string) (*process, error) { return &process{}, nil }},
		{name: "picket", need: o.Sensor, start: o.startPicket},
		{name: "bpftrace", need: "bpftrace", start: startBpftrace},
		{name: "auditd", need: "auditd", start: startAuditd},
		{name: "auditd+laurel", need: "laurel", start: startLaurel},
	}
	var out []*rival
	for _, r := range all {
		wanted := r.name == "none" || len(o.Sensors) == 0 || slices.Contains(o.Sensors, r.name)
		if !wanted {
			continue
		}
		if r.need != "" {
			if _, err := exec.LookPath(r.need); err != nil {
				if len(o.Sensors) > 0 {
					return nil, fmt.Errorf("%s is not installed: %w", r.name, picket.Unavailable)
				}
				o.Log("%s is not installed and is left out", r.name)
				continue
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// startPicket runs the sensor against a server that is there for its
// enrolment only: its events go to the spool, as those of the others to a file.
func (o CompareOptions) startPicket(ctx context.Context, _ string) (*process, error) {
	h, err := startHost(ctx, o.HostOptions)
	if err != nil {
		if h != nil {
			h.stop()
		}
		return nil, err
	}
	if err := h.server.Stop(); err != nil {
		return nil, err
	}
	before, err := h.status(o.Sensor)
	if err != nil {
		return nil, err
	}
	p := &process{pids: []int{h.sensor.Process.Pid}}
	p.loss = func() uint64 {
		s, err := h.status(o.Sensor)
		if err != nil {
			return 0
		}
		var n uint64
		for class, v := range s.Lost {
			n += v - before.Lost[class]
		}
		return n
	}
	p.written = func() uint64 {
		s, err := h.status(o.Sensor)
		if err != nil {
			return 0
		}
		return uint64(max(s.Spool-before.Spool, 0))
	}
	p.kill = func() { h.stop() }
	return p, nil
}

// bpftraceScript tells of the same kinds of event as the sensor.
const bpftraceScript = `
tracepoint:syscalls:sys_enter_execve { printf("exec %d %s ", pid, comm); join(args->argv); }
tracepoint:sched:sched_process_fork { printf("fork %d %d\n", args->parent_pid, args->child_pid); }
tracepoint:sched:sched_process_exit { printf("exit %d %s\n", pid, comm); }
tracepoint:syscalls:sys_enter_openat /(args->flags & 0x43) != 0/ { printf("open %d %s %s\n", pid, comm, str(args->filename)); }
tracepoint:syscalls:sys_enter_unlink { printf("unlink %d %s\n", pid, str(args->pathname)); }
tracepoint:syscalls:sys_enter_unlinkat { printf("unlink %d %s\n", pid, str(args->pathname)); }
tracepoint:syscalls:sys_enter_renameat2 { printf("rename %d %s %s\n", pid, str(args->oldname), str(args->newname)); }
tracepoint:sock:inet_sock_set_state { printf("sock %d %d %d %d\n", pid, args->sport, args->dport, args->newstate); }
tracepoint:syscalls:sys_exit_accept4 { printf("accept %d %d\n", pid, args->ret); }
`

func startBpftrace(ctx context.Context, dir string) (*process, error) {
	script := filepath.Join(dir, "script.bt")
	if err := os.WriteFile(script, []byte(bpftraceScript), 0o600); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "events"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p, err := program("bpftrace", []string{"-B", "full", script}, out)
	if err != nil {
		return nil, err
	}
	p.loss = func() uint64 { // it tells on its output how many it lost
		b, err := os.ReadFile(out.Name())
		if err != nil {
			return 0
		}
		var n uint64
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "Lost "); ok {
				if v, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64); err == nil {
					n += v
				}
			}
		}
		return n
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return p, Poll(wait, 200*time.Millisecond, func() bool {
		b, err := os.ReadFile(out.Name())
		return err == nil && bytes.Contains(b, []byte("Attaching")) && bytes.Count(b, []byte("\n")) > 1
	})
}

// auditRules ask for the same kinds of event. Records that do not fit are
// dropped and counted: a host that waits for its audit daemon is not compared.
const auditRules = `-D
-b 65536
--backlog_wait_time 0
-a always,exit -F arch=b64 -S execve,execveat -k exec
-a always,exit -F arch=b64 -S open,openat,openat2,creat -F success=1 -F a2&0x43 -k write
-a always,exit -F arch=b64 -S unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat -k name
-a always,exit -F arch=b64 -S connect,accept,accept4,listen -k net
-a always,exit -F arch=b64 -S setuid,setgid,setresuid,setresgid,ptrace,bpf,memfd_create,init_module,finit_module,mount,chmod,fchmod,fchmodat,chown,fchown,fchownat -k priv
-e 1
`

func startAuditd(ctx context.Context, dir string) (*process, error) { return audit(ctx, dir, "") }

// startLaurel has the audit daemon pass its records to laurel, which writes
// them as JSON lines.
func startLaurel(ctx context.Context, dir string) (*process, error) {
	config := filepath.Join(dir, "laurel.toml")
	text := "directory = \"" + dir + "\"\nuser = \"root\"\n[auditlog]\nfile = \"laurel.log\"\nsize = 1000000000\ngenerations = 1\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return audit(ctx, dir, config)
}

func audit(ctx context.Context, dir, laurel string) (*process, error) {
	files := map[string]string{
		"auditd.conf": "log_file = " + dir + "/audit.log\nlog_format = RAW\nlog_group = root\nflush = INCREMENTAL_ASYNC\nfreq = 50\nmax_log_file = 4000\n" +
			"num_logs = 2\nmax_log_file_action = IGNORE\nspace_left = 75\nspace_left_action = IGNORE\nadmin_space_left = 50\nadmin_space_left_action = IGNORE\n" +
			"disk_full_action = IGNORE\ndisk_error_action = IGNORE\nname_format = NONE\npriority_boost = 4\nlocal_events = yes\nq_depth = 65536\noverflow_action = IGNORE\nplugin_dir = " + dir + "/plugins.d\n",
		"rules": auditRules,
	}
	if laurel != "" {
		files["auditd.conf"] += "write_logs = no\n"
		files["plugins.d/laurel.conf"] = "active = yes\ndirection = out\ntype = always\nformat = string\npath = /usr/sbin/laurel\nargs = --config " + laurel + "\n"
	}
	if err := os.MkdirAll(filepath.Join(dir, "plugins.d"), 0o750); err != nil {
		return nil, err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			return nil, err
		}
	}
	p, err := program("auditd", []string{"-n", "-c", dir}, nil)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	daemon := p.pids[0]
	end := p.kill
	p.kill = func() {
		// Without this rule every task that starts from now on would stay slower.
		_ = exec.Command("auditctl", "-D").Run()
		_ = exec.Command("auditctl", "-a", "task,never").Run()
		_ = exec.Command("auditctl", "-e", "0").Run()
		end()
	}
	if err := Poll(wait, 200*time.Millisecond, func() bool { return auditStatus("pid") == uint64(daemon) }); err != nil {
		p.kill()
		return nil, fmt.Errorf("the audit daemon does not register: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "auditctl", "-R", filepath.Join(dir, "rules")).CombinedOutput(); err != nil {
		p.kill()
		return nil, fmt.Errorf("rules: %w: %s", err, out)
	}
	if pid := kernelThread("kauditd"); pid != 0 {
		p.pids = append(p.pids, pid)
	}
	before := auditStatus("lost")
	p.loss = func() uint64 { return auditStatus("lost") - before }
	return p, nil
}

// auditStatus reads one figure of the kernel's audit system.
func auditStatus(name string) uint64 {
	out, err := exec.Command("auditctl", "-s").Output()
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.ParseUint(f[1], 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

func kernelThread(name string) int {
	out, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0
	}
	for _, f := range out {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == name {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err == nil {
				return pid
			}
		}
	}
	return 0
}
