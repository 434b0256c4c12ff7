// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// UDP as it passes the control group: names asked for and answered, the first
// datagram that a socket sends to each peer, and ports that programs choose.
// Older kernels have no helper that tells a program on packets which process runs.
#define CURRENT_PID() BPF_CORE_READ(current_task(), tgid)
#include "picket.h"
#include "inet.h"

#define PORT_MDNS 5353
#define PORT_LLMNR 5355
#define SMALL 256

struct flow { u64 cookie; u8 raddr[16]; u32 rport, pad; };
struct udp_owner { u64 start; u32 pid, netns; };

// What passed between a socket and a peer. One that spoke first has no owner:
// nobody asked for it.
struct flow_state {
	u64 opened, last; // boot clock, ns
	u64 start;
	u64 sent, received, packets_sent, packets_received;
	u32 pid, netns;
	u16 family, side, lport, pad;
	u8 laddr[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow);
	__type(value, struct flow_state);
} flows SEC(".maps");

// Answers arrive in interrupt context: who asked is known by the socket.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct udp_owner);
} askers SEC(".maps");

// Sockets whose port a program asked for: one that the kernel picks waits for
// nobody.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u32);
} binding SEC(".maps");

struct datagram {
	u32 family, payload; // offset of the payload
	u16 sport, dport;
	u8 saddr[16], daddr[16];
};

// Whether the packet is UDP, and its ends.
static __always_inline bool parse(struct __sk_buff *skb, struct datagram *d)
{
	u8 ip[40];
	u16 ports[2];
	struct bpf_sock *sk = skb->sk;
	u32 at;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != IPPROTO_UDP)
		return false;
	if (skb->protocol == __builtin_bswap16(0x0800)) {
		if (bpf_skb_load_bytes(skb, 0, ip, 20) || ip[9] != IPPROTO_UDP)
			return false;
		if ((ip[6] & 0x1f) | ip[7])
			return false; // a later fragment carries no ports
		at = (ip[0] & 15) * 4;
		d->family = AF_INET;
		__builtin_memcpy(d->saddr, ip + 12, 4);
		__builtin_memcpy(d->daddr, ip + 16, 4);
	} else if (skb->protocol == __builtin_bswap16(0x86dd)) {
		if (bpf_skb_load_bytes(skb, 0, ip, 40) || ip[6] != IPPROTO_UDP)
			return false;
		at = 40;
		d->family = AF_INET6;
		__builtin_memcpy(d->saddr, ip + 8, 16);
		__builtin_memcpy(d->daddr, ip + 24, 16);
	} else {
		return false;
	}
	if (bpf_skb_load_bytes(skb, at, ports, 4))
		return false;
	d->sport = __builtin_bswap16(ports[0]);
	d->dport = __builtin_bswap16(ports[1]);
	d->payload = at + 8;
	return true;
}

// Ports where names are asked for in the clear.
static __always_inline bool tells_names(u16 port)
{
	return port == PORT_DNS || port == PORT_MDNS || port == PORT_LLMNR;
}

static __always_inline void fill_asker(struct header *h, u32 len, struct udp_owner *o)
{
	fill_owner(h, REC_DNS, len, o ? o->pid : 0, o ? o->start : 0);
	h->netns = o ? o->netns : 0;
}

// Room is a constant at each call, as the ring demands.
static __always_inline void send_dns(struct __sk_buff *skb, struct datagram *d, u32 direction,
				     struct udp_owner *o, u32 total, const u32 room)
{
	const u32 size = __builtin_offsetof(struct dns_record, payload) + room;
	struct dns_record *r = bpf_ringbuf_reserve(&bulk, size, 0);
	s64 n = total; // signed, so that "more than zero" is a bound that verifiers keep

	if (!r) {
		count_lost(CLASS_DNS);
		return;
	}
	if (direction == DNS_QUERY)
		fill_header(&r->h, current_task(), REC_DNS, size);
	else
		fill_asker(&r->h, size, o);
	r->family = d->family;
	r->direction = direction;
	if (direction == DNS_QUERY) {
		r->lport = d->sport;
		r->rport = d->dport;
		__builtin_memcpy(r->laddr, d->saddr, 16);
		__builtin_memcpy(r->raddr, d->daddr, 16);
	} else {
		r->lport = d->dport;
		r->rport = d->sport;
		__builtin_memcpy(r->laddr, d->daddr, 16);
		__builtin_memcpy(r->raddr, d->saddr, 16);
	}
	if (n > room)
		n = room;
	asm volatile("" : "+r"(n));
	r->payload_total = total;
	r->payload_len = 0;
	if (n > 0 && n <= room && bpf_skb_load_bytes(skb, d->payload, r->payload, n) == 0)
		r->payload_len = n;
	bpf_ringbuf_submit(r, wake_flags(&bulk, RING_BULK, r->h.time));
	count_produced(CLASS_DNS);
}

