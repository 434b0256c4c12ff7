// SPDX-License-Identifier: Apache-2.0
// What the programs for files share, whichever hooks they stand on: a file
// open for writing is remembered by the address of its struct file and
// reported once, when it ends and something was written; what is opened and
// left alone never reaches user space.
#pragma once
#include "picket.h"

typedef SCRATCH(16384) file_scratch;
#define SCRATCH_TYPE file_scratch
#define SCRATCH_MASK 0x3fff
#include "walk.h"
#include "call.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, file_scratch);
} file_scratch_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, u64);
	__type(value, struct open_file);
} open_files SEC(".maps");

// Set by user space while all programs are attached: an open whose close
// cannot be seen is better not noted.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} watching SEC(".maps");

#define O_ACCMODE 3
#define O_WRONLY 1
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_APPEND 02000
#define FMODE_WRITE 2
#define S_IFREG 0100000
#define S_IFCHR 0020000
#define PROC_SUPER_MAGIC 0x9fa0
#define S_IFSOCK 0140000
#define AT_REMOVEDIR 0x200
#define CLOSE_RANGE_CLOEXEC 4

static __always_inline file_scratch *scratch(void)
{
	u32 zero = 0;
	file_scratch *s = bpf_map_lookup_elem(&file_scratch_map, &zero);
	if (!s || !take(&s->busy))
		return NULL;
	s->off = 0;
	s->flags = 0;
	return s;
}

static __always_inline void done(file_scratch *s) { give(&s->busy); }

static __always_inline bool send(file_scratch *s, u32 class, u64 now)
{
	u32 len = s->off;
	asm volatile("" : "+r"(len));
	if (len > sizeof(s->buf) ||
	    bpf_ringbuf_output(&bulk, s->buf, len, wake_flags(&bulk, RING_BULK, now)))
		return false;
	count_produced(class);
	return true;
}

// Remembers a file that was opened for writing or made. fd is -1 where the
// descriptor is not known yet.
static __always_inline int note_open(struct file *f, s32 fd, u64 flags)
{
	struct task_struct *t = current_task();
	struct inode *inode;
	struct open_file o = {};
	u64 key;
	u32 mode, zero = 0;
	u32 *on = bpf_map_lookup_elem(&watching, &zero);

	if (!on || !*on)
		return 0;
	mode = BPF_CORE_READ(f, f_mode);
	if (!(mode & (FMODE_WRITE | FMODE_CREATED)))
		return 0;
	inode = BPF_CORE_READ(f, f_inode);
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFREG || is_excluded())
		return 0;
	o.opened = bpf_ktime_get_boot_ns();
	o.start = BPF_CORE_READ(t, group_leader, start_boottime);
	o.pid = CURRENT_PID();
	o.fd = fd;
	o.size = BPF_CORE_READ(inode, i_size);
	o.ino = BPF_CORE_READ(inode, i_ino);
	inode_mtime(inode, &o.mtime_sec, &o.mtime_nsec);
	if (mode & FMODE_CREATED)
		o.flags |= FILE_CREATED;
	else if (flags & O_TRUNC)
		o.flags |= FILE_TRUNCATED;
	if (BPF_CORE_READ(f, f_flags) & O_APPEND)
		o.flags |= FILE_APPEND;
	if ((BPF_CORE_READ(f, f_flags) & O_ACCMODE) == O_WRONLY)
		o.flags |= FILE_WRITE_ONLY;
	key = (u64)f;
	if (bpf_map_update_elem(&open_files, &key, &o, BPF_NOEXIST)) {
		// Full, or an entry whose close nobody saw: one event is lost either
		// way, unless user space holds a record of it.
		struct open_file *stale = bpf_map_lookup_elem(&open_files, &key);
		if (!stale || !(stale->flags & (FILE_HELD | FILE_REPORTED)))
			count_lost(CLASS_FILE);
		bpf_map_update_elem(&open_files, &key, &o, BPF_EXIST);
	}
	return 0;
}

// ---- the memory of the machine ------------------------------------------
// A scratch with a record of an open of it, or NULL.
static __always_inline file_scratch *memory_opened(s64 result, u64 flags)
{
	if (is_excluded())
		return NULL;
	file_scratch *s = scratch();
	if (!s) {
		count_lost(CLASS_KERNEL);
		return NULL;
	}
	struct action_record *r = (void *)s->buf;
	fill_action(r, ACT_DEVICE_MEMORY, result < 0 ? result : 0);
	r->args[1] = flags;
	s->off = sizeof(*r);
	return s;
}

