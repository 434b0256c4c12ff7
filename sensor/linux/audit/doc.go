// SPDX-License-Identifier: Apache-2.0

// Package audit reads the messages of the kernel's audit system: those of
// programs about logons and accounts, and those of audit rules. Parse takes
// one apart, from the kernel or from a log of auditd.
//
// Reader listens beside whoever else does, in the group that the kernel keeps
// for that. It never becomes the audit daemon, never switches auditing on and
// never changes a rule: where nothing audits there is nothing to read, and
// reading costs nothing; where something does, its log says that the sensor
// joined. The kernel passes on only the types that are asked for. Messages are
// hostile input. It belongs to floor 4 and is empty on other systems.
package audit
