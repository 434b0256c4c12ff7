// SPDX-License-Identifier: Apache-2.0

// Package split runs the sensor as three processes of one program, so that a
// mistake in one part does not give away the powers of another:
//
//	supervisor  root. Starts the other two, starts them again, passes them a
//	            connection to each other. Parses nothing but short messages.
//	collector   root with the few capabilities that collecting needs. Reads the
//	            kernel and the host. No network, no new programs or processes,
//	            and it cannot open a file for writing.
//	agent       a user of its own without capabilities. Spool, batches, TLS,
//	            policy, status. No new programs or processes, no BPF.
//
// Rows go from collector to agent over a pair of sockets, in numbered frames.
// The agent says of each frame that it takes it before it looks at it, and
// that it is kept once it is in the spool. When the agent dies, the collector
// goes on into a bounded queue, gives what was not taken to the next agent, and
// counts what was taken and not kept as lost: agent.killed. When the collector
// dies, the agent learns from a page of memory that both share how many rows it
// had accepted, and counts what did not arrive: collector.killed. What does not
// fit is refused by class and counted as queue.full, as without the split.
//
// The package never executes anything but the running program itself, makes no
// network connection, and never trusts the agent: what comes from there is
// bounded and checked. It belongs to floor 4 and is empty on other systems
// than Linux.
//
// Locks: queue.mu, remote.mu, station.mu and link.mu are leaves.
package split
