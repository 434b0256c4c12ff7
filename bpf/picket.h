// SPDX-License-Identifier: Apache-2.0
// What every Picket kernel program shares: the few kernel types that we read
// (relocated to the running kernel by name), the records that go to user
// space, the maps, and the walk from a dentry to a path.
#pragma once

#define __VMLINUX_H__ // our types replace a full kernel header

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
typedef signed long long s64;
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef signed char __s8;
typedef short __s16;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u64 __be64;
typedef u32 __wsum;
typedef u16 __sum16;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0 };

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

// ---- kernel types -------------------------------------------------------
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { s32 counter; } atomic_t;
typedef struct { s64 counter; } atomic64_t;
typedef struct { u32 val; } kuid_t;
typedef struct { u32 val; } kgid_t;
typedef struct { u64 val; } kernel_cap_t;

struct ns_common { u32 inum; };
struct user_namespace { struct ns_common ns; };
struct mnt_namespace { struct ns_common ns; };
struct pid_namespace { struct ns_common ns; };
struct net { struct ns_common ns; };
struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
};

struct cred {
	kuid_t uid, euid;
	kgid_t gid, egid;
	kernel_cap_t cap_effective;
	struct user_namespace *user_ns;
};

struct qstr { const unsigned char *name; };
struct file_system_type { const char *name; };
struct super_block { u32 s_dev; u64 s_magic; struct file_system_type *s_type; };
struct timespec64 { s64 tv_sec; long tv_nsec; };
struct address_space { atomic_t i_mmap_writable; };
struct inode {
	u16 i_mode;
	kuid_t i_uid;
	u32 i_rdev;
	struct super_block *i_sb;
	struct address_space *i_mapping;
	unsigned long i_ino;
	u32 i_nlink;
	s64 i_size;
	s64 i_ctime_sec, i_mtime_sec; // 6.11 and later
	u32 i_ctime_nsec, i_mtime_nsec;
};
struct inode___v6 { struct timespec64 __i_ctime, __i_mtime; }; // 6.7 to 6.10 (mtime), 6.6 (ctime)
struct inode___v5 { struct timespec64 i_ctime, i_mtime; };     // before
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};
struct vfsmount { struct dentry *mnt_root; struct super_block *mnt_sb; };
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
typedef struct { atomic64_t refcnt; } file_ref_t;
struct file {
	u32 f_mode;
	u32 f_flags;
	s64 f_pos;
	void *private_data;
	struct inode *f_inode;
	struct path f_path;
	file_ref_t f_ref; // 6.13 and later: 0 is one reference
};
struct file___v5 { atomic64_t f_count; };
struct fdtable { u32 max_fds; struct file **fd; unsigned long *close_on_exec, *open_fds; };
struct files_struct { atomic_t count; struct fdtable *fdt; };
struct fs_struct { struct path root, pwd; };

struct mm_struct {
	struct file *exe_file;
	unsigned long arg_start, arg_end, env_start, env_end;
};

struct module { char name[56]; };
struct kernel_siginfo { s32 si_code; };
struct list_head { struct list_head *next; };

struct kernfs_node { struct kernfs_node *__parent; const char *name; u64 id; }; // 6.15 and later
struct kernfs_node___v5 { struct kernfs_node *parent; };
struct cgroup { s32 level; struct kernfs_node *kn; };
struct cgroup_subsys_state { struct cgroup *cgroup; };
struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};
enum cgroup_subsys_id { pids_cgrp_id = 1, memory_cgrp_id = 2 };

