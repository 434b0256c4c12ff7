// SPDX-License-Identifier: Apache-2.0

// Package picket holds the nouns that every part of Picket shares: devices,
// alerts, tenants, process identity and error kinds. It knows no storage, no
// network and no clock, and imports the standard library only (floor 0).
package picket

// Version is the release of this source tree. Release builds override it with
// -ldflags "-X github.com/picket-edr/picket.Version=...".
var Version = "0.1.0"
