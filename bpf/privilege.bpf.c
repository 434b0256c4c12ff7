// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// Identities, capabilities, namespaces, and what processes do to each other,
// seen at the exit of system calls and where signals are made. Calls that
// change nothing and what a process does to itself are left out here.
#include "picket.h"
#include "action.h"

#define NAMESPACES 0x7e020080 // all CLONE_NEW flags
#define SECCOMP_SET_MODE_FILTER 1
#define PR_SET_DUMPABLE 4
#define PR_SET_NAME 15
#define PR_SET_SECCOMP 22
#define PR_SET_SECUREBITS 28
#define PR_SET_MM 35
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_RAISE 2
#define PR_SET_PTRACER 0x59616d61
#define PTRACE_TRACEME 0
#define PTRACE_POKETEXT 4
#define PTRACE_POKEUSR 6
#define PTRACE_SETREGS 13
#define PTRACE_ATTACH 16
#define PTRACE_SETREGSET 0x4205
#define PTRACE_SEIZE 0x4206
#define MFD_NOEXEC_SEAL 8
#define ADDR_NO_RANDOMIZE 0x0040000
#define READ_IMPLIES_EXEC 0x0400000

// Names of security tools whose processes are looked after, set by user space.
struct name { char comm[16]; };
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct name);
	__type(value, u32);
} guarded SEC(".maps");

// The identity that was told last of a thread.
struct identity { u64 start, caps; u32 uid, euid, gid, egid; };
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct identity);
} identities SEC(".maps");

static __always_inline action_scratch *start(u32 action, s64 result)
{
	return begin(action, CLASS_PRIVILEGE, result);
}

// What changes identities has no limit: without it what follows cannot be
// explained.
static __always_inline action_scratch *identified(u32 action, s64 result)
{
	return begin_always(action, CLASS_PRIVILEGE, result);
}

static __always_inline int end(action_scratch *s) { return finish(s, CLASS_PRIVILEGE, false); }

static __always_inline u32 own_pid(void) { return CURRENT_PID(); }

// ---- identities ---------------------------------------------------------
// Whether the thread has another identity than the one that was told last.
static __noinline bool new_identity(void)
{
	struct task_struct *t = current_task();
	const struct cred *cred = BPF_CORE_READ(t, cred);
	u32 tid = bpf_get_current_pid_tgid();
	struct identity now = {}, *last = bpf_map_lookup_elem(&identities, &tid);
	now.start = BPF_CORE_READ(t, start_boottime);
	bpf_core_read(&now.caps, sizeof(now.caps), &cred->cap_effective);
	now.uid = BPF_CORE_READ(cred, uid.val);
	now.euid = BPF_CORE_READ(cred, euid.val);
	now.gid = BPF_CORE_READ(cred, gid.val);
	now.egid = BPF_CORE_READ(cred, egid.val);
	if (last && last->start == now.start && last->caps == now.caps && last->uid == now.uid && last->euid == now.euid &&
	    last->gid == now.gid && last->egid == now.egid)
		return false;
	bpf_map_update_elem(&identities, &tid, &now, BPF_ANY);
	return true;
}

static __noinline int identity(u32 action, u32 call, s64 result)
{
	if (result)
		return 0;
	if (!new_identity()) {
		count_filtered(CLASS_PRIVILEGE);
		return 0;
	}
	action_scratch *s = identified(action, 0);
	if (!s)
		return 0;
	record(s)->args[0] = call;
	record(s)->args[1] = ~0ULL;
	record(s)->args[2] = ~0ULL;
	return finish(s, CLASS_PRIVILEGE, true);
}

EXIT(privilege, setuid) { return identity(ACT_SETUID, ID_PLAIN, c->ret); }
EXIT(privilege, setreuid) { return identity(ACT_SETUID, ID_REAL_EFFECTIVE, c->ret); }
EXIT(privilege, setresuid) { return identity(ACT_SETUID, ID_ALL, c->ret); }
EXIT(privilege, setgid) { return identity(ACT_SETGID, ID_PLAIN, c->ret); }
EXIT(privilege, setregid) { return identity(ACT_SETGID, ID_REAL_EFFECTIVE, c->ret); }
EXIT(privilege, setresgid) { return identity(ACT_SETGID, ID_ALL, c->ret); }