struct upid { s32 nr; };
struct pid { u32 level; struct upid numbers[1]; };
struct tty_struct { char name[64]; };
struct signal_struct {
	atomic_t live;
	struct pid *pids[4];
	struct tty_struct *tty;
	s32 group_exit_code;
	u32 flags;
	u64 utime, stime;
	u64 sum_sched_runtime;
};
struct sched_entity { u64 sum_exec_runtime; };
struct task_struct {
	void *stack;
	u32 flags;
	s32 exit_code;
	s32 pid, tgid;
	struct sched_entity se;
	struct mm_struct *mm;
	struct task_struct *real_parent, *group_leader;
	u64 utime, stime;
	u64 start_boottime;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	kuid_t loginuid;
	u32 sessionid;
	struct css_set *cgroups;
	struct list_head ptraced, ptrace_entry;
};
struct linux_binprm { struct file *file; };

struct in6_addr { u8 bytes[16]; };
typedef struct { struct net *net; } possible_net_t;
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	volatile u8 skc_state;
	possible_net_t skc_net;
	unsigned long skc_flags;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	u16 sk_type;
	s32 sk_err;
	struct socket *sk_socket;
};
struct inet_sock { __be16 inet_sport; };
struct socket { struct file *file; struct sock *sk; };
struct tcp_sock { u64 bytes_received, bytes_sent, bytes_retrans; u32 total_retrans; };
struct unix_sock { struct sock sk; struct path path; struct sock *peer; };

#if defined(__TARGET_ARCH_x86)
struct pt_regs { unsigned long di, si, dx, cx, r10, r8, r9, ax; };
#else
struct pt_regs { u64 regs[31]; u64 orig_x0; };
struct user_pt_regs { u64 regs[31]; };
#endif

struct bpf_iter_meta { struct seq_file *seq; };
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };

#pragma clang attribute pop

// The frame of a classic system-call tracepoint: its layout is user ABI.
struct sys_exit_frame { u64 common; s64 id; s64 ret; };
struct sys_enter_frame { u64 common; s64 id; u64 args[6]; };

// ---- records ------------------------------------------------------------
// Little-endian, naturally aligned, decoded by sensor/linux/record.go. A test
// there compares every offset with the types in the compiled objects.

enum record_type {
	REC_EXEC = 1, REC_FORK, REC_EXIT, REC_FILE, REC_PATHOP, REC_NET, REC_DNS, REC_FLOW, REC_TASK,
	REC_ACTION,  // anything else that a process did, by enum action
	REC_LINE,    // a line that a shell read
	REC_PAYLOAD, // the first bytes of a stream
	REC_SUMMARY, // what a rate limit left out
	REC_STREAM,  // a connection that was accepted or ended
};
// Classes of the loss counters: one per kind of event that can be lost.
enum class {
	CLASS_EXEC, CLASS_FORK, CLASS_EXIT, CLASS_FILE, CLASS_DELETE, CLASS_RENAME, CLASS_LINK,
	CLASS_CONNECT, CLASS_ACCEPT, CLASS_LISTEN, CLASS_DNS, CLASS_FLOW,
	CLASS_ATTRIBUTE, // permissions, owners, extended attributes, mounts
	CLASS_PRIVILEGE, // identities, capabilities, namespaces, other processes
	CLASS_KERNEL,    // modules, programs, tracing, settings
	CLASS_IMAGE,     // executable mappings
	CLASS_CLOSE, CLASS_PAYLOAD, CLASS_SOCKET, CLASS_SCRIPT, CLASS_SUMMARY,
	CLASS_NESTED, // not a kind of event: runs of network_nested in place of network_state
	CLASS_MAX,
};
enum {
	FLAG_PATH_CUT = 1,    // a path was longer than the record may hold
	FLAG_ARGS_CUT = 2,    // arguments longer than 32 KiB
	FLAG_ENV_CUT = 4,     // environment longer than what is carried
	FLAG_UNREADABLE = 8,  // user memory was not there to be read
	FLAG_NAMELESS = 16,   // the image has no name in a file system
	FLAG_NO_TASK = 32,    // the header names no process: interrupt context
};