static __always_inline int memory_told(file_scratch *s)
{
	struct action_record *r = (void *)s->buf;
	r->h.flags |= s->flags;
	r->h.len = s->off;
	if (!send(s, CLASS_KERNEL, r->h.time))
		count_lost(CLASS_KERNEL);
	done(s);
	return 0;
}

// ---- close --------------------------------------------------------------
static __always_inline bool last_reference(struct file *f)
{
	struct file___v5 *old = (void *)f;
	if (bpf_core_field_exists(f->f_ref))
		return BPF_CORE_READ(f, f_ref.refcnt.counter) == 0;
	return BPF_CORE_READ(old, f_count.counter) == 1;
}

static __always_inline bool written(struct open_file *o, struct inode *inode, u64 pos)
{
	s64 sec = 0;
	u32 nsec = 0;
	if (o->flags & FILE_REPORTED)
		o->flags &= ~(FILE_CREATED | FILE_TRUNCATED);
	else if (o->flags & (FILE_CREATED | FILE_TRUNCATED))
		return true;
	if (BPF_CORE_READ(inode, i_size) != o->size)
		return true;
	inode_mtime(inode, &sec, &nsec);
	if (sec != o->mtime_sec || ((nsec ^ o->mtime_nsec) & 0x7fffffff))
		return true;
	if (o->flags & FILE_REPORTED)
		return false;
	// Size and times of /proc tell nothing, and memory is written at an offset.
	return BPF_CORE_READ(inode, i_sb, s_magic) == PROC_SUPER_MAGIC || ((o->flags & FILE_WRITE_ONLY) && pos > 0);
}

// A descriptor of a file goes, or, when it is the end, the file itself.
static __always_inline void closing(struct file *f, const bool end)
{
	u64 key = (u64)f;
	struct open_file *known = bpf_map_lookup_elem(&open_files, &key);
	if (!known)
		return;
	struct inode *inode = BPF_CORE_READ(f, f_inode);
	u64 pos = BPF_CORE_READ(f, f_pos);
	struct open_file o = *known;
	// A shared writable mapping outlives the descriptor unseen: report now.
	bool held = !end && !last_reference(f) && BPF_CORE_READ(inode, i_mapping, i_mmap_writable.counter) <= 0;
	if (held) {
		// Two that close at once, or an exec that closes on its way, may both
		// look like not the last: user space tells of it if nothing follows.
		if (o.flags & (FILE_HELD | FILE_REPORTED) || !written(&o, inode, pos))
			return;
		// One that is left out counts as told: its last close is another event.
		known->flags |= FILE_HELD;
	} else {
		if (bpf_map_delete_elem(&open_files, &key))
			return; // somebody else reports it
		if (BPF_CORE_READ(inode, i_ino) != o.ino || !(BPF_CORE_READ(f, f_mode) & (FMODE_WRITE | FMODE_CREATED))) {
			if (!(o.flags & (FILE_HELD | FILE_REPORTED)))
				count_lost(CLASS_FILE); // its own close was not seen
			return;
		}
		if (!written(&o, inode, pos)) {
			count_filtered(CLASS_FILE);
			return;
		}
	}
	if (left_out_here(CLASS_FILE))
		return;
	file_scratch *s = scratch();
	if (!s) {
		if (held)
			known->flags &= ~FILE_HELD;
		else
			count_lost(CLASS_FILE);
		return;
	}
	struct file_record *r = (void *)s->buf;
	fill_header(&r->h, current_task(), REC_FILE, 0);
	r->open = o;
	fill_image(&r->image, inode);
	r->pos = pos;
	r->key = key;
	r->held = held;
	s->off = sizeof(*r);
	r->path_len = put_path(s, BPF_CORE_READ(f, f_path.mnt), BPF_CORE_READ(f, f_path.dentry));
	r->h.flags = s->flags;
	r->h.len = s->off;
	if (!send(s, CLASS_FILE, r->h.time)) {
		if (held)
			known->flags &= ~FILE_HELD; // nothing is lost yet: the last close may still come
		else
			count_lost(CLASS_FILE);
	}
	done(s);
}
