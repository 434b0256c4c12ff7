// SPDX-License-Identifier: Apache-2.0

// Package state keeps Picket's small mutable records (tenants, enrolment
// tokens, devices, certificates, alerts, accounts, sessions, the audit log,
// settings) in SQLite or PostgreSQL, by one code path.
//
// It knows tables, transactions and paging. Every record but an account's name,
// a session's and a token's hash belongs to a tenant, and every call takes the
// tenant and uses it in its WHERE clause. What a call acknowledged is on disk.
// The package never reads the wall clock, never decides policy (who may do
// what, when an account is locked) and never logs the content of a record.
//
// Times are kept as microseconds since the Unix epoch, 0 for none; lists and
// maps as JSON text; hashes in hexadecimal: both engines treat these alike.
//
// Floor 3: imports picket only.
package state
