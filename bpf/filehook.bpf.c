// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// Files, seen from inside the kernel: the same records as file.bpf.c makes of
// system calls, whoever asked for it: 32-bit programs, io_uring, another part
// of the kernel. Names are those that the kernel resolved. The sources are
// compiled once for each way of getting there: PICKET_LSM (security hooks),
// PICKET_FENTRY (trampolines) and PICKET_KPROBE.
#include "file.h"

#if defined(PICKET_LSM)
#define HOOK(name, function, ...) SEC("lsm/" #function) int BPF_PROG(name, __VA_ARGS__)
#elif defined(PICKET_FENTRY)
#define HOOK(name, function, ...) SEC("fentry/security_" #function) int BPF_PROG(name, __VA_ARGS__)
#else
#define HOOK(name, function, ...) SEC("kprobe/security_" #function) int BPF_KPROBE(name, __VA_ARGS__)
#endif

#if defined(PICKET_KPROBE)
#define ENTRY(name, function, ...) SEC("kprobe/" #function) int BPF_KPROBE(name, __VA_ARGS__)
#define RESULT(name, function) SEC("kretprobe/" #function) int BPF_KRETPROBE(name, s64 result)
#define RESULT_OF(result)
#else
// The number of arguments differs between kernels: the result is asked for.
#define ENTRY(name, function, ...) SEC("fentry/" #function) int BPF_PROG(name, __VA_ARGS__)
#define RESULT(name, function) SEC("fexit/" #function) int name(void *ctx)
#define RESULT_OF(result) u64 result = -1; bpf_get_func_ret(ctx, &result)
#endif

// What a thread is about to do to a name. The kernel asks its security hooks
// before it acts: whether it did is known when the function returns.
struct intent {
	u32 op, name2_len;
	u64 mnt, dir1, dir2;
	char name1[256], name2[256];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct intent);
} intents SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct intent);
} blank SEC(".maps");

static __always_inline void read_name(char *to, struct dentry *d)
{
	to[0] = 0;
	bpf_probe_read_kernel_str(to, 256, BPF_CORE_READ(d, d_name.name));
}

static __always_inline int intend(u32 op, struct vfsmount *mnt, struct dentry *one, struct dentry *two, const char *text)
{
	u64 thread = bpf_get_current_pid_tgid();
	u32 zero = 0;
	struct intent *i = bpf_map_lookup_elem(&blank, &zero);

	if (!i || is_excluded())
		return 0;
	i->op = op;
	i->mnt = (u64)mnt;
	i->dir1 = i->dir2 = 0;
	i->name1[0] = i->name2[0] = 0;
	if (one) {
		i->dir1 = (u64)BPF_CORE_READ(one, d_parent);
		read_name(i->name1, one);
	} else if (text) {
		bpf_probe_read_kernel_str(i->name1, sizeof(i->name1), text);
	}
	if (two) {
		i->dir2 = (u64)BPF_CORE_READ(two, d_parent);
		read_name(i->name2, two);
	}
	bpf_map_update_elem(&intents, &thread, i, BPF_ANY);
	return 0;
}

static __always_inline u32 put_name(file_scratch *s, const char *name)
{
	u32 off = s->off;
	BOUND(off, SCRATCH_MASK);
	long n = bpf_probe_read_kernel_str(s->buf + off, 256, name);
	if (n <= 0 || n > 256)
		return 0;
	if (n == 256)
		s->flags |= FLAG_PATH_CUT; // no name is that long, but the text of a symbolic link may be
	s->off = off + n;
	return n;
}

static __always_inline int did(u32 op, u32 class, s64 result)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct intent *i = bpf_map_lookup_elem(&intents, &thread);

	if (!i || i->op != op)
		return 0;
	if (result || left_out_here(class))
		goto forget;
	file_scratch *s = scratch();
	if (!s) {
		count_lost(class);
		goto forget;
	}
	struct pathop_record *r = (void *)s->buf;
	fill_header(&r->h, current_task(), REC_PATHOP, 0);
	r->op = op;
	r->arg = 0;
	s->off = sizeof(*r);
	r->base1_len = i->dir1 ? put_path(s, (void *)i->mnt, (void *)i->dir1) : 0;
	r->name1_len = put_name(s, i->name1);
	r->base2_len = i->dir2 ? put_path(s, (void *)i->mnt, (void *)i->dir2) : 0;
	r->name2_len = i->name2[0] ? put_name(s, i->name2) : 0;
	r->h.flags = s->flags;
	r->h.len = s->off;
	if (!send(s, class, r->h.time))
		count_lost(class);
	done(s);
