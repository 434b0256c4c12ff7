// SPDX-License-Identifier: Apache-2.0

// Package schema is the catalogue of telemetry tables and their columns: the
// names and types of Defender's advanced hunting, and Picket's additions.
// The files in schema/tables are its only definition; everything else (this
// catalogue, typed rows, DDL, field maps, reference pages) is derived from
// them by internal/gen. It never knows an engine or a sensor (floor 0).
package schema