static __always_inline void dns(struct __sk_buff *skb, struct datagram *d, u32 direction, struct udp_owner *o)
{
	u32 total = skb->len > d->payload ? skb->len - d->payload : 0;
	if (total <= SMALL)
		send_dns(skb, d, direction, o, total, SMALL);
	else
		send_dns(skb, d, direction, o, total, DNS_MAX);
}

static __always_inline void passed(struct __sk_buff *skb, struct datagram *d, struct flow_state *f, bool out)
{
	u64 n = skb->len > d->payload ? skb->len - d->payload : 0;
	if (f->side != SIDE_CLIENT)
		return;
	f->last = bpf_ktime_get_boot_ns();
	__sync_fetch_and_add(out ? &f->sent : &f->received, n);
	__sync_fetch_and_add(out ? &f->packets_sent : &f->packets_received, 1);
}

static __always_inline void open_flow(struct __sk_buff *skb, struct datagram *d, struct flow *key)
{
	struct task_struct *t = current_task();
	u64 now = bpf_ktime_get_boot_ns();
	struct flow_state f = {
		.opened = now, .last = now,
		.start = BPF_CORE_READ(t, group_leader, start_boottime),
		.sent = skb->len > d->payload ? skb->len - d->payload : 0, .packets_sent = 1,
		.pid = CURRENT_PID(), .netns = BPF_CORE_READ(t, nsproxy, net_ns, ns.inum),
		.family = d->family, .side = SIDE_CLIENT, .lport = d->sport,
	};
	__builtin_memcpy(f.laddr, d->saddr, 16);
	bpf_map_update_elem(&flows, key, &f, BPF_ANY);
}

SEC("cgroup_skb/egress")
int udp_egress(struct __sk_buff *skb)
{
	struct datagram d = {};
	struct flow key = {};

	if (!parse(skb, &d) || is_excluded())
		return 1;
	key.cookie = bpf_get_socket_cookie(skb);
	if (tells_names(d.dport)) {
		struct task_struct *t = current_task();
		struct udp_owner o = {
			.pid = CURRENT_PID(),
			.start = BPF_CORE_READ(t, group_leader, start_boottime),
			.netns = BPF_CORE_READ(t, nsproxy, net_ns, ns.inum),
		};
		bpf_map_update_elem(&askers, &key.cookie, &o, BPF_ANY);
		if (!left_out(CLASS_DNS, o.pid, o.start))
			dns(skb, &d, DNS_QUERY, NULL);
		return 1;
	}
	__builtin_memcpy(key.raddr, d.daddr, 16);
	key.rport = d.dport;
	struct flow_state *f = bpf_map_lookup_elem(&flows, &key);
	if (f) {
		passed(skb, &d, f, true);
		return 1;
	}
	open_flow(skb, &d, &key);
	if (left_out_here(CLASS_FLOW))
		return 1;

	struct net_record *r = bpf_ringbuf_reserve(&bulk, sizeof(*r), 0);
	if (!r) {
		count_lost(CLASS_FLOW);
		return 1;
	}
	fill_header(&r->h, current_task(), REC_FLOW, sizeof(*r));
	r->op = NET_CONNECTED;
	r->error = 0;
	r->family = d.family;
	r->protocol = IPPROTO_UDP;
	r->lport = d.sport;
	r->rport = d.dport;
	__builtin_memcpy(r->laddr, d.saddr, 16);
	__builtin_memcpy(r->raddr, d.daddr, 16);
	bpf_ringbuf_submit(r, wake_flags(&bulk, RING_BULK, r->h.time));
	count_produced(CLASS_FLOW);
	return 1;
}

SEC("cgroup_skb/ingress")
int udp_ingress(struct __sk_buff *skb)
{
	struct datagram d = {};
	u64 cookie;
	struct udp_owner *o;

	if (!parse(skb, &d))
		return 1;
	cookie = bpf_get_socket_cookie(skb);
	if (!tells_names(d.sport)) {
		// Who is spoken to first and answers has not opened a flow.
		struct flow key = { .cookie = cookie, .rport = d.sport };
		__builtin_memcpy(key.raddr, d.saddr, 16);
		struct flow_state *f = bpf_map_lookup_elem(&flows, &key);
		if (f) {
			passed(skb, &d, f, false);
		} else {
			struct flow_state spoken_to = { .side = SIDE_SERVER };
			bpf_map_update_elem(&flows, &key, &spoken_to, BPF_ANY);
		}
		return 1;
	}
	o = bpf_map_lookup_elem(&askers, &cookie);
	if (o && (bpf_map_lookup_elem(&excluded, &o->pid) || left_out(CLASS_DNS, o->pid, o->start)))
		return 1;
	dns(skb, &d, DNS_ANSWER, o);
	return 1;
}

static __always_inline int asked(struct bpf_sock_addr *a)
{
	u64 cookie = bpf_get_socket_cookie(a);
	u32 port = a->user_port;
	if (a->protocol == IPPROTO_UDP && port != 0)
		bpf_map_update_elem(&binding, &cookie, &port, BPF_ANY);
	return 1;
}