forget:
	bpf_map_delete_elem(&intents, &thread);
	return 0;
}

// The memory of the machine, whatever name it has: the devices 1:1, 1:2 and
// 1:4, and kcore of the root of /proc.
static __always_inline bool is_memory(struct file *f)
{
	struct inode *inode = BPF_CORE_READ(f, f_inode);
	u32 type = BPF_CORE_READ(inode, i_mode) & S_IFMT;
	u64 name = 0;
	if (type == S_IFCHR) {
		u32 dev = BPF_CORE_READ(inode, i_rdev);
		return dev == (1 << 20 | 1) || dev == (1 << 20 | 2) || dev == (1 << 20 | 4);
	}
	if (type != S_IFREG || BPF_CORE_READ(inode, i_sb, s_magic) != PROC_SUPER_MAGIC)
		return false;
	struct dentry *d = BPF_CORE_READ(f, f_path.dentry), *folder = BPF_CORE_READ(d, d_parent);
	bpf_probe_read_kernel_str(&name, sizeof(name), BPF_CORE_READ(d, d_name.name));
	return name == 0x65726f636b && folder == BPF_CORE_READ(folder, d_parent); // kcore
}

// The hook is asked before the device is: what that refuses is told of, too.
static __noinline int memory_file(struct file *f, u64 flags)
{
	file_scratch *s = memory_opened(0, flags);
	if (!s)
		return 0;
	struct action_record *r = (void *)s->buf;
	fill_image(&r->image, BPF_CORE_READ(f, f_inode));
	r->base1_len = put_path(s, BPF_CORE_READ(f, f_path.mnt), BPF_CORE_READ(f, f_path.dentry));
	return memory_told(s);
}

HOOK(filehook_open, file_open, struct file *f)
{
	u64 flags = BPF_CORE_READ(f, f_flags);
	if (is_memory(f))
		memory_file(f, flags);
	if ((flags & (O_ACCMODE | O_TRUNC)) || (BPF_CORE_READ(f, f_mode) & FMODE_CREATED))
		note_open(f, -1, flags);
	return 0;
}

// The first thing that the end of a file does, while its name is still there.
ENTRY(filehook_end, locks_remove_file, struct file *f)
{
	closing(f, true);
	return 0;
}

HOOK(filehook_unlink, path_unlink, struct path *dir, struct dentry *d)
{
	return intend(OP_UNLINK, BPF_CORE_READ(dir, mnt), d, NULL, NULL);
}

RESULT(filehook_unlinked, vfs_unlink)
{
	RESULT_OF(result);
	return did(OP_UNLINK, CLASS_DELETE, result);
}

HOOK(filehook_rename, path_rename, struct path *from, struct dentry *one, struct path *to, struct dentry *two)
{
	return intend(OP_RENAME, BPF_CORE_READ(from, mnt), one, two, NULL);
}

RESULT(filehook_renamed, vfs_rename)
{
	RESULT_OF(result);
	return did(OP_RENAME, CLASS_RENAME, result);
}

HOOK(filehook_link, path_link, struct dentry *old, struct path *dir, struct dentry *d)
{
	return intend(OP_LINK, BPF_CORE_READ(dir, mnt), old, d, NULL);
}

RESULT(filehook_linked, vfs_link)
{
	RESULT_OF(result);
	return did(OP_LINK, CLASS_LINK, result);
}

HOOK(filehook_symlink, path_symlink, struct path *dir, struct dentry *d, const char *target)
{
	return intend(OP_SYMLINK, BPF_CORE_READ(dir, mnt), NULL, d, target);
}

RESULT(filehook_symlinked, vfs_symlink)
{
	RESULT_OF(result);
	return did(OP_SYMLINK, CLASS_LINK, result);
}

ENTRY(filehook_truncate, vfs_truncate, struct path *path)
{
	return intend(OP_TRUNCATE, BPF_CORE_READ(path, mnt), BPF_CORE_READ(path, dentry), NULL, NULL);
}

RESULT(filehook_truncated, vfs_truncate)
{
	RESULT_OF(result);
	return did(OP_TRUNCATE, CLASS_FILE, result);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
