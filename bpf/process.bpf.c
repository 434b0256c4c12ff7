// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// Processes: start, fork, end, and a walk over all that run.
#include "picket.h"

#define ARGS_MAX 32768
#define ENV_MAX 8192
#define PF_FORKNOEXEC 0x40
#define SIGNAL_GROUP_EXIT 4

typedef SCRATCH(65536) process_scratch;
#define SCRATCH_TYPE process_scratch
#define SCRATCH_MASK 0xffff
#include "walk.h"

// Sized to the number of processors by user space. A per-CPU map cannot hold
// values of this size.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, process_scratch);
} process_scratch_map SEC(".maps");

struct cgroup_step { process_scratch *s; };

STEP long cgroup_walk_step(u64 i, struct cgroup_step *c)
{
	process_scratch *s = c->s;
	struct kernfs_node *kn = (void *)s->dentry;
	struct kernfs_node___v5 *old = (void *)kn;
	struct kernfs_node *parent;
	u32 off = s->off;

	if (bpf_core_field_exists(kn->__parent))
		parent = BPF_CORE_READ(kn, __parent);
	else
		parent = BPF_CORE_READ(old, parent);
	if (!parent)
		return 1;
	if (off + 256 > s->limit) {
		s->flags |= FLAG_PATH_CUT;
		return 1;
	}
	BOUND(off, SCRATCH_MASK);
	long n = bpf_probe_read_kernel_str(s->buf + off, 256, BPF_CORE_READ(kn, name));
	if (n > 0)
		s->off = off + n;
	s->dentry = (u64)parent;
	return 0;
}

static __always_inline struct cgroup *controller(struct css_set *set, u64 id)
{
	struct cgroup_subsys_state *css = NULL;
	if (id < 16)
		bpf_core_read(&css, sizeof(css), &set->subsys[id]);
	return css ? BPF_CORE_READ(css, cgroup) : NULL;
}