EXIT(privilege, setgroups)
{
	u32 groups[8] = {};
	u64 n = argument(0), bytes = n * 4;
	if (c->ret)
		return 0;
	if (n > 8)
		bytes = 32;
	asm volatile("" : "+r"(bytes));
	if (bytes <= 32 && bpf_probe_read_user(groups, bytes, (void *)argument(1)))
		return 0;
	u64 sum = n;
	for (int i = 0; i < 8; i++)
		sum = sum * 31 + groups[i];
	if (repeated(ACT_SETGROUPS, sum, FOR_EVER, CLASS_PRIVILEGE))
		return 0;
	action_scratch *s = start(ACT_SETGROUPS, 0);
	if (!s)
		return 0;
	record(s)->args[0] = n;
	__builtin_memcpy(&record(s)->args[1], groups, sizeof(groups));
	return end(s);
}

EXIT(privilege, capset)
{
	struct { u32 effective, permitted, inheritable; } data[2] = {};
	if (c->ret)
		return 0;
	if (!new_identity()) {
		count_filtered(CLASS_PRIVILEGE);
		return 0;
	}
	bpf_probe_read_user(data, sizeof(data), (void *)argument(1));
	action_scratch *s = identified(ACT_CAPSET, 0);
	if (!s)
		return 0;
	record(s)->args[0] = (u64)data[1].effective << 32 | data[0].effective;
	record(s)->args[1] = (u64)data[1].permitted << 32 | data[0].permitted;
	record(s)->args[2] = (u64)data[1].inheritable << 32 | data[0].inheritable;
	return finish(s, CLASS_PRIVILEGE, true);
}

// ---- namespaces ---------------------------------------------------------
static __noinline int left(u64 flags, s64 result, bool by_clone)
{
	if (!(flags & NAMESPACES) || (result < 0 && !REFUSED(result)))
		return 0;
	action_scratch *s = identified(ACT_UNSHARE, result < 0 ? result : 0);
	if (!s)
		return 0;
	record(s)->args[0] = flags & NAMESPACES;
	if (by_clone) {
		record(s)->args[1] = 1;
		record(s)->target_pid = result > 0 ? result : 0;
	}
	return finish(s, CLASS_PRIVILEGE, true);
}

EXIT(privilege, unshare) { return left(argument(0), c->ret, false); }

// The flags of clone hold a signal in their low byte, where clone3 has a flag.
EXIT(privilege, clone) { return c->ret == 0 ? 0 : left(argument(0) & ~0xffULL, c->ret, true); }

EXIT(privilege, clone3)
{
	u64 flags = 0;
	if (c->ret == 0 || bpf_probe_read_user(&flags, sizeof(flags), (void *)argument(0)))
		return 0;
	return left(flags, c->ret, true);
}

EXIT(privilege, setns)
{
	if (c->ret && !REFUSED(c->ret))
		return 0;
	action_scratch *s = identified(ACT_SETNS, c->ret);
	if (!s)
		return 0;
	record(s)->args[0] = argument(1);
	return finish(s, CLASS_PRIVILEGE, true);
}

// The name that was passed no longer counts from where it did.
EXIT(privilege, chroot)
{
	struct fs_struct *fs = BPF_CORE_READ(current_task(), fs);
	if (c->ret && !REFUSED(c->ret))
		return 0;
	action_scratch *s = start(ACT_CHROOT, c->ret);
	if (!s)
		return 0;
	if (c->ret)
		put_name(s, AT_FDCWD, argument(0));
	else
		put_place(s, &fs->root);
	return end(s);
}

EXIT(privilege, pivot_root)
{
	if (c->ret && !REFUSED(c->ret))
		return 0;
	action_scratch *s = start(ACT_PIVOT_ROOT, c->ret);
	if (!s)
		return 0;
	put_name(s, AT_FDCWD, argument(0));
	put_other(s, AT_FDCWD, argument(1));
	return end(s);
}

// ---- a process's view of itself -----------------------------------------
static __noinline int plain(u32 action, s64 result, u64 a, u64 b, u64 d)
{
	action_scratch *s = start(action, result);
	if (!s)
		return 0;
	record(s)->args[0] = a;
	record(s)->args[1] = b;
	record(s)->args[2] = d;
	return end(s);
}

EXIT(privilege, seccomp)
{
	if (c->ret < 0 || argument(0) > SECCOMP_SET_MODE_FILTER || repeated(ACT_SECCOMP, argument(0), FOR_EVER, CLASS_PRIVILEGE))
		return 0;
	return plain(ACT_SECCOMP, 0, argument(0), argument(1), 0);
}

