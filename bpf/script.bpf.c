// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// Lines that shells read from a terminal. The programs are attached by user
// space to each shell, or library, that it finds.
#include "picket.h"

#define LINE_MAX 4096
#define ZLE_CMD_READ 1 // first argument of zleentry in zsh: read a line

enum line_source { LINE_READLINE = 1, LINE_ZLE = 2 };

struct line_record {
	struct header h;
	u32 source, len; // of what follows, with the NUL at its end
	char text[LINE_MAX];
};
_Static_assert(__builtin_offsetof(struct line_record, text) == 104, "line");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct line_record);
} line_scratch SEC(".maps");

// Threads of zsh that read a line.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u32);
} reading SEC(".maps");

// The registers of a program, as far as calls need them.
#if defined(__TARGET_ARCH_x86)
struct pt_regs___call { unsigned long ax, di; } __attribute__((preserve_access_index));
#define FIRST(ctx) (((struct pt_regs___call *)(ctx))->di)
#define RETURNED(ctx) (((struct pt_regs___call *)(ctx))->ax)
#else
struct user_pt_regs___call { u64 regs[31]; } __attribute__((preserve_access_index));
#define FIRST(ctx) (((struct user_pt_regs___call *)(ctx))->regs[0])
#define RETURNED(ctx) (((struct user_pt_regs___call *)(ctx))->regs[0])
#endif

static __always_inline int tell(const void *text, u32 source)
{
	u32 zero = 0;
	struct line_record *r = bpf_map_lookup_elem(&line_scratch, &zero);
	long n;

	if (!r || !text || is_excluded() || left_out_here(CLASS_SCRIPT))
		return 0;
	n = bpf_probe_read_user_str(r->text, LINE_MAX, text);
	if (n == 1)
		return 0; // nothing but the return key
	fill_header(&r->h, current_task(), REC_LINE, sizeof(struct header) + 8);
	r->source = source;
	r->len = 0;
	if (n < 0) {
		r->h.flags |= FLAG_UNREADABLE;
		n = 0;
	} else if (n == LINE_MAX) {
		r->h.flags |= FLAG_ARGS_CUT;
	}
	if (n > LINE_MAX)
		n = LINE_MAX;
	r->len = n;
	r->h.len = sizeof(struct header) + 8 + n;
	if (bpf_ringbuf_output(&bulk, r, sizeof(struct header) + 8 + n, wake_flags(&bulk, RING_BULK, r->h.time)))
		count_lost(CLASS_SCRIPT);
	else
		count_produced(CLASS_SCRIPT);
	return 0;
}

SEC("uretprobe/readline")
int script_readline(void *ctx)
{
	return tell((const void *)RETURNED(ctx), LINE_READLINE);
}

SEC("uprobe/zleentry")
int script_zle_enter(void *ctx)
{
	u64 thread = bpf_get_current_pid_tgid();
	u32 one = 1;

	if ((u32)FIRST(ctx) == ZLE_CMD_READ)
		bpf_map_update_elem(&reading, &thread, &one, BPF_ANY);
	return 0;
}

SEC("uretprobe/zleentry")
int script_zle_leave(void *ctx)
{
	u64 thread = bpf_get_current_pid_tgid();

	if (bpf_map_delete_elem(&reading, &thread))
		return 0;
	return tell((const void *)RETURNED(ctx), LINE_ZLE);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
