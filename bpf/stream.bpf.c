// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// The first words of TCP streams, and names asked for over them, as they pass
// the control group. A packet of a stream that has been looked at costs one
// look into a map.
#include "picket.h"
#include "stream.h"

#define SMALL 640
#define LOOK_AT 4   // packets with payload, each way
#define NAMES_AT 32 // the same of a connection to a name server
#define PIECES 2    // that may follow the first one of a client hello

enum { SENT, RECEIVED };

struct segment {
	u32 family, payload, seq; // payload: its offset
	u16 sport, dport;
	u8 saddr[16], daddr[16];
};

static __always_inline bool parse(struct __sk_buff *skb, struct segment *s)
{
	u8 ip[40], tcp[14];
	u32 at;

	if (skb->protocol == __builtin_bswap16(0x0800)) {
		if (bpf_skb_load_bytes(skb, 0, ip, 20) || ip[9] != IPPROTO_TCP)
			return false;
		at = (ip[0] & 15) * 4;
		s->family = AF_INET;
		__builtin_memcpy(s->saddr, ip + 12, 4);
		__builtin_memcpy(s->daddr, ip + 16, 4);
	} else if (skb->protocol == __builtin_bswap16(0x86dd)) {
		if (bpf_skb_load_bytes(skb, 0, ip, 40) || ip[6] != IPPROTO_TCP)
			return false;
		at = 40;
		s->family = AF_INET6;
		__builtin_memcpy(s->saddr, ip + 8, 16);
		__builtin_memcpy(s->daddr, ip + 24, 16);
	} else {
		return false;
	}
	if (bpf_skb_load_bytes(skb, at, tcp, sizeof(tcp)))
		return false;
	s->sport = tcp[0] << 8 | tcp[1];
	s->dport = tcp[2] << 8 | tcp[3];
	s->seq = (u32)tcp[4] << 24 | tcp[5] << 16 | tcp[6] << 8 | tcp[7];
	s->payload = at + (tcp[12] >> 4) * 4;
	return true;
}

#define WORD(a, b, c, d) ((u32)(a) | (b) << 8 | (c) << 16 | (u32)(d) << 24)

// What a piece begins with; 0 when that is nothing that is read. Asking is the
// side that made the connection.
static __always_inline u32 kind_of(const u8 *b, bool asking)
{
	u32 word = WORD(b[0], b[1], b[2], b[3]);

	if (word == WORD('S', 'S', 'H', '-'))
		return PAYLOAD_SSH;
	if (!asking)
		return word == WORD('2', '2', '0', ' ') || word == WORD('2', '2', '0', '-') ? PAYLOAD_GREETING : 0;
	if (b[0] == 22 && b[1] == 3 && b[5] == 1)
		return PAYLOAD_TLS;
	switch (word) {
	case WORD('G', 'E', 'T', ' '): case WORD('P', 'O', 'S', 'T'): case WORD('P', 'U', 'T', ' '):
	case WORD('H', 'E', 'A', 'D'): case WORD('D', 'E', 'L', 'E'): case WORD('O', 'P', 'T', 'I'):
	case WORD('C', 'O', 'N', 'N'): case WORD('P', 'A', 'T', 'C'): case WORD('T', 'R', 'A', 'C'):
	case WORD('P', 'R', 'O', 'P'):
		return PAYLOAD_HTTP;
	}
	return 0;
}