// A main thread that takes another name than that of its image: threads name
// themselves all the time.
static __noinline int renamed(u64 text)
{
	u64 id = bpf_get_current_pid_tgid();
	struct task_struct *t = current_task();
	char name[16] = {}, own[16] = {};
	if (id >> 32 != (u32)id)
		return 0;
	bpf_probe_read_kernel_str(name, sizeof(name), t->comm);
	bpf_probe_read_kernel_str(own, sizeof(own), BPF_CORE_READ(t, mm, exe_file, f_path.dentry, d_name.name));
	if (!__builtin_memcmp(name, own, sizeof(name)) || repeated(ACT_PRCTL, *(u64 *)name ^ *(u64 *)(name + 8), FOR_EVER, CLASS_PRIVILEGE)) {
		return 0;
	}
	action_scratch *s = start(ACT_PRCTL, 0);
	if (!s)
		return 0;
	record(s)->args[0] = PR_SET_NAME;
	put_word(s, text);
	return end(s);
}

EXIT(privilege, prctl)
{
	u32 option = argument(0);
	u64 value = argument(1);
	if (c->ret < 0)
		return 0;
	switch (option) {
	case PR_SET_NAME:
		return renamed(value);
	case PR_CAP_AMBIENT:
		if (value != PR_CAP_AMBIENT_RAISE)
			return 0;
		break;
	case PR_SET_PTRACER:
		if (!value)
			return 0;
		break;
	case PR_SET_DUMPABLE:
	case PR_SET_SECCOMP:
	case PR_SET_SECUREBITS:
	case PR_SET_MM:
		break;
	default:
		return 0;
	}
	if (repeated(ACT_PRCTL, (u64)option << 32 ^ value ^ argument(2) << 16, FOR_EVER, CLASS_PRIVILEGE))
		return 0;
	return plain(ACT_PRCTL, 0, option, value, argument(2));
}

EXIT(privilege, personality)
{
	u64 new = (u32)argument(0), gained = new & ~(u64)c->ret & (ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC);
	if (c->ret < 0 || new == 0xffffffff || !gained)
		return 0;
	return plain(ACT_PERSONALITY, 0, new, c->ret, 0);
}

EXIT(privilege, memfd_create)
{
	if (c->ret < 0 || argument(1) & MFD_NOEXEC_SEAL || repeated(ACT_MEMFD, argument(0), SECOND, CLASS_PRIVILEGE))
		return 0;
	action_scratch *s = start(ACT_MEMFD, 0);
	if (!s)
		return 0;
	record(s)->args[0] = argument(1);
	put_word(s, argument(0));
	return end(s);
}

// Keys that are read or given away; sessions make and drop rings all the time.
#define KEY_OPERATIONS (1 << 4 | 1 << 5 | 1 << 11 | 1 << 16 | 1 << 22)
EXIT(privilege, keyctl)
{
	u64 op = (u32)argument(0);
	if (op > 31 || !(1u << op & KEY_OPERATIONS) || (c->ret < 0 && !REFUSED(c->ret)) ||
	    repeated(ACT_KEYCTL, op << 32 ^ argument(1), 10 * SECOND, CLASS_PRIVILEGE))
		return 0;
	return plain(ACT_KEYCTL, c->ret < 0 ? c->ret : 0, op, argument(1), argument(2));
}

// ---- other processes ----------------------------------------------------
// The one whose tracing began last heads the list of its tracer.
static __always_inline struct task_struct *last_traced(struct task_struct *t)
{
	struct list_head *first = BPF_CORE_READ(t, ptraced.next);
	if (!first || first == &t->ptraced)
		return NULL;
	return (void *)first - bpf_core_field_offset(struct task_struct, ptrace_entry);
}

EXIT(privilege, ptrace)
{
	struct task_struct *t = current_task(), *other = NULL;
	u64 request = (u32)argument(0);
	bool began = request == PTRACE_ATTACH || request == PTRACE_SEIZE;
	if (c->ret < 0 && !REFUSED(c->ret))
		return 0;
	if (request == PTRACE_TRACEME) {
		other = BPF_CORE_READ(t, real_parent);
	} else if (began) {
		if (!c->ret)
			other = last_traced(t);
	} else if (!(request >= PTRACE_POKETEXT && request <= PTRACE_POKEUSR) && request != PTRACE_SETREGS && request != PTRACE_SETREGSET) {
		return 0;
	}
	if (repeated(ACT_PTRACE, request << 32 | (u32)argument(1), began ? SECOND : 60 * SECOND, CLASS_PRIVILEGE))
		return 0;
	action_scratch *s = start(ACT_PTRACE, c->ret);
	if (!s)
		return 0;
	record(s)->args[0] = request;
	record(s)->args[1] = (s32)argument(1);
	record(s)->args[2] = argument(2);
	if (other)
		put_target(s, other);
	return end(s);
}

