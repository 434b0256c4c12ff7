// SPDX-License-Identifier: Apache-2.0

// Package auth decides who a person or a program is and what it may do:
// passwords, sign-in with its limits, browser sessions, bearer tokens and the
// permissions of roles. Every sign-in, refusal and change of access is written
// to the audit log.
//
// It knows no tables (it declares what it needs of the records), opens no
// connection, reads only the clock that it is given, and never logs a
// password, a cookie, a token or a hash of one. Machines are not its business:
// sensors sign in with certificates, see package pki.
//
// Floor 3: imports picket only.
package auth
