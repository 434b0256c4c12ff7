// SPDX-License-Identifier: Apache-2.0

// Package redact hides secrets in command lines, environments and script
// lines before they leave the host: values of options and assignments that are
// called like a secret, passwords of URLs and of programs that take them as
// arguments, tokens that are known by their shape, private keys, and what the
// rules of a policy name.
//
// Only the value goes, never the option, program or host that it was given to,
// and whoever redacts learns by name which rules applied, so that a rule of
// detection that no longer matches can be explained. What only refers to a
// secret ($TOKEN, $(cat file)) stays.
//
// A hidden value becomes the marker [redacted]. By that, command lines that
// differ in nothing but a secret are equal, on all devices. A policy may ask
// for [redacted#1a2b3c4d] instead, where the digits are a keyed hash of the
// value: equal secrets can then be told on one device while its sensor runs.
// The key is made at start and never written, so nobody can try guesses later.
//
// Text is looked at once, byte by byte, for the few literals that any rule
// needs; without one of them nothing is allocated and no rule runs. All work is
// linear in the length of the text, which may be hostile. The result is stable:
// to redact it again changes nothing.
//
// Limits: a secret without a name or shape is not known to be one; nor are
// secrets that a program reads from a file or a terminal, or one that is split
// over several lines of a shell.
//
// The package is pure: no clock, no files, no network. It belongs to floor 4.
package redact
