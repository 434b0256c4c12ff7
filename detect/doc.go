// SPDX-License-Identifier: Apache-2.0

// Package detect finds suspicious behaviour in the stream of events and makes
// alerts of it. It routes each row to the rules of its log source, looks for
// the texts that the rules need in one pass over each column, and evaluates
// only the rules that can still fire. It remembers the processes of each
// device in bounded memory, so that an alert shows the chain that led to it
// before the store has it.
//
// It never reads a clock of its own, a network or a store, and decides nothing
// about alerts beyond raising them: folding into the queue, people's changes
// and notification are others' work (floor 2).
package detect
