// SPDX-License-Identifier: Apache-2.0

// Package linux collects what happens on a Linux host and turns it into rows
// of the event model: processes, files, connections, names asked for and
// logons, each with the process that acted and its line of parents.
//
// It probes at start which kernel hooks work and takes, for every kind of
// event, the best rung that does; Hooks says which one and what it cannot see.
// Kernel programs never wait for user space: what does not fit into a ring is
// counted in the kernel by class, what user space cannot pass on is counted
// here, and the next row of the same table carries the number.
//
// All records, logs and files read here are hostile input: bounded, checked,
// never trusted to be whole. The package never talks to the network, never
// starts a program and never writes a file, except that it mounts tracefs when
// the host has not. It belongs to floor 4 and is empty on other systems.
package linux
