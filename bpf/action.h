// SPDX-License-Identifier: Apache-2.0
// Putting an action record together, whatever told of the action: begin, fill
// in, finish. What the args of each action mean:
//
//	CHMOD        new mode, old mode, 1 when the old one is known
//	CHOWN        uid, gid (all ones: left alone), old uid, old gid, 1 when the old ones are known
//	SETXATTR     size, flags, then the first 32 bytes of the value; text 2 is the name
//	REMOVEXATTR  text 2 is the name
//	UTIMES       atime s, ns, mtime s, ns as passed to utimensat
//	ATTRIBUTES   new flags as FS_IOC_SETFLAGS, or 1 << 32 and those of FS_IOC_FSSETXATTR
//	MKNOD        mode, device
//	MOUNT        flags, then 32 bytes of the type's name, 1 when moved or attached; texts are where and what
//	UNMOUNT      flags
//	MAP_IMAGE    protection, flags, offset
//	SETUID       call (as in enum identity_call), uid, euid before (all ones: not known); afterwards is in the header
//	SETGID       the same of groups
//	SETGROUPS    number, then the first 8 as 32-bit values
//	CAPSET       effective, permitted, inheritable as asked for
//	UNSHARE      CLONE_NEW flags, 1 when by clone (target: the child)
//	SETNS        type, 1 when by a process descriptor
//	CHROOT, PIVOT_ROOT
//	SECCOMP      operation of seccomp(2), flags
//	PRCTL        option, its arguments; text 1 of PR_SET_NAME is the name
//	PTRACE       request, process id as passed (target: 0 when not known), address
//	VM_WRITE, VM_READ  process id as passed, bytes
//	SIGNAL       signal, process id as passed where the target is not known
//	PRIORITY     call (1 nice, 2 scheduler, 3 limit), process id as passed, value, limit
//	MEMFD        flags
//	KEYCTL       operation, its arguments
//	PERSONALITY  new, old
//	MODULE_LOAD  flags, 1 when from a file; texts are the file and the parameters, or the name (with args[2] 1)
//	MODULE_UNLOAD  flags
//	BPF_PROG     type, instructions, kind of attachment; text 1 is the name
//	BPF_MAP      type, entries, value size; text 1 is the name
//	BPF_OTHER    command, id or kind of attachment
//	KEXEC        flags, 1 when from a file
//	PERF         type, config, process id, processor
//	IO_URING     entries, flags
//	REBOOT       command
//	SETTIME      seconds (0: not told), clock, 1 when adjusted
//	HOSTNAME     1 for the domain
//	SWAP         1 when switched off
//	DEVICE_MEMORY  0 opened (flags), 1 ioperm (from, number, on), 2 iopl (level)
//	USERFAULTFD  flags
//	RAW_SOCKET, PACKET_SOCKET  family, type, protocol
//	UNIX_CONNECT type of socket
//	SOCKET_FILTER  option, family, type, protocol
#pragma once

typedef SCRATCH(16384) action_scratch;
#define SCRATCH_TYPE action_scratch
#define SCRATCH_MASK 0x3fff
#include "walk.h"
#include "call.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, action_scratch);
} action_scratch_map SEC(".maps");

// What was told a moment ago, so that a repeat never leaves the kernel.
struct repeat { u64 what, whom; };
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct repeat);
	__type(value, u64);
} repeats SEC(".maps");

#define SECOND 1000000000ULL
#define FOR_EVER (~0ULL)

enum identity_call { ID_PLAIN, ID_REAL_EFFECTIVE, ID_ALL, ID_FILE_SYSTEM };

static __always_inline struct action_record *record(action_scratch *s) { return (void *)s->buf; }

// A scratch with a record of what the current process does, or NULL: the
// sensor itself is not told of.
static __always_inline action_scratch *begin_always(u32 action, u32 class, s32 result)
{
	u32 zero = 0;
	if (is_excluded())
		return NULL;
	action_scratch *s = bpf_map_lookup_elem(&action_scratch_map, &zero);
	if (!s || !take(&s->busy)) {
		count_lost(class);
		return NULL;
	}
	s->off = sizeof(struct action_record);
	s->flags = 0;
	fill_action(record(s), action, result);
	return s;
}

