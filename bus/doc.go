// SPDX-License-Identifier: Apache-2.0

// Package bus carries batches from the gateway to whoever works on them, on
// NATS JetStream: embedded in the process, or a cluster by URL. Each tenant
// has a stream of its own. A batch that Publish returned for is on disk, and
// there once: a writer says what it builds on, and loses against another that
// was faster. A full stream or disk refuses batches and never discards old
// ones. Readers own their positions and keep them with their results, so that
// neither a crash here nor there loses or repeats anything; the server knows
// no readers. How far each device has come outlives the messages. Beside the
// streams there are notifications, which nobody keeps. The package never
// looks into a payload (floor 3).
package bus
