// SPDX-License-Identifier: Apache-2.0

// Package bpf holds Picket's kernel programs, compiled: one object for each
// family of hooks and processor architecture, with a function that parses it.
//
// It knows nothing of probing, attaching or decoding; package sensor/linux
// does that. It imports nothing of Picket (floor 0) and is empty on systems
// other than Linux.
package bpf

//go:generate ./generate.sh