struct header {
	u16 type, flags;
	u32 len;
	u64 time;         // boot clock, ns
	u64 start;        // start of the process, boot clock, ns
	u64 parent_start;
	u32 cpu, pid, tid, ppid;
	u32 uid, euid, gid, egid;
	u32 loginuid, audit, sid, netns;
	char comm[16];
};

struct task_part {
	u64 caps;
	u64 cgroup_id;
	u32 mnt_ns, pid_ns, net_ns, user_ns;
	char tty[16];
};

struct image_part {
	u64 ino, size;
	s64 ctime_sec;
	u32 ctime_nsec, dev, mode, nlink, magic, uid;
};

struct exec_record {
	struct header h;
	struct task_part task;
	struct image_part image;
	u32 exe_len, cwd_len, cgroup_len, args_len, args_total, env_len, env_total, pad;
};

struct fork_record {
	struct header h;
	u64 child_start;
	u32 child_pid, pad;
};

struct exit_record {
	struct header h;
	u64 utime, stime, runtime;
	u32 code, flags; // 1: never ran an image of its own
};

// FILE_HELD: user space holds a record of it back, because the descriptor that
// went was not the last and the end of the last may go unseen.
enum {
	FILE_CREATED = 1, FILE_TRUNCATED = 2, FILE_APPEND = 4, FILE_WRITE_ONLY = 8, FILE_REPORTED = 16,
	FILE_STILL_OPEN = 32, FILE_HELD = 64,
};

// What is remembered about a file open for writing, by address of its struct file.
struct open_file {
	u64 opened;    // boot clock, ns
	u64 start;     // opener
	u32 pid, fd;
	s64 size;      // at open
	s64 mtime_sec;
	u32 mtime_nsec, flags;
	u64 ino;
};

struct file_record {
	struct header h;
	struct open_file open;
	struct image_part image;
	u64 pos;
	u64 key;       // in open_files
	u32 path_len, held; // held: 1 when the file is still open elsewhere
};

enum path_op { OP_UNLINK = 1, OP_RENAME, OP_LINK, OP_SYMLINK, OP_TRUNCATE };

// Each side is a folder that the kernel resolved (leaf to root) and the text
// that the program passed, relative to it unless it starts with a slash.
struct pathop_record {
	struct header h;
	u32 op, arg;
	u32 base1_len, name1_len, base2_len, name2_len;
};

enum net_op { NET_CONNECTED = 1, NET_FAILED, NET_ACCEPTED, NET_LISTEN, NET_CLOSED };

struct net_record {
	struct header h;
	u32 op, error;
	u16 family, protocol, lport, rport; // ports in host order
	u8 laddr[16], raddr[16];
};

// Address and time together name a connection within a boot.
struct stream_id { u64 sock, opened; };

enum { SIDE_CLIENT = 1, SIDE_SERVER };
struct stream_record {
	struct net_record n;
	struct stream_id id;
	u64 sent, received;                 // bytes of payload, each counted once
	u64 packets_sent, packets_received; // of UDP
	u32 retransmits, side, state, pad;  // state: of TCP, before the end
};

enum { PAYLOAD_TLS = 1, PAYLOAD_HTTP, PAYLOAD_SSH, PAYLOAD_GREETING, PAYLOAD_DNS };
#define PAYLOAD_MAX 2048
struct payload_record {
	struct header h;
	struct stream_id id;
	u32 seq;           // of the first byte
	u16 kind, inbound; // inbound: 1 when this host received it
	u16 family, side, lport, rport;
	u8 laddr[16], raddr[16];
	u32 payload_len, payload_total;
	u8 payload[PAYLOAD_MAX];
};

#define DNS_MAX 1472
enum { DNS_QUERY = 1, DNS_ANSWER = 2 };
struct dns_record {
	struct header h;
	u16 family, direction, lport, rport;
	u8 laddr[16], raddr[16];
	u32 payload_len, payload_total;
	u8 payload[DNS_MAX];
};

