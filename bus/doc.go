// SPDX-License-Identifier: Apache-2.0

// Package bus carries batches from the gateway to whoever works on them, on
// NATS JetStream: embedded in the process, or a cluster by URL. Each tenant
// has a stream of its own. A message that Publish returned for is on disk. A
// full stream refuses messages and never discards old ones. Readers own their
// positions and keep them with their results, so that neither a crash here
// nor there loses or repeats anything. The package never looks into a payload
// (floor 3).
package bus
