// SPDX-License-Identifier: Apache-2.0

// Package duckdb is the embedded event store. New rows go into a DuckDB table
// in memory; full tables are sealed into Parquet files sorted by device and
// time. A manifest names the files and the position in the stream up to which
// they hold everything, and is replaced atomically: after a crash the reader
// of the bus starts again at that position, and nothing is lost or twice.
package duckdb