static __noinline int foreign_memory(u32 action, s64 result)
{
	u64 pid = (u32)argument(0);
	if ((result < 0 && !REFUSED(result)) || pid == own_pid() || repeated(action, pid, 10 * SECOND, CLASS_PRIVILEGE))
		return 0;
	return plain(action, result < 0 ? result : 0, pid, result > 0 ? result : 0, 0);
}

EXIT(privilege, process_vm_writev) { return foreign_memory(ACT_VM_WRITE, c->ret); }
EXIT(privilege, process_vm_readv) { return foreign_memory(ACT_VM_READ, c->ret); }

static __always_inline bool is_guarded(struct task_struct *t)
{
	struct name n = {};
	u32 pid = BPF_CORE_READ(t, tgid);
	if (bpf_map_lookup_elem(&excluded, &pid))
		return true;
	bpf_probe_read_kernel_str(n.comm, sizeof(n.comm), BPF_CORE_READ(t, group_leader, comm));
	return bpf_map_lookup_elem(&guarded, &n) != NULL;
}

// Signals that a process sends to the sensor, to a security tool or to another
// user's process.
SEC("tp_btf/signal_generate")
int BPF_PROG(privilege_signal, int sig, struct kernel_siginfo *info, struct task_struct *to, int group, int result)
{
	struct task_struct *t = current_task();
	s32 code = 1;
	if ((u64)info < 2) // made by the kernel, or without details
		return 0;
	bpf_probe_read_kernel(&code, sizeof(code), &info->si_code);
	if (code > 0 || BPF_CORE_READ(t, tgid) == BPF_CORE_READ(to, tgid))
		return 0;
	if (BPF_CORE_READ(t, cred, uid.val) == BPF_CORE_READ(to, cred, uid.val) && !is_guarded(to))
		return 0;
	if (repeated(ACT_SIGNAL, (u64)sig << 32 | BPF_CORE_READ(to, tgid), SECOND, CLASS_PRIVILEGE))
		return 0;
	action_scratch *s = start(ACT_SIGNAL, 0);
	if (!s)
		return 0;
	record(s)->args[0] = sig;
	put_target(s, to);
	return end(s);
}

// Refused signals; 0 only asks whether a process is there.
static __noinline int refused(s64 result, u32 sig, s32 pid)
{
	if (result != -EPERM || !sig || repeated(ACT_SIGNAL, (u64)sig << 32 | (u32)pid | 1ULL << 63, SECOND, CLASS_PRIVILEGE))
		return 0;
	return plain(ACT_SIGNAL, result, sig, pid, 0);
}

EXIT(privilege, kill) { return refused(c->ret, argument(1), argument(0)); }
EXIT(privilege, tkill) { return refused(c->ret, argument(1), argument(0)); }
EXIT(privilege, tgkill) { return refused(c->ret, argument(2), argument(0)); }
EXIT(privilege, rt_sigqueueinfo) { return refused(c->ret, argument(1), argument(0)); }

// Another process is put behind or ahead, or bounded. User space knows whether
// it is one that is looked after.
static __noinline int priority_of(s64 result, u32 call, s32 pid, u64 value, u64 limit)
{
	if ((result && !REFUSED(result)) || pid <= 0 || pid == own_pid() || pid == (u32)bpf_get_current_pid_tgid() ||
	    repeated(ACT_PRIORITY, (u64)call << 32 | pid, SECOND, CLASS_PRIVILEGE))
		return 0;
	action_scratch *s = start(ACT_PRIORITY, result);
	if (!s)
		return 0;
	record(s)->args[0] = call;
	record(s)->args[1] = pid;
	record(s)->args[2] = value;
	record(s)->args[3] = limit;
	return end(s);
}

EXIT(privilege, setpriority) { return argument(0) ? 0 : priority_of(c->ret, 1, argument(1), argument(2), 0); }
EXIT(privilege, sched_setscheduler) { return priority_of(c->ret, 2, argument(0), argument(1), 0); }
EXIT(privilege, sched_setattr) { return priority_of(c->ret, 2, argument(0), ~0ULL, 0); }

EXIT(privilege, prlimit64)
{
	u64 limit = 0;
	if (!argument(2) || bpf_probe_read_user(&limit, sizeof(limit), (void *)argument(2)))
		return 0;
	return priority_of(c->ret, 3, argument(0), argument(1), limit);
}
