// SPDX-License-Identifier: Apache-2.0

// Package event holds telemetry in motion: typed rows (generated from
// schema/tables), blocks of rows kept column by column, numbered and
// hash-chained batches with their encoding, and the envelope in which the
// gateway hands a batch to the bus. It never reads a clock, a file or a
// network (floor 0), and treats every encoded byte as hostile.
package event
