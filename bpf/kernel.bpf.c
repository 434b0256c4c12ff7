// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// What changes or looks into the kernel: modules, programs, another kernel,
// events, clocks, names, swap and ports, seen at the exit of system calls.
#include "picket.h"
#include "action.h"

#define BPF_MAP_CREATE 0
#define BPF_PROG_LOAD 5
// Commands that attach, detach, or reach for what others loaded.
#define BPF_COMMANDS (1ULL << 8 | 1ULL << 9 | 1ULL << 13 | 1ULL << 14 | 1ULL << 17 | 1ULL << 28 | 1ULL << 29 | 1ULL << 34)
#define ADJ_SETOFFSET 0x0100
#define RB_DISABLE_CAD 0

static __always_inline action_scratch *start(u32 action, s64 result)
{
	return begin(action, CLASS_KERNEL, result);
}

static __always_inline int end(action_scratch *s) { return finish(s, CLASS_KERNEL, false); }

static __always_inline bool told(s64 result) { return result >= 0 || REFUSED(result); }

static __noinline int plain(u32 action, s64 result, u64 a, u64 b, u64 d)
{
	action_scratch *s = start(action, result < 0 ? result : 0);
	if (!s)
		return 0;
	record(s)->args[0] = a;
	record(s)->args[1] = b;
	record(s)->args[2] = d;
	return end(s);
}

// ---- modules ------------------------------------------------------------
// The name of the module that a thread is loading, until the call returns.
struct loading { char name[56]; };
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, struct loading);
} modules SEC(".maps");

SEC("tp_btf/module_load")
int BPF_PROG(kernel_module_load, struct module *m)
{
	struct loading l = {};
	u32 tid = bpf_get_current_pid_tgid();
	bpf_probe_read_kernel_str(l.name, sizeof(l.name), m->name);
	bpf_map_update_elem(&modules, &tid, &l, BPF_ANY);
	return 0;
}

static __noinline int loaded(s64 result, u64 flags, s64 fd, u64 parameters)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct loading *l = bpf_map_lookup_elem(&modules, &tid);
	if (!told(result))
		return 0;
	action_scratch *s = start(ACT_MODULE_LOAD, result);
	if (!s)
		return 0;
	struct action_record *r = record(s);
	r->args[0] = flags;
	r->args[1] = fd >= 0;
	if (fd >= 0)
		put_file(s, file_of(current_task(), fd));
	if (l) {
		r->args[2] = 1;
		put_kernel_word(s, l->name, sizeof(l->name));
		bpf_map_delete_elem(&modules, &tid);
	}
	put_other_word(s, parameters); // texts stand in the order of their lengths
	return end(s);
}

EXIT(kernel, init_module) { return loaded(c->ret, 0, -1, argument(2)); }
EXIT(kernel, finit_module) { return loaded(c->ret, argument(2), (u32)argument(0), argument(1)); }

EXIT(kernel, delete_module)
{
	if (!told(c->ret))
		return 0;
	action_scratch *s = start(ACT_MODULE_UNLOAD, c->ret);
	if (!s)
		return 0;
	record(s)->args[0] = argument(1);
	put_word(s, argument(0));
	return end(s);
}

// ---- programs -----------------------------------------------------------
struct prog_attr {
	u32 type, instructions;
	u64 code, license;
	u32 log_level, log_size;
	u64 log;
	u32 version, flags;
	char name[16];
	u32 ifindex, attach;
};
struct map_attr {
	u32 type, key_size, value_size, entries, flags, inner, node;
	char name[16];
};

static __noinline int program(u64 attr, u32 size, s64 result)
{
	struct prog_attr a = {};
	if (size > sizeof(a))
		size = sizeof(a);
	asm volatile("" : "+r"(size));
	if (size > sizeof(a) || bpf_probe_read_user(&a, size, (void *)attr))
		return 0;
	action_scratch *s = start(ACT_BPF_PROG, result);
	if (!s)
		return 0;
	record(s)->args[0] = a.type;
	record(s)->args[1] = a.instructions;
	record(s)->args[2] = a.attach;
	put_kernel_word(s, a.name, sizeof(a.name));
	return end(s);
}

static __noinline int map(u64 attr, u32 size, s64 result)
{
	struct map_attr a = {};
	if (size > sizeof(a))
		size = sizeof(a);
	asm volatile("" : "+r"(size));
	if (size > sizeof(a) || bpf_probe_read_user(&a, size, (void *)attr))
		return 0;
	if (repeated(ACT_BPF_MAP, (u64)a.type << 32 ^ *(u64 *)a.name, SECOND, CLASS_KERNEL))
		return 0;
	action_scratch *s = start(ACT_BPF_MAP, result);
	if (!s)
		return 0;
	record(s)->args[0] = a.type;
	record(s)->args[1] = a.entries;
	record(s)->args[2] = a.value_size;
	put_kernel_word(s, a.name, sizeof(a.name));
	return end(s);
}

EXIT(kernel, bpf)
{
	u32 command = argument(0), first[3] = {};
	s64 result = c->ret < 0 ? c->ret : 0;
	if (!told(c->ret))
		return 0;
	if (command == BPF_PROG_LOAD)
		return program(argument(1), argument(2), result);
	if (command == BPF_MAP_CREATE)
		return map(argument(1), argument(2), result);
	if (command > 63 || !(1ULL << command & BPF_COMMANDS))
		return 0;
	bpf_probe_read_user(first, sizeof(first), (void *)argument(1));
	// Where the kind of attachment stands, or the id that is asked for.
	u32 detail = command == 8 || command == 9 || command == 28 ? first[2] : first[0];
	if (repeated(ACT_BPF_OTHER, (u64)command << 32 | detail, SECOND, CLASS_KERNEL))
		return 0;
	return plain(ACT_BPF_OTHER, result, command, detail, 0);
}

