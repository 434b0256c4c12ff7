// SPDX-License-Identifier: Apache-2.0
// The connections that are open, for the programs that see them begin and end
// and for those that look at what they carry.
#pragma once

#include "inet.h"

// Who owns a connection: most of what happens to it does so in interrupt
// context.
struct connection {
	u64 opened; // boot clock, ns; of the connect until it succeeds
	u64 start;  // of the process; it has none until it is accepted
	u32 pid, netns;
	u8 side, hidden;            // hidden: its process is excluded
	u8 looked[2], more[2];      // sent, received: packets looked at, packets that are still wanted
	u8 done[2];
};

// Entries go with the end of their socket.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, 1); // BPF_F_NO_PREALLOC
	__type(key, u64);
	__type(value, struct connection);
} connections SEC(".maps");
