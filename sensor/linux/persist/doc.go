// SPDX-License-Identifier: Apache-2.0

// Package persist knows the files by which programs stay on a Linux host,
// start again, and gain or keep identity: scheduled tasks, units, profiles,
// accounts, keys, configuration of the loader, the boot and the logs. From the
// news that such a file changed it works out what changed: it keeps a bounded
// memory of what was there, reads what is there now and compares.
//
// The list of things watched is the slice in table.go and nothing else; a
// thing is added there. The list is also the page docs/persistence.md.
//
// All that is read is taken for hostile: sizes are bounded, only regular files
// are opened, and nothing is followed out of the tree. The package never
// writes, never runs anything, never asks the network, and never passes on a
// password, a hash of one, or a private key. It knows nothing of the kernel or
// of rows.
package persist