// The control group that tells most: version 2 unless the process is in its
// root, as all are on hosts that still use version 1.
static __always_inline u32 put_cgroup(process_scratch *s, struct task_struct *t)
{
	struct css_set *set = BPF_CORE_READ(t, cgroups);
	struct cgroup *g = BPF_CORE_READ(set, dfl_cgrp);
	struct cgroup_step c = { s };
	u32 before = s->off;

	if (BPF_CORE_READ(g, level) == 0 && bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
		struct cgroup *v1 = controller(set, bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id));
		if (v1)
			g = v1;
	}
	if (BPF_CORE_READ(g, level) == 0 && bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		struct cgroup *v1 = controller(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
		if (v1)
			g = v1;
	}
	s->dentry = (u64)BPF_CORE_READ(g, kn);
	s->limit = before + 1024;
	LOOP(16, cgroup_walk_step, &c);
	return s->off - before;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *t, s32 old_pid, struct linux_binprm *bprm)
{
	u32 cpu = bpf_get_smp_processor_id();
	process_scratch *s = bpf_map_lookup_elem(&process_scratch_map, &cpu);

	if (!s || !take(&s->busy)) {
		count_lost(CLASS_EXEC);
		return 0;
	}
	struct exec_record *r = (void *)s->buf;
	struct mm_struct *mm = BPF_CORE_READ(t, mm);
	struct file *exe = BPF_CORE_READ(mm, exe_file);
	struct inode *inode = BPF_CORE_READ(exe, f_inode);
	struct fs_struct *fs = BPF_CORE_READ(t, fs);
	u64 args = BPF_CORE_READ(mm, arg_start), args_end = BPF_CORE_READ(mm, arg_end);
	u64 env = BPF_CORE_READ(mm, env_start), env_end = BPF_CORE_READ(mm, env_end);

	s->off = sizeof(*r);
	s->flags = 0;
	fill_header(&r->h, t, REC_EXEC, 0);
	fill_task(&r->task, t);
	fill_image(&r->image, inode);

	r->exe_len = put_path(s, BPF_CORE_READ(exe, f_path.mnt), BPF_CORE_READ(exe, f_path.dentry));
	r->h.flags = s->flags & FLAG_NAMELESS; // said of the image, not of the folder
	r->cwd_len = put_path(s, BPF_CORE_READ(fs, pwd.mnt), BPF_CORE_READ(fs, pwd.dentry));
	s->flags &= ~FLAG_NAMELESS;
	r->cgroup_len = put_cgroup(s, t);

	r->args_total = args_end > args ? args_end - args : 0;
	r->args_len = put_user(s, args, r->args_total, ARGS_MAX);
	r->env_total = env_end > env ? env_end - env : 0;
	r->env_len = put_user(s, env, r->env_total, ENV_MAX);
	r->pad = 0;
	if (r->args_total > ARGS_MAX)
		s->flags |= FLAG_ARGS_CUT;
	if (r->env_total > ENV_MAX)
		s->flags |= FLAG_ENV_CUT;
	r->h.flags |= s->flags;

	u32 len = s->off;
	r->h.len = len;
	if (len > sizeof(s->buf))
		len = sizeof(s->buf);
	asm volatile("" : "+r"(len));
	if (len > sizeof(s->buf) ||
	    bpf_ringbuf_output(&priority, s->buf, len, wake_flags(&priority, RING_PRIORITY, r->h.time)))
		count_lost(CLASS_EXEC);
	else
		count_produced(CLASS_EXEC);
	give(&s->busy);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0; // a thread
	struct fork_record *r = bpf_ringbuf_reserve(&priority, sizeof(*r), 0);
	if (!r) {
		count_lost(CLASS_FORK);
		return 0;
	}
	fill_header(&r->h, parent, REC_FORK, sizeof(*r));
	r->child_start = BPF_CORE_READ(child, start_boottime);
	r->child_pid = BPF_CORE_READ(child, tgid);
	r->pad = 0;
	bpf_ringbuf_submit(r, wake_flags(&priority, RING_PRIORITY, r->h.time));
	count_produced(CLASS_FORK);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *t)
{
	struct signal_struct *sig = BPF_CORE_READ(t, signal);
	// The last thread takes the process with it. Two that end at once may both
	// see zero: user space drops the second record.
	if (BPF_CORE_READ(sig, live.counter) != 0)
		return 0;
	struct exit_record *r = bpf_ringbuf_reserve(&priority, sizeof(*r), 0);
	if (!r) {
		count_lost(CLASS_EXIT);
		return 0;
	}
	fill_header(&r->h, t, REC_EXIT, sizeof(*r));
	r->code = BPF_CORE_READ(t, exit_code);
	if (BPF_CORE_READ(sig, flags) & SIGNAL_GROUP_EXIT)
		r->code = BPF_CORE_READ(sig, group_exit_code);
	r->utime = BPF_CORE_READ(sig, utime) + BPF_CORE_READ(t, utime);
	r->stime = BPF_CORE_READ(sig, stime) + BPF_CORE_READ(t, stime);
	r->runtime = BPF_CORE_READ(sig, sum_sched_runtime) + BPF_CORE_READ(t, se.sum_exec_runtime);
	r->flags = BPF_CORE_READ(t, group_leader, flags) & PF_FORKNOEXEC ? 1 : 0;
	bpf_ringbuf_submit(r, wake_flags(&priority, RING_PRIORITY, r->h.time));
	count_produced(CLASS_EXIT);
	return 0;
}

struct task_record {
	struct header h;
	struct task_part task;
	struct image_part image;
};

// Every process that runs, with the exact start time that /proc rounds off.
SEC("iter/task")
int process_all(struct bpf_iter__task *ctx)
{
	struct task_struct *t = ctx->task;
	struct task_record r;

	if (!t || BPF_CORE_READ(t, pid) != BPF_CORE_READ(t, tgid))
		return 0;
	__builtin_memset(&r, 0, sizeof(r));
	fill_header(&r.h, t, REC_TASK, sizeof(r));
	fill_task(&r.task, t);
	struct mm_struct *mm = BPF_CORE_READ(t, mm);
	if (mm) {
		struct inode *i = BPF_CORE_READ(mm, exe_file, f_inode);
		if (i)
			fill_image(&r.image, i);
	}
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
