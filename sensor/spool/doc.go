// SPDX-License-Identifier: Apache-2.0

// Package spool keeps what a sensor has seen until the server has it: a
// bounded log on disk of encoded batches, numbered within the boot and chained
// by hash (package event), in segment files of three value classes.
//
// It survives being killed, torn writes, flipped bytes and a full disk. What
// it cannot keep it counts by kind, and tells the server in a SensorLoss row
// of its own, so that every hole in the numbering has an explanation. Batches
// become durable by group commit: a power cut costs at most what was appended
// within Options.SyncEvery.
//
// It never opens a network connection, never blocks whoever draws report ids,
// and never trusts what it reads back: each byte on disk is covered by a
// checksum (floor 4, part of the sensor).
//
// On disk, all numbers little-endian:
//
//	<16 hex digits>-<l|n|h>.seg   segment: header, then records
//	state                         three alternating slots: chain, losses, acknowledgement
//	report                        three alternating slots: report ids given out
//	rejected/<boot>-<seq>.batch   batches that the server will never take
package spool
