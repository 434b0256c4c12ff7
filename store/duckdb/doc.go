// SPDX-License-Identifier: Apache-2.0

// Package duckdb is the embedded event store. New rows go into a DuckDB table
// in memory; full tables are sealed into Parquet files, one a day, sorted by
// device and time, and small files are merged in the background. A manifest
// names the files and the position in the stream up to which they hold
// everything, and is replaced atomically: after a crash the reader of the bus
// starts again at that position, and nothing is lost or twice. No DuckDB file
// ever holds anything of value.
//
// A query sees one version of the store: a set of files and tables in memory,
// which stay until nobody reads them. It is given the tables as common table
// expressions over the files that its span of time needs, can only read, and
// sees nothing of the host but the store's directory.
//
// Directory: manifest.json, lock, events/<day>/<number>.parquet, damaged/
// (files that were given up), tmp*/ (scratch, cleared at start). It knows
// nothing of gateways, rules or the bus (floor 3).
package duckdb
