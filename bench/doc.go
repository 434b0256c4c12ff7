// SPDX-License-Identifier: Apache-2.0

// Package bench makes load whose truth is known: real processes, files,
// connections and name queries on this host, and simulated sensors that send
// batches of realistic rows to a gateway. What was done is counted exactly, so
// that a test can say whether every event arrived or was counted as lost. All
// traffic stays on loopback.
package bench
