// SPDX-License-Identifier: Apache-2.0

// Package logon learns who logs on to a Linux host, fails to, takes on another
// account's rights or changes accounts. It reads whatever the host has: the
// systemd journal, the authentication log, the records of login, the sessions
// of systemd-logind and the kernel's audit messages. What several of them tell
// of becomes one Fact, which names them.
//
// All of it is hostile input: other programs can write lines of their own into
// logs, names come from the network, files may be cut or damaged. Nothing here
// is unbounded, and what cannot be kept is counted. The package never writes,
// never starts a program, never asks the network and never changes what the
// host logs or audits. It belongs to floor 4 and is empty on other systems.
package logon