// What a process did. The meaning of args is the same whatever call or hook
// told it and stands in action.h. One or two texts follow, each with the folder
// that it is relative to (as in pathop_record); a folder without a text is the
// file itself.
enum action {
	ACT_NONE,
	// files
	ACT_CHMOD, ACT_CHOWN, ACT_SETXATTR, ACT_REMOVEXATTR, ACT_UTIMES, ACT_ATTRIBUTES, ACT_MKNOD,
	ACT_MOUNT, ACT_UNMOUNT, ACT_MAP_IMAGE,
	// privileges
	ACT_SETUID, ACT_SETGID, ACT_SETGROUPS, ACT_CAPSET, ACT_UNSHARE, ACT_SETNS, ACT_CHROOT, ACT_PIVOT_ROOT,
	ACT_SECCOMP, ACT_PRCTL, ACT_PTRACE, ACT_VM_WRITE, ACT_VM_READ, ACT_MEM_WRITE, ACT_SIGNAL, ACT_PRIORITY,
	ACT_MEMFD, ACT_KEYCTL, ACT_PERSONALITY,
	// kernel
	ACT_MODULE_LOAD, ACT_MODULE_UNLOAD, ACT_BPF_PROG, ACT_BPF_MAP, ACT_BPF_OTHER, ACT_KEXEC, ACT_PERF, ACT_IO_URING,
	ACT_REBOOT, ACT_SETTIME, ACT_HOSTNAME, ACT_SWAP, ACT_SYSCTL, ACT_DEVICE_MEMORY, ACT_USERFAULTFD, ACT_QUOTA,
	// sockets
	ACT_RAW_SOCKET, ACT_PACKET_SOCKET, ACT_UNIX_CONNECT, ACT_SOCKET_FILTER, ACT_PROMISC, ACT_TUNNEL, ACT_FIREWALL,
	ACT_NETLINK,
};

struct action_record {
	struct header h;
	u32 action;
	s32 result;       // of the system call; 0 where a hook has none
	u64 args[6];
	u32 target_pid;   // process that it is done to; 0: none
	u32 target_uid;
	u64 target_start;
	u64 caps;         // effective capabilities afterwards
	struct image_part image; // of the file that it is done to; ino 0: not known
	u32 mnt_ns, pid_ns, user_ns, pad; // afterwards
	u32 base1_len, name1_len, base2_len, name2_len;
};

// ---- maps ---------------------------------------------------------------
// limited: left out by a rate limit or by shedding, and told of in a summary.
struct counter { u64 produced, lost, filtered, limited; };

// One row of classes for each processor, sized by user space, which reads it
// as memory: a system call on a map keeps tracepoint programs of its processor
// from running until it is done.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLASS_MAX);
	__uint(map_flags, 1 << 10); // BPF_F_MMAPABLE
	__type(key, u32);
	__type(value, struct counter);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} priority SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} bulk SEC(".maps");

// Processes whose own doings are not collected: the sensor itself.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u32);
} excluded SEC(".maps");

// How much of a class may be told: a token bucket as the time that one event
// takes and the time that may be saved up, for each process and for all.
struct limit {
	u64 interval, allowance;         // of one process, ns; interval 0: no limit
	u64 all_interval, all_allowance; // of the host
	u32 off, pad;                    // nothing is told
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLASS_MAX);
	__type(key, u32);
	__type(value, struct limit);
} limits SEC(".maps");

struct bucket_key { u64 start; u32 pid, class; };
struct bucket { u64 due, limited; }; // when the bucket is empty again; how many were left out
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct bucket_key);
	__type(value, struct bucket);
} buckets SEC(".maps");

// When each ring last woke user space.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} woken SEC(".maps");

enum { RING_PRIORITY, RING_BULK };
#define WAKE_AFTER_NS (10 * 1000000ULL)
#define WAKE_AT_BYTES (1 << 20)

