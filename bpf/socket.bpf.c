// SPDX-License-Identifier: Apache-2.0
//go:build ignore

// Sockets that see more than their own traffic, filters on them, and the
// sockets of daemons that work with the rights of root.
#include "picket.h"
#include "action.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_PACKET 17
#define AF_XDP 44
#define SOCK_RAW 3
#define SOCK_TYPE 0xf
#define SOL_SOCKET 1
#define SO_ATTACH_FILTER 26
#define SO_ATTACH_BPF 50

// Names of the sockets of such daemons, set by user space.
struct socket_name { char text[32]; };
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct socket_name);
	__type(value, u32);
} daemons SEC(".maps");

static __always_inline action_scratch *start(u32 action, s64 result)
{
	return begin(action, CLASS_SOCKET, result);
}

static __always_inline int end(action_scratch *s) { return finish(s, CLASS_SOCKET, false); }

EXIT(socket, socket)
{
	u32 family = argument(0), type = argument(1) & SOCK_TYPE, action = ACT_PACKET_SOCKET;
	if (family == AF_INET || family == AF_INET6) {
		if (type != SOCK_RAW)
			return 0;
		action = ACT_RAW_SOCKET;
	} else if (family != AF_PACKET && family != AF_XDP) {
		return 0;
	}
	if ((c->ret < 0 && !REFUSED(c->ret)) ||
	    repeated(action, (u64)family << 32 | type << 16 | (u16)argument(2), 10 * SECOND, CLASS_SOCKET))
		return 0;
	action_scratch *s = start(action, c->ret < 0 ? c->ret : 0);
	if (!s)
		return 0;
	record(s)->args[0] = family;
	record(s)->args[1] = type;
	record(s)->args[2] = argument(2);
	return end(s);
}

static __always_inline struct sock *sock_of(s64 fd)
{
	struct file *f = file_of(current_task(), (s32)fd);
	if (!f || (BPF_CORE_READ(f, f_inode, i_mode) & S_IFMT) != 0140000)
		return NULL;
	struct socket *k = BPF_CORE_READ(f, private_data);
	return BPF_CORE_READ(k, sk);
}

EXIT(socket, setsockopt)
{
	u32 option = argument(2);
	if ((u32)argument(1) != SOL_SOCKET || (option != SO_ATTACH_FILTER && option != SO_ATTACH_BPF) || c->ret)
		return 0;
	struct sock *k = sock_of(argument(0));
	if (!k)
		return 0;
	u32 family = BPF_CORE_READ(k, __sk_common.skc_family);
	// Every listener for devices has one.
	if (family == AF_NETLINK || family == AF_UNIX || repeated(ACT_SOCKET_FILTER, family, SECOND, CLASS_SOCKET))
		return 0;
	action_scratch *s = start(ACT_SOCKET_FILTER, 0);
	if (!s)
		return 0;
	record(s)->args[0] = option;
	record(s)->args[1] = family;
	record(s)->args[2] = BPF_CORE_READ(k, sk_type);
	record(s)->args[3] = BPF_CORE_READ(k, sk_protocol);
	return end(s);
}

// What the caller named where it was refused: the other end is not known.
static __noinline int refused(s64 result, u64 user)
{
	u64 name[4] = {};
	bpf_probe_read_user(name, sizeof(name), (void *)user);
	if (!(name[0] >> 16 & 0xff) || // not in a file system
	    repeated(ACT_UNIX_CONNECT, name[0] ^ name[1] ^ name[2] ^ name[3], 10 * SECOND, CLASS_SOCKET))
		return 0;
	action_scratch *s = start(ACT_UNIX_CONNECT, result);
	if (!s)
		return 0;
	put_name(s, AT_FDCWD, user + 2);
	return end(s);
}

EXIT(socket, connect)
{
	u16 family = 0;
	u64 address = argument(1);
	struct socket_name name = {};
	if (bpf_probe_read_user(&family, sizeof(family), (void *)address) || family != AF_UNIX)
		return 0;
	if (REFUSED(c->ret))
		return refused(c->ret, address);
	struct unix_sock *own = c->ret ? NULL : (void *)sock_of(argument(0));
	if (!own)
		return 0;
	// The end of the daemon names the socket as it is, wherever it is mounted.
	struct unix_sock *peer = (void *)BPF_CORE_READ(own, peer);
	struct dentry *d = BPF_CORE_READ(peer, path.dentry);
	if (!d)
		return 0;
	bpf_probe_read_kernel_str(name.text, sizeof(name.text), BPF_CORE_READ(d, d_name.name));
	if (!bpf_map_lookup_elem(&daemons, &name))
		return 0;
	if (repeated(ACT_UNIX_CONNECT, BPF_CORE_READ(d, d_inode, i_ino), FOR_EVER, CLASS_SOCKET))
		return 0;
	action_scratch *s = start(ACT_UNIX_CONNECT, 0);
	if (!s)
		return 0;
	record(s)->args[0] = BPF_CORE_READ(own, sk.sk_type);
	put_place(s, &peer->path);
	return end(s);
}