SEC("cgroup/bind4")
int udp_bind4(struct bpf_sock_addr *a) { return asked(a); }

SEC("cgroup/bind6")
int udp_bind6(struct bpf_sock_addr *a) { return asked(a); }

static __always_inline int bound(struct bpf_sock *sk, const u32 family)
{
	u64 cookie;
	struct net_record *r;

	if (sk->protocol != IPPROTO_UDP)
		return 1;
	cookie = bpf_get_socket_cookie(sk);
	if (bpf_map_delete_elem(&binding, &cookie) || is_excluded() || left_out_here(CLASS_LISTEN))
		return 1;
	r = bpf_ringbuf_reserve(&bulk, sizeof(*r), 0);
	if (!r) {
		count_lost(CLASS_LISTEN);
		return 1;
	}
	fill_header(&r->h, current_task(), REC_NET, sizeof(*r));
	r->op = NET_LISTEN;
	r->error = 0;
	r->family = family;
	r->protocol = IPPROTO_UDP;
	r->lport = sk->src_port;
	r->rport = 0;
	__builtin_memset(r->laddr, 0, 32);
	if (family == AF_INET) {
		*(u32 *)r->laddr = sk->src_ip4;
	} else {
		*(u32 *)(r->laddr + 0) = sk->src_ip6[0];
		*(u32 *)(r->laddr + 4) = sk->src_ip6[1];
		*(u32 *)(r->laddr + 8) = sk->src_ip6[2];
		*(u32 *)(r->laddr + 12) = sk->src_ip6[3];
	}
	bpf_ringbuf_submit(r, wake_flags(&bulk, RING_BULK, r->h.time));
	count_produced(CLASS_LISTEN);
	return 1;
}

SEC("cgroup/post_bind4")
int udp_bound4(struct bpf_sock *sk) { return bound(sk, AF_INET); }

SEC("cgroup/post_bind6")
int udp_bound6(struct bpf_sock *sk) { return bound(sk, AF_INET6); }

static __always_inline void tell_flow(struct flow *key, struct flow_state *f)
{
	struct stream_record *r = bpf_ringbuf_reserve(&bulk, sizeof(*r), 0);

	if (!r) {
		count_lost(CLASS_CLOSE);
		return;
	}
	__builtin_memset(r, 0, sizeof(*r));
	fill_owner(&r->n.h, REC_STREAM, sizeof(*r), f->pid, f->start);
	r->n.h.netns = f->netns;
	r->n.op = NET_CLOSED;
	r->n.family = f->family;
	r->n.protocol = IPPROTO_UDP;
	r->n.lport = f->lport;
	r->n.rport = key->rport;
	__builtin_memcpy(r->n.laddr, f->laddr, 16);
	__builtin_memcpy(r->n.raddr, key->raddr, 16);
	r->id.sock = key->cookie;
	r->id.opened = f->opened;
	r->sent = f->sent;
	r->received = f->received;
	r->packets_sent = f->packets_sent;
	r->packets_received = f->packets_received;
	r->side = f->side;
	bpf_ringbuf_submit(r, wake_flags(&bulk, RING_BULK, r->n.h.time));
	count_produced(CLASS_CLOSE);
}

// The peer of a connected socket; an IPv4 one within IPv6 is IPv4 on the wire.
static __always_inline void peer_of(struct bpf_sock *sk, struct flow *key)
{
	u32 a, b, c, d;
	bool mapped;

	if (sk->family == AF_INET) {
		*(u32 *)key->raddr = sk->dst_ip4;
		return;
	}
	a = sk->dst_ip6[0], b = sk->dst_ip6[1], c = sk->dst_ip6[2], d = sk->dst_ip6[3];
	mapped = !a && !b && c == __builtin_bswap32(0xffff);
	*(u32 *)key->raddr = mapped ? d : a;
	*(u32 *)(key->raddr + 4) = b;
	*(u32 *)(key->raddr + 8) = mapped ? 0 : c;
	*(u32 *)(key->raddr + 12) = mapped ? 0 : d;
}

// Tells what a connected socket carried. Those that speak to many are told by
// user space, one peer after the other, when nothing passes any more.
SEC("cgroup/sock_release")
int udp_release(struct bpf_sock *sk)
{
	struct flow key = {};
	struct flow_state *f;
	u32 port;

	if (sk->protocol != IPPROTO_UDP)
		return 1;
	port = sk->dst_port;
	if (!port)
		return 1;
	key.cookie = bpf_get_socket_cookie(sk);
	key.rport = __builtin_bswap16(port);
	peer_of(sk, &key);
	f = bpf_map_lookup_elem(&flows, &key);
	if (!f || f->side != SIDE_CLIENT)
		return 1;
	if (!left_out(CLASS_CLOSE, f->pid, f->start))
		tell_flow(&key, f);
	bpf_map_delete_elem(&flows, &key);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
