// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// TCP: connections made, refused, accepted and ended, ports opened for
// listening.
#include "picket.h"
#include "stream.h"

#define SOCK_STREAM 1
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_LISTEN 10
#define TCP_NEW_SYN_RECV 12
#define SOCK_DONE 1 // bit of sk_flags: the other end has sent its FIN
#define S_IFMT 0170000
#define S_IFSOCK 0140000

// Sockets whose failure has been reported, so that the return of connect does
// not report it again, with the inode of each: a call that did not wait for
// its outcome leaves its entry behind, and the address goes to another.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u64);
} failed SEC(".maps");

static __always_inline void fill_addresses(struct net_record *r, struct sock *sk)
{
	r->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	r->lport = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (!r->lport) // given back already: its socket ends
		r->lport = __builtin_bswap16(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	r->rport = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	__builtin_memset(r->laddr, 0, 32);
	if (r->family == AF_INET6) {
		BPF_CORE_READ_INTO(&r->laddr, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&r->raddr, sk, __sk_common.skc_v6_daddr);
		return;
	}
	*(u32 *)r->laddr = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	*(u32 *)r->raddr = BPF_CORE_READ(sk, __sk_common.skc_daddr);
}

static __always_inline struct net_record *begin(u32 class)
{
	struct net_record *r = bpf_ringbuf_reserve(&bulk, sizeof(*r), 0);
	if (!r)
		count_lost(class);
	return r;
}

static __always_inline void end(struct net_record *r, u32 class)
{
	bpf_ringbuf_submit(r, wake_flags(&bulk, RING_BULK, r->h.time));
	count_produced(class);
}

static __always_inline u32 netns_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

// Tells how a connect went. One that succeeded stays known until it ends.
static __always_inline void outcome(struct sock *sk, u32 op)
{
	u64 key = (u64)sk;
	struct connection *c = bpf_map_lookup_elem(&connections, &key);
	struct net_record *r;

	if (!c || (!c->hidden && !left_out(CLASS_CONNECT, c->pid, c->start))) {
		r = begin(CLASS_CONNECT);
		if (r) {
			fill_owner(&r->h, REC_NET, sizeof(*r), c ? c->pid : 0, c ? c->start : 0);
			r->h.netns = netns_of(sk);
			r->op = op;
			r->error = op == NET_FAILED ? BPF_CORE_READ(sk, sk_err) : 0;
			r->protocol = IPPROTO_TCP;
			fill_addresses(r, sk);
			end(r, CLASS_CONNECT);
		}
	}
	if (op == NET_FAILED)
		bpf_map_delete_elem(&connections, &key);
	else if (c)
		c->opened = bpf_ktime_get_boot_ns();
}

static __always_inline struct stream_record *begin_stream(u32 class)
{
	struct stream_record *r = bpf_ringbuf_reserve(&bulk, sizeof(*r), 0);
	if (!r) {
		count_lost(class);
		return NULL;
	}
	__builtin_memset((void *)r + sizeof(struct net_record), 0, sizeof(*r) - sizeof(struct net_record));
	return r;
}

static __always_inline void end_stream(struct stream_record *r, u32 class)
{
	bpf_ringbuf_submit(r, wake_flags(&bulk, RING_BULK, r->n.h.time));
	count_produced(class);
}

// Tells what a connection carried. The connection of another program than one
// seen here, open before the sensor was, has no owner and no beginning.
static __always_inline void closed(struct sock *sk, u32 state)
{
	struct tcp_sock *tp = (void *)sk;
	u64 key = (u64)sk, again;
	struct connection *c = bpf_map_lookup_elem(&connections, &key);
	struct stream_record *r;

	if (c && c->hidden) {
		bpf_map_delete_elem(&connections, &key);
		return;
	}
	r = c && left_out(CLASS_CLOSE, c->pid, c->start) ? NULL : begin_stream(CLASS_CLOSE);
	if (r) {
		fill_owner(&r->n.h, REC_STREAM, sizeof(*r), c ? c->pid : 0, c ? c->start : 0);
		r->n.h.netns = netns_of(sk);
		r->n.op = NET_CLOSED;
		r->n.error = BPF_CORE_READ(sk, sk_err);
		r->n.protocol = IPPROTO_TCP;
		fill_addresses(&r->n, sk);
		r->id.sock = key;
		r->id.opened = c ? c->opened : 0;
		r->side = c ? c->side : 0;
		r->state = state;
		r->sent = BPF_CORE_READ(tp, bytes_sent);
		again = BPF_CORE_READ(tp, bytes_retrans);
		r->sent = r->sent > again ? r->sent - again : 0;
		r->received = BPF_CORE_READ(tp, bytes_received);
		// The end of the stream counts as a byte.
		if (r->received && BPF_CORE_READ(sk, __sk_common.skc_flags) & (1 << SOCK_DONE))
			r->received--;
		r->retransmits = BPF_CORE_READ(tp, total_retrans);
		end_stream(r, CLASS_CLOSE);
	}
	bpf_map_delete_elem(&connections, &key);
}

static __always_inline void remember(struct sock *sk, u8 side)
{
	u64 key = (u64)sk;
	struct connection c = { .opened = bpf_ktime_get_boot_ns(), .netns = netns_of(sk), .side = side };

	if (side == SIDE_CLIENT) {
		c.pid = CURRENT_PID();
		c.start = BPF_CORE_READ(current_task(), group_leader, start_boottime);
		c.hidden = is_excluded();
	}
	bpf_map_update_elem(&connections, &key, &c, BPF_ANY);
}

static __always_inline void listens(struct sock *sk)
{
	struct net_record *r;

	if (is_excluded() || left_out_here(CLASS_LISTEN))
		return;
	r = begin(CLASS_LISTEN);
	if (!r)
		return;
	fill_header(&r->h, current_task(), REC_NET, sizeof(*r));
	r->op = NET_LISTEN;
	r->error = 0;
	r->protocol = IPPROTO_TCP;
	fill_addresses(r, sk);
	end(r, CLASS_LISTEN);
}

static __always_inline int state_changed(struct sock *sk, s32 old, s32 new)
{
	u64 key = (u64)sk;
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP || (family != AF_INET && family != AF_INET6))
		return 0;
	if (new == TCP_SYN_SENT) {
		remember(sk, SIDE_CLIENT);
	} else if (new == TCP_ESTABLISHED) {
		if (old == TCP_SYN_SENT)
			outcome(sk, NET_CONNECTED);
		else if (old == TCP_SYN_RECV)
			remember(sk, SIDE_SERVER);
	} else if (new == TCP_LISTEN) {
		listens(sk);
	} else if (new == TCP_CLOSE) {
		if (old == TCP_SYN_SENT) {
			u64 ino = BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
			outcome(sk, NET_FAILED);
			bpf_map_update_elem(&failed, &key, &ino, BPF_ANY);
		} else if (old != TCP_CLOSE && old != TCP_LISTEN && old != TCP_SYN_RECV &&
			   old != TCP_TIME_WAIT && old != TCP_NEW_SYN_RECV) {
			closed(sk, old);
		}
	}
	return 0;
}

