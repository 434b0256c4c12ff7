// SPDX-License-Identifier: Apache-2.0

// Package store keeps telemetry: the Events interface that every engine
// satisfies, and readers over it (timeline, process tree, logged-on users,
// losses, volumes) in SQL that all engines understand. One instance holds one
// tenant. It never decides what an event means and knows no engine (floor 3).
package store