// The same within the limits of the class.
static __always_inline action_scratch *begin(u32 action, u32 class, s32 result)
{
	return left_out_here(class) ? NULL : begin_always(action, class, result);
}

// Sends the record. What changes identities goes by the priority ring, so that
// it is known before anything that is done with them.
SHARED int finish(action_scratch *s, u32 class, bool urgent)
{
	struct action_record *r = record(s);
	u32 len = s->off;
	long err = -1;
	r->h.flags |= s->flags;
	r->h.len = len;
	asm volatile("" : "+r"(len));
	if (len <= sizeof(s->buf)) {
		if (urgent)
			err = bpf_ringbuf_output(&priority, s->buf, len, wake_flags(&priority, RING_PRIORITY, r->h.time));
		else
			err = bpf_ringbuf_output(&bulk, s->buf, len, wake_flags(&bulk, RING_BULK, r->h.time));
	}
	if (err)
		count_lost(class);
	else
		count_produced(class);
	give(&s->busy);
	return 0;
}

// Whether this process did the same to the same within a time.
SHARED bool repeated(u64 what, u64 whom, u64 within, u32 class)
{
	struct repeat key = { what << 32 | CURRENT_PID(), whom };
	struct task_struct *t = current_task();
	u64 now = bpf_ktime_get_boot_ns(), *last = bpf_map_lookup_elem(&repeats, &key);
	// An entry older than the process is of another one with its id.
	if (last && *last >= BPF_CORE_READ(t, group_leader, start_boottime) && now - *last < within) {
		count_filtered(class);
		return true;
	}
	bpf_map_update_elem(&repeats, &key, &now, BPF_ANY);
	return false;
}

// The first text: a name as it was passed, or the file behind a descriptor.
SHARED int put_name(action_scratch *s, s32 dfd, u64 name)
{
	struct action_record *r = record(s);
	r->base1_len = put_base(s, current_task(), dfd, name);
	r->name1_len = put_text(s, name);
	return 0;
}

SHARED int put_other(action_scratch *s, s32 dfd, u64 name)
{
	struct action_record *r = record(s);
	r->base2_len = put_base(s, current_task(), dfd, name);
	r->name2_len = put_text(s, name);
	return 0;
}

SHARED int put_place(action_scratch *s, struct path *at)
{
	struct action_record *r = record(s);
	struct dentry *d = BPF_CORE_READ(at, dentry);
	fill_image(&r->image, BPF_CORE_READ(d, d_inode));
	r->base1_len = put_path(s, BPF_CORE_READ(at, mnt), d);
	return 0;
}

static __always_inline void put_file(action_scratch *s, struct file *f)
{
	if (f)
		put_place(s, &f->f_path);
}

// A plain text without a folder.
SHARED int put_word(action_scratch *s, u64 user)
{
	record(s)->name1_len = put_text(s, user);
	return 0;
}

SHARED int put_other_word(action_scratch *s, u64 user)
{
	record(s)->name2_len = put_text(s, user);
	return 0;
}

// A text of the kernel, of a known room.
static __always_inline void put_kernel_word(action_scratch *s, const void *text, u32 room)
{
	u32 off = s->off;
	BOUND(off, SCRATCH_MASK);
	long n = bpf_probe_read_kernel_str(s->buf + off, room, text);
	if (n > 0 && n <= room) {
		s->off = off + n;
		record(s)->name1_len = n;
	}
}

// The file system that a place is on, as the 32 bytes that follow args[from].
static __always_inline void put_type(struct action_record *r, int from, const char *name)
{
	bpf_probe_read_kernel_str(&r->args[from], 32, name);
}

static __always_inline void put_target(action_scratch *s, struct task_struct *t)
{
	struct action_record *r = record(s);
	r->target_pid = BPF_CORE_READ(t, tgid);
	r->target_uid = BPF_CORE_READ(t, cred, uid.val);
	r->target_start = BPF_CORE_READ(t, group_leader, start_boottime);
}

#define EXIT(kind, call) \
	SEC("tracepoint/syscalls/sys_exit_" #call) \
	int kind##_##call(struct sys_exit_frame *c)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