// ---- helpers ------------------------------------------------------------
static __always_inline struct counter *counter_of(u32 class)
{
	u32 key = bpf_get_smp_processor_id() * CLASS_MAX + class;
	return bpf_map_lookup_elem(&counters, &key);
}

static __always_inline void count_lost(u32 class)
{
	struct counter *c = counter_of(class);
	if (c)
		__sync_fetch_and_add(&c->lost, 1);
}

static __always_inline void count_produced(u32 class)
{
	struct counter *c = counter_of(class);
	if (c)
		__sync_fetch_and_add(&c->produced, 1);
}

static __always_inline void count_filtered(u32 class)
{
	struct counter *c = counter_of(class);
	if (c)
		__sync_fetch_and_add(&c->filtered, 1);
}

// User space polls a ring for a while after each wake-up and then sleeps, so
// one wake-up per interval is enough: most events cost no wake-up at all.
static __always_inline u64 wake_flags(void *ring, u32 which, u64 now)
{
	u64 *last = bpf_map_lookup_elem(&woken, &which);
	if (!last || now - *last > WAKE_AFTER_NS) {
		if (last)
			*last = now;
		return BPF_RB_FORCE_WAKEUP;
	}
	if (bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) > WAKE_AT_BYTES)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

// Takes one event out of a bucket. Two processors that do so at once may let
// one event too many through, but count each that is left out.
static __always_inline bool bucket_empty(u32 class, u32 pid, u64 start, u64 now, u64 interval, u64 allowance)
{
	struct bucket_key key = { .start = start, .pid = pid, .class = class };
	struct bucket *b = bpf_map_lookup_elem(&buckets, &key);
	if (!b) {
		struct bucket fresh = { .due = now + interval };
		bpf_map_update_elem(&buckets, &key, &fresh, BPF_NOEXIST);
		return false;
	}
	u64 due = b->due > now ? b->due : now;
	if (due - now > allowance) {
		__sync_fetch_and_add(&b->limited, 1);
		return true;
	}
	b->due = due + interval;
	return false;
}

// Whether an event of a process is to be left out, and counts it then.
static __noinline bool left_out(u32 class, u32 pid, u64 start)
{
	struct limit *l = bpf_map_lookup_elem(&limits, &class);
	if (!l || (!l->off && !l->interval && !l->all_interval))
		return false;
	u64 now = bpf_ktime_get_boot_ns();
	if (!l->off &&
	    !(l->interval && bucket_empty(class, pid, start, now, l->interval, l->allowance)) &&
	    !(l->all_interval && bucket_empty(class, 0, 0, now, l->all_interval, l->all_allowance)))
		return false;
	struct counter *c = counter_of(class);
	if (c)
		__sync_fetch_and_add(&c->limited, 1);
	return true;
}

static __always_inline struct task_struct *current_task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}

#ifndef CURRENT_PID
#define CURRENT_PID() (bpf_get_current_pid_tgid() >> 32)
#endif

#define STACK_SIZE (16 << 10) // of a task in the kernel, with pages of 4 KiB
enum bpf_func_id { BPF_FUNC_task_pt_regs = 175 };

// The registers that the current task entered the kernel with. Before 5.15 no
// helper tells: they lie at the upper end of its stack.
static __always_inline struct pt_regs *user_regs(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	return (struct pt_regs *)(BPF_CORE_READ(current_task(), stack) + STACK_SIZE - bpf_core_type_size(struct pt_regs));
}

static __always_inline bool is_excluded(void)
{
	u32 pid = CURRENT_PID();
	return bpf_map_lookup_elem(&excluded, &pid) != NULL;
}

