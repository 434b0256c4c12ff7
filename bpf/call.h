// SPDX-License-Identifier: Apache-2.0
// What programs at the exit of system calls share: arguments, descriptors and
// the names that were passed. A program includes walk.h before it.
#pragma once

#define AT_FDCWD (-100)
#define S_IFMT 0170000
#define FMODE_CREATED (1u << 20)

#define EPERM 1
#define EACCES 13
#define REFUSED(ret) ((ret) == -EPERM || (ret) == -EACCES)

// One copy in each object, which need not use it.
#define SHARED static __noinline __attribute__((unused))

// An argument of the system call that now returns.
static __always_inline u64 argument(int n)
{
	struct pt_regs *regs = user_regs();
#if defined(__TARGET_ARCH_x86)
	switch (n) {
	case 0: return BPF_CORE_READ(regs, di);
	case 1: return BPF_CORE_READ(regs, si);
	case 2: return BPF_CORE_READ(regs, dx);
	case 3: return BPF_CORE_READ(regs, r10);
	case 4: return BPF_CORE_READ(regs, r8);
	default: return BPF_CORE_READ(regs, r9);
	}
#else
	// The result has taken the place of the first one.
	switch (n) {
	case 0: return BPF_CORE_READ(regs, orig_x0);
	case 1: return BPF_CORE_READ(regs, regs[1]);
	case 2: return BPF_CORE_READ(regs, regs[2]);
	case 3: return BPF_CORE_READ(regs, regs[3]);
	case 4: return BPF_CORE_READ(regs, regs[4]);
	default: return BPF_CORE_READ(regs, regs[5]);
	}
#endif
}

static __always_inline struct file *file_of(struct task_struct *t, s64 fd)
{
	struct file *f = NULL;
	struct fdtable *table = BPF_CORE_READ(t, files, fdt);
	if (fd < 0 || fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&f, sizeof(f), BPF_CORE_READ(table, fd) + fd);
	return f;
}

static __always_inline u32 put_text(SCRATCH_TYPE *s, u64 user)
{
	u32 off = s->off;
	BOUND(off, SCRATCH_MASK);
	long n = bpf_probe_read_user_str(s->buf + off, PATH_ROOM, (void *)user);
	if (n <= 0 || n > PATH_ROOM) {
		s->flags |= FLAG_UNREADABLE;
		return 0;
	}
	s->off = off + n;
	return n;
}

// The folder that a name is relative to: the root of the process for an
// absolute one, which is no path where it is that of the host or a container,
// else the descriptor or the working directory.
static __always_inline u32 put_base(SCRATCH_TYPE *s, struct task_struct *t, s32 dfd, u64 user)
{
	struct fs_struct *fs = BPF_CORE_READ(t, fs);
	struct vfsmount *mnt;
	struct dentry *dentry;
	char first = 0;
	bpf_probe_read_user(&first, 1, (void *)user);
	if (first == '/') {
		mnt = BPF_CORE_READ(fs, root.mnt);
		dentry = BPF_CORE_READ(fs, root.dentry);
	} else if (dfd == AT_FDCWD) {
		mnt = BPF_CORE_READ(fs, pwd.mnt);
		dentry = BPF_CORE_READ(fs, pwd.dentry);
	} else {
		struct file *f = file_of(t, dfd);
		if (!f)
			return 0;
		mnt = BPF_CORE_READ(f, f_path.mnt);
		dentry = BPF_CORE_READ(f, f_path.dentry);
	}
	return put_path(s, mnt, dentry);
}

// What every action record begins with, of the current process.
SHARED int fill_action(struct action_record *r, u32 action, s32 result)
{
	struct task_struct *t = current_task();
	const struct cred *cred = BPF_CORE_READ(t, cred);
	struct nsproxy *ns = BPF_CORE_READ(t, nsproxy);
	__builtin_memset(r, 0, sizeof(*r));
	fill_header(&r->h, t, REC_ACTION, 0);
	r->action = action;
	r->result = result;
	bpf_core_read(&r->caps, sizeof(r->caps), &cred->cap_effective);
	r->mnt_ns = BPF_CORE_READ(ns, mnt_ns, ns.inum);
	r->pid_ns = BPF_CORE_READ(ns, pid_ns_for_children, ns.inum);
	r->user_ns = BPF_CORE_READ(cred, user_ns, ns.inum);
	return 0;
}