// Room is a constant at each call, as the ring demands.
static __always_inline void send(struct __sk_buff *skb, struct segment *s, struct connection *c, u64 sock, u32 way,
				 u32 kind, u32 total, const u32 room)
{
	const u32 size = __builtin_offsetof(struct payload_record, payload) + room;
	struct payload_record *r = bpf_ringbuf_reserve(&bulk, size, 0);
	s64 n = total; // signed, so that "more than zero" is a bound that verifiers keep

	if (!r) {
		count_lost(CLASS_PAYLOAD);
		return;
	}
	fill_owner(&r->h, REC_PAYLOAD, size, c->pid, c->start);
	r->h.netns = c->netns;
	r->id.sock = sock;
	r->id.opened = c->opened;
	r->seq = s->seq;
	r->kind = kind;
	r->inbound = way == RECEIVED;
	r->family = s->family;
	r->side = c->side;
	if (way == SENT) {
		r->lport = s->sport;
		r->rport = s->dport;
		__builtin_memcpy(r->laddr, s->saddr, 16);
		__builtin_memcpy(r->raddr, s->daddr, 16);
	} else {
		r->lport = s->dport;
		r->rport = s->sport;
		__builtin_memcpy(r->laddr, s->daddr, 16);
		__builtin_memcpy(r->raddr, s->saddr, 16);
	}
	if (n > room)
		n = room;
	asm volatile("" : "+r"(n));
	r->payload_total = total;
	r->payload_len = 0;
	if (n > 0 && n <= room && bpf_skb_load_bytes(skb, s->payload, r->payload, n) == 0)
		r->payload_len = n;
	bpf_ringbuf_submit(r, wake_flags(&bulk, RING_BULK, r->h.time));
	count_produced(CLASS_PAYLOAD);
}

// Decides whether a piece is told, and whether the next ones are looked at.
static __always_inline u32 judge(struct __sk_buff *skb, struct segment *s, struct connection *c, u32 way, u32 total)
{
	u8 first[8];
	u32 kind = 0;

	if (c->side == SIDE_CLIENT && (way == SENT ? s->dport : s->sport) == PORT_DNS) {
		if (++c->looked[way] >= NAMES_AT)
			c->done[way] = 1;
		return PAYLOAD_DNS;
	}
	if (c->more[way]) {
		if (--c->more[way] == 0)
			c->done[way] = 1;
		return PAYLOAD_TLS;
	}
	if (total >= 8 && bpf_skb_load_bytes(skb, s->payload, first, 8) == 0)
		kind = kind_of(first, (c->side == SIDE_CLIENT) == (way == SENT));
	if (++c->looked[way] >= LOOK_AT)
		c->done[way] = 1;
	if (!kind) {
		count_filtered(CLASS_PAYLOAD);
		return 0;
	}
	// Behind a proxy's CONNECT another stream begins.
	if (kind == PAYLOAD_TLS && 5 + ((u32)first[3] << 8 | first[4]) > total) {
		c->more[way] = PIECES;
		c->done[way] = 0;
	} else if (kind != PAYLOAD_HTTP || first[0] != 'C') {
		c->done[way] = 1;
	}
	return kind;
}

static __always_inline int look(struct __sk_buff *skb, const u32 way)
{
	struct bpf_sock *sk = skb->sk;
	struct segment s = {};
	struct connection *c;
	u64 key;
	u32 total, kind;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != IPPROTO_TCP)
		return 1;
	key = (u64)bpf_skc_to_tcp_sock(sk);
	c = bpf_map_lookup_elem(&connections, &key);
	if (!c || c->done[way] || c->hidden || !parse(skb, &s) || skb->len <= s.payload)
		return 1;
	total = skb->len - s.payload;
	kind = judge(skb, &s, c, way, total);
	if (kind && left_out(CLASS_PAYLOAD, c->pid, c->start))
		return 1;
	if (kind && total <= SMALL)
		send(skb, &s, c, key, way, kind, total, SMALL);
	else if (kind)
		send(skb, &s, c, key, way, kind, total, PAYLOAD_MAX);
	return 1;
}

SEC("cgroup_skb/egress")
int stream_egress(struct __sk_buff *skb) { return look(skb, SENT); }

SEC("cgroup_skb/ingress")
int stream_ingress(struct __sk_buff *skb) { return look(skb, RECEIVED); }

char LICENSE[] SEC("license") = "Dual BSD/GPL";
