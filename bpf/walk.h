// SPDX-License-Identifier: Apache-2.0
// Steps that run under bpf_loop with all their state in a scratch value: the
// verifier then checks one step instead of every number of steps. A program
// defines SCRATCH_TYPE and SCRATCH_MASK before it includes this.
#pragma once

// Before 5.17 there is no bpf_loop: the steps become the body of a loop, which
// the verifier follows turn by turn.
#ifdef PICKET_OLD
#define STEP static __always_inline
#define LOOP(n, step, c) ({ \
	u32 turns_ = 0; \
	_Pragma("clang loop unroll(disable)") \
	while (turns_ < (n) && !step(turns_, c)) \
		turns_++; \
	turns_; \
})
#else
#define STEP static
#define LOOP(n, step, c) bpf_loop(n, step, c, 0)
#endif

struct step { SCRATCH_TYPE *s; };

// One component up: the name of the dentry, or from the root of a mount to
// the place where it is mounted. Names go leaf first, each ended by NUL.
STEP long walk_step(u64 i, struct step *c)
{
	SCRATCH_TYPE *s = c->s;
	struct dentry *d = (void *)s->dentry;
	struct dentry *parent = BPF_CORE_READ(d, d_parent);
	u32 off = s->off;

	if (s->dentry == s->root) {
		struct mount *m = (void *)s->mnt;
		struct mount *up = BPF_CORE_READ(m, mnt_parent);
		if (up == m)
			return 1;
		s->dentry = (u64)BPF_CORE_READ(m, mnt_mountpoint);
		s->mnt = (u64)up;
		s->root = (u64)BPF_CORE_READ(up, mnt.mnt_root);
		return 0;
	}
	if (off + 256 > s->limit) {
		s->flags |= FLAG_PATH_CUT;
		return 1;
	}
	BOUND(off, SCRATCH_MASK);
	long n = bpf_probe_read_kernel_str(s->buf + off, 256, BPF_CORE_READ(d, d_name.name));
	if (n > 0)
		s->off = off + n;
	if (d == parent) { // a file without a place: memory file, pipe, detached
		s->flags |= FLAG_NAMELESS;
		return 1;
	}
	s->dentry = (u64)parent;
	s->steps++;
	return 0;
}

// Appends a path and returns its length.
static __always_inline u32 put_path(SCRATCH_TYPE *s, struct vfsmount *mnt, struct dentry *dentry)
{
	struct step c = { s };
	u32 before = s->off;
	if (!dentry || !mnt)
		return 0;
	s->dentry = (u64)dentry;
	s->root = (u64)BPF_CORE_READ(mnt, mnt_root);
	s->mnt = (u64)mnt - bpf_core_field_offset(struct mount, mnt);
	s->limit = before + PATH_ROOM;
	s->steps = 0;
	if (LOOP(WALK_MAX, walk_step, &c) == WALK_MAX)
		s->flags |= FLAG_PATH_CUT;
	return s->off - before;
}

// One piece of user memory, never across a page so that one page which is not
// there costs only itself and what follows.
STEP long copy_step(u64 i, struct step *c)
{
	SCRATCH_TYPE *s = c->s;
	u32 off = s->off;
	u64 n = 4096 - (s->user & 4095);

	if (n > s->left)
		n = s->left;
	if (n == 0 || n > 4096)
		return 1;
	BOUND(off, SCRATCH_MASK);
	asm volatile("" : "+r"(n));
	if (n > 4096)
		return 1;
	if (bpf_probe_read_user(s->buf + off, n, (void *)s->user)) {
		s->flags |= FLAG_UNREADABLE;
		return 1;
	}
	s->off = off + n;
	s->user += n;
	s->left -= n;
	return s->left == 0;
}

// Appends up to max bytes of user memory and returns how many.
static __always_inline u32 put_user(SCRATCH_TYPE *s, u64 from, u64 len, u32 max)
{
	struct step c = { s };
	u32 before = s->off;
	s->user = from;
	s->left = len > max ? max : len;
	LOOP(max / 4096 + 2, copy_step, &c);
	return s->off - before;
}
