// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// Files, seen from system calls: opened for writing and closed, removed,
// renamed, linked.
#include "file.h"

// ---- open ---------------------------------------------------------------
static __always_inline int opened(s64 fd, u64 flags)
{
	struct file *f = fd < 0 ? NULL : file_of(current_task(), fd);
	return f ? note_open(f, fd, flags) : 0;
}

// The memory of the machine, opened or not, by the first eight bytes of the
// name: all that the most frequent call of all can afford.
static __always_inline bool names_memory(u64 name)
{
	u64 first = 0;
	bpf_probe_read_user(&first, sizeof(first), (void *)name);
	return first == 0x6d656d2f7665642f || // /dev/mem
	       first == 0x656d6b2f7665642f || // /dev/kme
	       first == 0x726f702f7665642f || // /dev/por
	       first == 0x636b2f636f72702f;   // /proc/kc
}

static __noinline int memory_named(s64 result, u64 name, u64 flags)
{
	file_scratch *s = memory_opened(result, flags);
	if (!s)
		return 0;
	((struct action_record *)s->buf)->name1_len = put_text(s, name);
	return memory_told(s);
}

static __always_inline int opened_with(s64 fd, u64 name, u64 flags)
{
	if (names_memory(name) && (fd >= 0 || REFUSED(fd)))
		memory_named(fd, name, flags);
	if (fd < 0 || !(flags & (O_ACCMODE | O_CREAT | O_TRUNC)))
		return 0; // by far the most
	return opened(fd, flags);
}

SEC("tracepoint/syscalls/sys_exit_openat")
int file_openat(struct sys_exit_frame *c) { return opened_with(c->ret, argument(1), argument(2)); }

SEC("tracepoint/syscalls/sys_exit_open")
int file_open(struct sys_exit_frame *c) { return opened_with(c->ret, argument(0), argument(1)); }

SEC("tracepoint/syscalls/sys_exit_creat")
int file_creat(struct sys_exit_frame *c) { return opened(c->ret, O_TRUNC); }

SEC("tracepoint/syscalls/sys_exit_openat2")
int file_openat2(struct sys_exit_frame *c)
{
	u64 flags = 0;
	bpf_probe_read_user(&flags, sizeof(flags), (void *)argument(2));
	return opened_with(c->ret, argument(1), flags);
}

// ---- close --------------------------------------------------------------
SEC("tracepoint/syscalls/sys_enter_close")
int file_close(struct sys_enter_frame *c)
{
	struct file *f = file_of(current_task(), (u32)c->args[0]);
	if (f)
		closing(f, false);
	return 0;
}

static __always_inline int replacing(u32 old_fd, u32 new_fd)
{
	struct task_struct *t = current_task();
	if (old_fd == new_fd || !file_of(t, old_fd))
		return 0;
	struct file *f = file_of(t, new_fd);
	if (f)
		closing(f, false);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_dup2")
int file_dup2(struct sys_enter_frame *c) { return replacing(c->args[0], c->args[1]); }

SEC("tracepoint/syscalls/sys_enter_dup3")
int file_dup3(struct sys_enter_frame *c) { return replacing(c->args[0], c->args[1]); }

#define FD_CHUNK 64
struct fd_chunk { u64 file[FD_CHUNK]; };
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct fd_chunk);
} fd_chunks SEC(".maps");

struct sweep {
	struct fd_chunk *chunk;
	u64 table, marks; // descriptors, and a bit map of those that count
	u64 mask;         // the bits of this chunk
	u32 next, last;
};

#ifdef PICKET_OLD
// Functions that the verifier looks at once, not for every place and turn.
__noinline int close_one(u64 f)
{
	closing((struct file *)f, false);
	return 0;
}

__noinline int close_marked(u64 mask)
{
	u32 zero = 0;
	struct fd_chunk *chunk = bpf_map_lookup_elem(&fd_chunks, &zero);

	if (!chunk)
		return 0;
	_Pragma("clang loop unroll(disable)")
	for (u32 i = 0; i < FD_CHUNK && mask; i++, mask >>= 1) {
		u64 f = chunk->file[i];
		if (f && (mask & 1))
			close_one(f);
	}
	return 0;
}

static __always_inline void sweep_fds(struct sweep *w) { close_marked(w->mask); }
#else
static long sweep_fd(u64 i, struct sweep *w)
{
	u64 rest = w->mask >> (i & (FD_CHUNK - 1));
	u64 f = w->chunk->file[i & (FD_CHUNK - 1)];
	if (!rest)
		return 1; // most processes have a few low descriptors
	if (f && (rest & 1))
		closing((struct file *)f, false);
	return 0;
}

static __always_inline void sweep_fds(struct sweep *w) { bpf_loop(FD_CHUNK, sweep_fd, w, 0); }
#endif

STEP long sweep_chunk(u64 i, struct sweep *w)
{
	u32 n = w->last - w->next;
	if (w->next >= w->last)
		return 1;
	if (n > FD_CHUNK)
		n = FD_CHUNK;
	w->mask = 0;
	bpf_probe_read_kernel(&w->mask, sizeof(w->mask), (void *)(w->marks + w->next / 64 * 8));
	w->mask >>= w->next & 63; // a range may begin anywhere: the next chunk takes the rest
	if (!w->mask) {
		w->next = (w->next & ~63) + 64;
		return 0;
	}
	if (n > 64 - (w->next & 63))
		n = 64 - (w->next & 63);
	if (n < FD_CHUNK)
		w->mask &= (1ULL << n) - 1;
	// Always a whole chunk: the table is at least that large where it begins.
	bpf_probe_read_kernel(w->chunk->file, sizeof(w->chunk->file), (void *)(w->table + (u64)(w->next & ~63) * 8));
	w->mask <<= w->next & 63;
	sweep_fds(w);
	w->next = (w->next & ~63) + 64;
	return 0;
}

