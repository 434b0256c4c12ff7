// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package command tells what a process was told to do: its arguments and the
// variables that matter as text, without secrets, the script among the
// arguments of an interpreter, what kind of file a program or script is, and the
// function by which a shell reads lines. It reads the files that it is given, which may be hostile, and attaches to
// nothing.
package command
