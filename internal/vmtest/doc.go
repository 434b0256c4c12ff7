// SPDX-License-Identifier: Apache-2.0

// Package vmtest runs the sensor's kernel programs on kernels other than the
// host's: it fetches kernels that Debian ships, boots them in QEMU without a
// disk, with a program of ours as the first process, and reads what that
// program reports.
//
// Everything is emulated in software, so neither root nor KVM is needed. It
// never installs a package, never touches the host's package lists, and gives
// a guest no network. It stands beside the floors and is linked into no
// program.
package vmtest