// All descriptors from first to last, both included, at most 4096 of them.
static __always_inline void sweep(struct task_struct *t, u32 first, u32 last, bool marked)
{
	u32 zero = 0;
	struct fdtable *table = BPF_CORE_READ(t, files, fdt);
	u32 size = BPF_CORE_READ(table, max_fds);
	struct sweep w = { .chunk = bpf_map_lookup_elem(&fd_chunks, &zero), .next = first };
	if (!w.chunk)
		return;
	w.table = (u64)BPF_CORE_READ(table, fd);
	w.marks = marked ? (u64)BPF_CORE_READ(table, close_on_exec) : (u64)BPF_CORE_READ(table, open_fds);
	w.last = last < size ? last + 1 : size;
	LOOP(64, sweep_chunk, &w);
}

SEC("tracepoint/syscalls/sys_enter_close_range")
int file_close_range(struct sys_enter_frame *c)
{
	if (!(c->args[2] & CLOSE_RANGE_CLOEXEC) && (u32)c->args[0] <= (u32)c->args[1])
		sweep(current_task(), c->args[0], c->args[1], 0);
	return 0;
}

// The descriptors of a process go with its last thread. The others may still
// hold the table at this moment, so its count tells nothing then.
SEC("tp_btf/sched_process_exit")
int BPF_PROG(file_exit, struct task_struct *t)
{
	struct files_struct *files = BPF_CORE_READ(t, files);
	if (files && (BPF_CORE_READ(files, count.counter) == 1 || BPF_CORE_READ(t, signal, live.counter) == 0))
		sweep(t, 0, -1, 0);
	return 0;
}

// Starting an image closes the descriptors marked for it. A child that a busy
// program makes often holds the last reference to a file of its parent.
SEC("tp_btf/sched_prepare_exec")
int BPF_PROG(file_prepare_exec, struct task_struct *t, struct linux_binprm *bprm)
{
	if (BPF_CORE_READ(t, files))
		sweep(t, 0, -1, 1);
	return 0;
}

// In place of it on kernels before 6.10, where an attempt that fails counts too.
SEC("tracepoint/syscalls/sys_enter_execve")
int file_execve(struct sys_enter_frame *c)
{
	sweep(current_task(), 0, -1, 1);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_execveat")
int file_execveat(struct sys_enter_frame *c)
{
	sweep(current_task(), 0, -1, 1);
	return 0;
}

// ---- names --------------------------------------------------------------
static __always_inline int path_op(u32 op, u32 class, u32 arg, s32 dfd1, u64 name1, s32 dfd2, u64 name2)
{
	struct task_struct *t = current_task();
	if (is_excluded() || left_out_here(class))
		return 0;
	file_scratch *s = scratch();
	if (!s) {
		count_lost(class);
		return 0;
	}
	struct pathop_record *r = (void *)s->buf;
	fill_header(&r->h, t, REC_PATHOP, 0);
	r->op = op;
	r->arg = arg;
	s->off = sizeof(*r);
	r->base1_len = op == OP_SYMLINK ? 0 : put_base(s, t, dfd1, name1);
	r->name1_len = put_text(s, name1);
	r->base2_len = name2 ? put_base(s, t, dfd2, name2) : 0;
	r->name2_len = name2 ? put_text(s, name2) : 0;
	r->h.flags = s->flags;
	r->h.len = s->off;
	if (!send(s, class, r->h.time))
		count_lost(class);
	done(s);
	return 0;
}

#define ON_SUCCESS(name, call) \
	SEC("tracepoint/syscalls/sys_exit_" #name) \
	int file_##name(struct sys_exit_frame *c) { return c->ret != 0 ? 0 : (call); }

ON_SUCCESS(unlink, path_op(OP_UNLINK, CLASS_DELETE, 0, AT_FDCWD, argument(0), 0, 0))
ON_SUCCESS(unlinkat, argument(2) & AT_REMOVEDIR ? 0
	: path_op(OP_UNLINK, CLASS_DELETE, 0, argument(0), argument(1), 0, 0))
ON_SUCCESS(rename, path_op(OP_RENAME, CLASS_RENAME, 0, AT_FDCWD, argument(0), AT_FDCWD, argument(1)))
ON_SUCCESS(renameat, path_op(OP_RENAME, CLASS_RENAME, 0, argument(0), argument(1), argument(2), argument(3)))
ON_SUCCESS(renameat2, path_op(OP_RENAME, CLASS_RENAME, argument(4), argument(0), argument(1), argument(2), argument(3)))
ON_SUCCESS(link, path_op(OP_LINK, CLASS_LINK, 0, AT_FDCWD, argument(0), AT_FDCWD, argument(1)))
ON_SUCCESS(linkat, path_op(OP_LINK, CLASS_LINK, 0, argument(0), argument(1), argument(2), argument(3)))
ON_SUCCESS(symlink, path_op(OP_SYMLINK, CLASS_LINK, 0, AT_FDCWD, argument(0), AT_FDCWD, argument(1)))
ON_SUCCESS(symlinkat, path_op(OP_SYMLINK, CLASS_LINK, 0, AT_FDCWD, argument(0), argument(1), argument(2)))
ON_SUCCESS(truncate, path_op(OP_TRUNCATE, CLASS_FILE, 0, AT_FDCWD, argument(0), 0, 0))

char LICENSE[] SEC("license") = "Dual BSD/GPL";