// ---- the rest -----------------------------------------------------------
EXIT(kernel, kexec_load) { return told(c->ret) ? plain(ACT_KEXEC, c->ret, argument(3), 0, 0) : 0; }

EXIT(kernel, kexec_file_load)
{
	if (!told(c->ret))
		return 0;
	action_scratch *s = start(ACT_KEXEC, c->ret);
	if (!s)
		return 0;
	record(s)->args[0] = argument(4);
	record(s)->args[1] = 1;
	put_file(s, file_of(current_task(), (s32)argument(0)));
	return end(s);
}

EXIT(kernel, perf_event_open)
{
	struct { u32 type, size; u64 config; } attr = {};
	if (!told(c->ret) || bpf_probe_read_user(&attr, sizeof(attr), (void *)argument(0)))
		return 0;
	if (repeated(ACT_PERF, (u64)attr.type << 32 | (u32)argument(1), 10 * SECOND, CLASS_KERNEL))
		return 0;
	action_scratch *s = start(ACT_PERF, c->ret < 0 ? c->ret : 0);
	if (!s)
		return 0;
	record(s)->args[0] = attr.type;
	record(s)->args[1] = attr.config;
	record(s)->args[2] = (s64)(s32)argument(1);
	record(s)->args[3] = (s64)(s32)argument(2);
	return end(s);
}

EXIT(kernel, io_uring_setup)
{
	u32 parameters[3] = {};
	if (!told(c->ret) || repeated(ACT_IO_URING, 0, FOR_EVER, CLASS_KERNEL))
		return 0;
	bpf_probe_read_user(parameters, sizeof(parameters), (void *)argument(1));
	return plain(ACT_IO_URING, c->ret, argument(0), parameters[2], 0);
}

EXIT(kernel, userfaultfd)
{
	if (!told(c->ret) || repeated(ACT_USERFAULTFD, 0, FOR_EVER, CLASS_KERNEL))
		return 0;
	return plain(ACT_USERFAULTFD, c->ret, argument(0), 0, 0);
}

// A reboot that succeeds does not return.
SEC("tracepoint/syscalls/sys_enter_reboot")
int kernel_reboot(struct sys_enter_frame *c)
{
	return (u32)c->args[2] == RB_DISABLE_CAD ? 0 : plain(ACT_REBOOT, 0, (u32)c->args[2], 0, 0);
}

static __noinline int set_time(s64 result, u64 user, u32 clock, u32 adjusted)
{
	u64 seconds = 0;
	if (!user || !told(result) || repeated(ACT_SETTIME, clock, SECOND, CLASS_KERNEL))
		return 0;
	if (!adjusted)
		bpf_probe_read_user(&seconds, sizeof(seconds), (void *)user);
	return plain(ACT_SETTIME, result, seconds, clock, adjusted);
}

EXIT(kernel, settimeofday) { return set_time(c->ret, argument(0), 0, 0); }
EXIT(kernel, clock_settime) { return set_time(c->ret, argument(1), argument(0), 0); }

// Steps only: a clock is kept in pace all the time.
static __noinline int adjusted(s64 result, u64 user, u32 clock)
{
	u32 modes = 0;
	if (bpf_probe_read_user(&modes, sizeof(modes), (void *)user) || !(modes & ADJ_SETOFFSET))
		return 0;
	return set_time(result, user, clock, 1);
}

EXIT(kernel, adjtimex) { return adjusted(c->ret, argument(0), 0); }
EXIT(kernel, clock_adjtime) { return adjusted(c->ret, argument(1), argument(0)); }

static __noinline int host_name(s64 result, u32 domain, u64 name, u32 len)
{
	char text[68] = {};
	if (!told(result))
		return 0;
	if (len > 64)
		len = 64;
	asm volatile("" : "+r"(len));
	if (len > 64 || bpf_probe_read_user(text, len, (void *)name))
		return 0;
	action_scratch *s = start(ACT_HOSTNAME, result);
	if (!s)
		return 0;
	record(s)->args[0] = domain;
	put_kernel_word(s, text, sizeof(text));
	return end(s);
}

EXIT(kernel, sethostname) { return host_name(c->ret, 0, argument(0), argument(1)); }
EXIT(kernel, setdomainname) { return host_name(c->ret, 1, argument(0), argument(1)); }

static __noinline int swap(s64 result, u32 off, u64 name)
{
	if (!told(result))
		return 0;
	action_scratch *s = start(ACT_SWAP, result);
	if (!s)
		return 0;
	record(s)->args[0] = off;
	put_name(s, AT_FDCWD, name);
	return end(s);
}

EXIT(kernel, swapon) { return swap(c->ret, 0, argument(0)); }
EXIT(kernel, swapoff) { return swap(c->ret, 1, argument(0)); }

EXIT(kernel, ioperm)
{
	action_scratch *s = told(c->ret) ? start(ACT_DEVICE_MEMORY, c->ret) : NULL;
	if (!s)
		return 0;
	record(s)->args[0] = 1;
	record(s)->args[1] = argument(0);
	record(s)->args[2] = argument(1);
	record(s)->args[3] = argument(2);
	return end(s);
}

EXIT(kernel, iopl) { return told(c->ret) && argument(0) ? plain(ACT_DEVICE_MEMORY, c->ret, 2, argument(0), 0) : 0; }