// The kernel does not run a tracing program inside itself. But an interrupt
// that comes while it runs may bring packets for hundreds of sockets: a second
// program after it takes those that the first was not run for.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} inside SEC(".maps");

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(network_state, struct sock *sk, s32 old, s32 new)
{
	u32 zero = 0;
	u32 *in = bpf_map_lookup_elem(&inside, &zero);
	if (in)
		*(volatile u32 *)in = 1;
	state_changed(sk, old, new);
	if (in)
		*(volatile u32 *)in = 0;
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(network_nested, struct sock *sk, s32 old, s32 new)
{
	u32 zero = 0;
	u32 *in = bpf_map_lookup_elem(&inside, &zero);
	if (!in || !*(volatile u32 *)in)
		return 0;
	count_produced(CLASS_NESTED);
	return state_changed(sk, old, new);
}

static __always_inline struct sock *sock_of(struct task_struct *t, s64 fd)
{
	struct file *f = NULL;
	struct socket *socket;
	struct fdtable *table = BPF_CORE_READ(t, files, fdt);
	if (fd < 0 || fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&f, sizeof(f), BPF_CORE_READ(table, fd) + fd);
	if (!f || (BPF_CORE_READ(f, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(f, private_data);
	return socket ? BPF_CORE_READ(socket, sk) : NULL;
}

// Gives an accepted connection its owner; it may have ended meanwhile.
static __always_inline u64 adopt(struct task_struct *t, struct sock *sk)
{
	u64 key = (u64)sk;
	struct connection *c = bpf_map_lookup_elem(&connections, &key);

	if (!c)
		return 0;
	c->start = BPF_CORE_READ(t, group_leader, start_boottime);
	c->pid = BPF_CORE_READ(t, tgid);
	c->hidden = is_excluded();
	return c->opened;
}

static __always_inline int accepted(s64 fd)
{
	struct task_struct *t = current_task();
	struct sock *sk;
	struct stream_record *r;
	u16 family;
	u64 opened;

	if (fd < 0)
		return 0;
	sk = sock_of(t, fd);
	if (!sk)
		return 0;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if ((family != AF_INET && family != AF_INET6) || BPF_CORE_READ(sk, sk_type) != SOCK_STREAM)
		return 0;
	opened = adopt(t, sk);
	if (is_excluded() || left_out_here(CLASS_ACCEPT))
		return 0;
	r = begin_stream(CLASS_ACCEPT);
	if (!r)
		return 0;
	fill_header(&r->n.h, t, REC_STREAM, sizeof(*r));
	r->n.op = NET_ACCEPTED;
	r->n.error = 0;
	r->n.protocol = IPPROTO_TCP;
	fill_addresses(&r->n, sk);
	r->id.sock = (u64)sk;
	r->id.opened = opened;
	r->side = SIDE_SERVER;
	end_stream(r, CLASS_ACCEPT);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_accept")
int network_accept(struct sys_exit_frame *c) { return accepted(c->ret); }

SEC("tracepoint/syscalls/sys_exit_accept4")
int network_accept4(struct sys_exit_frame *c) { return accepted(c->ret); }

struct address { u16 family; u16 port; u8 rest[24]; };

// A connect that failed before any packet left: no route, not permitted.
SEC("tracepoint/syscalls/sys_exit_connect")
int network_connect(struct sys_exit_frame *c)
{
	struct task_struct *t = current_task();
	struct address a = {};
	struct net_record *r;
	u64 key, fd, user, ino, *told;

	switch (c->ret) {
	case -1: case -13: case -99: case -101: case -104: case -110: case -111: case -113:
		break; // EPERM EACCES EADDRNOTAVAIL ENETUNREACH ECONNRESET ETIMEDOUT ECONNREFUSED EHOSTUNREACH
	default:
		return 0;
	}
	struct pt_regs *regs = user_regs();
#if defined(__TARGET_ARCH_x86)
	fd = BPF_CORE_READ(regs, di);
	user = BPF_CORE_READ(regs, si);
#else
	fd = BPF_CORE_READ(regs, orig_x0);
	user = BPF_CORE_READ(regs, regs[1]);
#endif
	struct sock *sk = sock_of(t, (s32)fd);
	if (!sk)
		return 0;
	key = (u64)sk;
	told = bpf_map_lookup_elem(&failed, &key);
	if (told) {
		ino = *told;
		bpf_map_delete_elem(&failed, &key);
		if (ino == BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino))
			return 0;
	}
	if (bpf_probe_read_user(&a, 16, (void *)user) || is_excluded())
		return 0;
	if (a.family == AF_INET6 && bpf_probe_read_user(&a, 24, (void *)user))
		return 0;
	if ((a.family != AF_INET && a.family != AF_INET6) || left_out_here(CLASS_CONNECT))
		return 0;
	r = begin(CLASS_CONNECT);
	if (!r)
		return 0;
	fill_header(&r->h, t, REC_NET, sizeof(*r));
	r->op = NET_FAILED;
	r->error = -c->ret;
	fill_addresses(r, sk);
	r->protocol = BPF_CORE_READ(sk, sk_type) == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	r->family = a.family;
	r->rport = __builtin_bswap16(a.port);
	__builtin_memset(r->raddr, 0, 16);
	if (a.family == AF_INET6)
		__builtin_memcpy(r->raddr, a.rest + 4, 16);
	else
		__builtin_memcpy(r->raddr, a.rest, 4);
	end(r, CLASS_CONNECT);
	return 0;
}

#define SOL_IP 0
#define SOL_IPV6 41
#define SET_RULES 64  // of iptables and ip6tables before nf_tables: a whole table
#define SET_ARP_RULES 96

SEC("tracepoint/syscalls/sys_exit_setsockopt")
int network_setsockopt(struct sys_exit_frame *c)
{
	struct pt_regs *regs;
	struct action_record *r;
	u64 level, option;

	if (c->ret)
		return 0;
	regs = user_regs();
#if defined(__TARGET_ARCH_x86)
	level = BPF_CORE_READ(regs, si);
	option = BPF_CORE_READ(regs, dx);
#else
	level = BPF_CORE_READ(regs, regs[1]);
	option = BPF_CORE_READ(regs, regs[2]);
#endif
	if (!(option == SET_RULES && (level == SOL_IP || level == SOL_IPV6)) && !(option == SET_ARP_RULES && level == SOL_IP))
		return 0;
	if (is_excluded() || left_out_here(CLASS_SOCKET))
		return 0;
	r = bpf_ringbuf_reserve(&bulk, sizeof(*r), 0);
	if (!r) {
		count_lost(CLASS_SOCKET);
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	fill_header(&r->h, current_task(), REC_ACTION, sizeof(*r));
	r->action = ACT_FIREWALL;
	r->args[0] = level;
	r->args[1] = option;
	bpf_ringbuf_submit(r, wake_flags(&bulk, RING_BULK, r->h.time));
	count_produced(CLASS_SOCKET);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
