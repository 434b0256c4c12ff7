// SPDX-License-Identifier: Apache-2.0

// Package sensor is the agent on an endpoint: it takes rows from the collector
// of the platform, makes batches, keeps them in the spool until the server has
// them, and reports how it is doing. It also enrols, renews its certificate,
// tests the way to the server, and installs itself.
//
// It knows one server. It never drops an event without counting it, never
// makes a collector wait, never trusts what the server sends beyond what the
// pinned root vouches for, and never listens on the network: local commands
// reach it by a socket that only its owner can open. It belongs to floor 4 and
// imports neither the server's packages nor a store.
//
// Locks: none is held while another is taken, except that intake.mu
// and agent.mu are leaves and the spool's own locks lie below everything here.
package sensor
