// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// Files that processes map as code. Every program maps the same few libraries,
// so each pair of program and library is told once for as long as neither
// changes and it is among those that were seen last.
#include "picket.h"
#include "action.h"

#define PROT_EXEC 4
#define MAP_ANONYMOUS 0x20

struct loaded { u64 program, library; u32 program_dev, library_dev; };
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct loaded);
	__type(value, u64); // when the library was last changed
} loads SEC(".maps");

EXIT(image, mmap)
{
	if (!(argument(2) & PROT_EXEC) || argument(3) & MAP_ANONYMOUS || (c->ret < 0 && c->ret > -4096))
		return 0;
	struct task_struct *t = current_task();
	struct file *f = file_of(t, (s32)argument(4));
	if (!f)
		return 0;
	struct inode *library = BPF_CORE_READ(f, f_inode), *program = BPF_CORE_READ(t, mm, exe_file, f_inode);
	struct image_part now = {};
	fill_image(&now, library);
	struct loaded key = { BPF_CORE_READ(program, i_ino), now.ino, BPF_CORE_READ(program, i_sb, s_dev), now.dev };
	u64 version = now.ctime_sec * SECOND + now.ctime_nsec, *known = bpf_map_lookup_elem(&loads, &key);
	if (known && *known == version) {
		count_filtered(CLASS_IMAGE);
		return 0;
	}
	action_scratch *s = begin(ACT_MAP_IMAGE, CLASS_IMAGE, 0);
	if (!s)
		return 0;
	bpf_map_update_elem(&loads, &key, &version, BPF_ANY);
	struct action_record *r = record(s);
	r->args[0] = argument(2);
	r->args[1] = argument(3);
	r->args[2] = argument(5);
	put_file(s, f);
	return finish(s, CLASS_IMAGE, false);
}