static __always_inline void fill_header(struct header *h, struct task_struct *t, u16 type, u32 len)
{
	struct task_struct *leader = BPF_CORE_READ(t, group_leader);
	struct task_struct *parent = BPF_CORE_READ(t, real_parent);
	const struct cred *cred = BPF_CORE_READ(t, cred);

	h->type = type;
	h->flags = 0;
	h->len = len;
	h->time = bpf_ktime_get_boot_ns();
	h->cpu = bpf_get_smp_processor_id();
	h->start = BPF_CORE_READ(leader, start_boottime);
	h->pid = BPF_CORE_READ(t, tgid);
	h->tid = BPF_CORE_READ(t, pid);
	h->ppid = BPF_CORE_READ(parent, tgid);
	h->parent_start = BPF_CORE_READ(parent, group_leader, start_boottime);
	h->uid = BPF_CORE_READ(cred, uid.val);
	h->euid = BPF_CORE_READ(cred, euid.val);
	h->gid = BPF_CORE_READ(cred, gid.val);
	h->egid = BPF_CORE_READ(cred, egid.val);
	h->loginuid = -1;
	h->audit = -1;
	if (bpf_core_field_exists(t->loginuid)) {
		h->loginuid = BPF_CORE_READ(t, loginuid.val);
		h->audit = BPF_CORE_READ(t, sessionid);
	}
	h->sid = BPF_CORE_READ(t, signal, pids[3], numbers[0].nr); // PIDTYPE_SID
	h->netns = BPF_CORE_READ(t, nsproxy, net_ns, ns.inum);
	bpf_probe_read_kernel(h->comm, sizeof(h->comm), t->comm);
}

// The same for the running process.
static __always_inline bool left_out_here(u32 class)
{
	return left_out(class, CURRENT_PID(), BPF_CORE_READ(current_task(), group_leader, start_boottime));
}

// A header for an event of a remembered process, seen where another runs.
static __always_inline void fill_owner(struct header *h, u16 type, u32 len, u32 pid, u64 start)
{
	__builtin_memset(h, 0, sizeof(*h));
	h->type = type;
	h->flags = FLAG_NO_TASK;
	h->len = len;
	h->time = bpf_ktime_get_boot_ns();
	h->cpu = bpf_get_smp_processor_id();
	h->pid = pid;
	h->start = start;
}

static __always_inline void fill_task(struct task_part *p, struct task_struct *t)
{
	const struct cred *cred = BPF_CORE_READ(t, cred);
	struct nsproxy *ns = BPF_CORE_READ(t, nsproxy);
	struct tty_struct *tty = BPF_CORE_READ(t, signal, tty);

	// Two 32-bit words before 6.3, one 64-bit value since: same bytes.
	bpf_core_read(&p->caps, sizeof(p->caps), &cred->cap_effective);
	p->cgroup_id = BPF_CORE_READ(t, cgroups, dfl_cgrp, kn, id);
	p->mnt_ns = BPF_CORE_READ(ns, mnt_ns, ns.inum);
	p->pid_ns = BPF_CORE_READ(ns, pid_ns_for_children, ns.inum);
	p->net_ns = BPF_CORE_READ(ns, net_ns, ns.inum);
	p->user_ns = BPF_CORE_READ(cred, user_ns, ns.inum);
	__builtin_memset(p->tty, 0, sizeof(p->tty));
	if (tty)
		bpf_core_read_str(p->tty, sizeof(p->tty), &tty->name);
}

static __always_inline void inode_mtime(struct inode *i, s64 *sec, u32 *nsec)
{
	struct inode___v6 *v6 = (void *)i;
	struct inode___v5 *v5 = (void *)i;
	if (bpf_core_field_exists(i->i_mtime_sec)) {
		*sec = BPF_CORE_READ(i, i_mtime_sec);
		*nsec = BPF_CORE_READ(i, i_mtime_nsec);
	} else if (bpf_core_field_exists(v6->__i_mtime)) {
		*sec = BPF_CORE_READ(v6, __i_mtime.tv_sec);
		*nsec = BPF_CORE_READ(v6, __i_mtime.tv_nsec);
	} else {
		*sec = BPF_CORE_READ(v5, i_mtime.tv_sec);
		*nsec = BPF_CORE_READ(v5, i_mtime.tv_nsec);
	}
}

