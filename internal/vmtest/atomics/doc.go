// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package atomics runs tests of the Atomic Red Team in a guest and tells which
// rows of the sensor each of them causes. Expectations is the table of what is
// tried and how it must show; docs/atomic-coverage.md is written from a run.
//
// The tests themselves are not part of this repository: List reads a copy of
// the project's files. They run in a machine of their own without a network,
// which ends with them, and never on a host. The package stands beside the
// floors and is linked into no program of the product.
package atomics