static __always_inline void fill_image(struct image_part *p, struct inode *i)
{
	struct inode___v6 *v6 = (void *)i;
	struct inode___v5 *v5 = (void *)i;
	p->ino = BPF_CORE_READ(i, i_ino);
	p->size = BPF_CORE_READ(i, i_size);
	p->mode = BPF_CORE_READ(i, i_mode);
	p->nlink = BPF_CORE_READ(i, i_nlink);
	p->uid = BPF_CORE_READ(i, i_uid.val);
	p->dev = BPF_CORE_READ(i, i_sb, s_dev);
	p->magic = BPF_CORE_READ(i, i_sb, s_magic);
	if (bpf_core_field_exists(i->i_ctime_sec)) {
		p->ctime_sec = BPF_CORE_READ(i, i_ctime_sec);
		// Bit 31 says "queried" with multigrain time stamps.
		p->ctime_nsec = BPF_CORE_READ(i, i_ctime_nsec) & 0x7fffffff;
	} else if (bpf_core_field_exists(v6->__i_ctime)) {
		p->ctime_sec = BPF_CORE_READ(v6, __i_ctime.tv_sec);
		p->ctime_nsec = BPF_CORE_READ(v6, __i_ctime.tv_nsec);
	} else {
		p->ctime_sec = BPF_CORE_READ(v5, i_ctime.tv_sec);
		p->ctime_nsec = BPF_CORE_READ(v5, i_ctime.tv_nsec);
	}
}

// Scratch: where records of varying length are put together. One per
// processor; busy guards against a program that interrupts another, whose
// event is then counted as lost.
static __always_inline bool take(u32 *busy)
{
#ifdef PICKET_OLD // no such instruction before 5.12; there only interrupts come between
	if (*(volatile u32 *)busy)
		return false;
	*(volatile u32 *)busy = 1;
	return true;
#else
	return __sync_val_compare_and_swap(busy, 0, 1) == 0;
#endif
}

static __always_inline void give(u32 *busy)
{
#ifdef PICKET_OLD
	*(volatile u32 *)busy = 0;
#else
	__sync_lock_test_and_set(busy, 0);
#endif
}

#ifdef PICKET_OLD
#define WALK_MAX 48       // components of a path
#else
#define WALK_MAX 128
#endif
#define PATH_ROOM 4096

#define SCRATCH(ROOM) struct { \
	u32 busy; \
	u32 off;         /* next free byte of buf */ \
	u32 limit;       /* the walk stops here */ \
	u32 flags; \
	u64 dentry, mnt, root; \
	u64 user, left;  /* copy of user memory */ \
	u32 steps, pad; \
	u8 buf[(ROOM) + 4096 + 256]; \
}

// Bounds an offset so that old verifiers believe it; clang drops a plain test.
#define BOUND(off, mask) do { (off) &= (mask); asm volatile("" : "+r"(off)); } while (0)

// The decoder counts on these.
_Static_assert(sizeof(struct header) == 96, "header");
_Static_assert(sizeof(struct task_part) == 48 && sizeof(struct image_part) == 48, "parts");
_Static_assert(sizeof(struct exec_record) == 224 && sizeof(struct fork_record) == 112 && sizeof(struct exit_record) == 128, "process");
_Static_assert(sizeof(struct open_file) == 56 && sizeof(struct file_record) == 224 && sizeof(struct pathop_record) == 120, "file");
_Static_assert(sizeof(struct action_record) == 96 + 8 + 48 + 24 + 48 + 16 + 16, "action");
_Static_assert(sizeof(struct stream_record) == 208 && __builtin_offsetof(struct payload_record, payload) == 168, "stream");
_Static_assert(sizeof(struct net_record) == 144 && __builtin_offsetof(struct dns_record, payload) == 144, "network");
