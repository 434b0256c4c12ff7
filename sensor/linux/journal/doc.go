// SPDX-License-Identifier: Apache-2.0

// Package journal follows the binary files of the systemd journal, by the
// format that systemd describes in JOURNAL_FILE_FORMAT: header, chains of entry
// arrays, entries and their data, in the regular and the compact layout.
//
// It tells entries that are written after it began, each once, over rotation
// and over the move of the journal from memory to disk. Files are read, never
// mapped, so that one that is cut cannot stop the sensor; every offset and size
// is checked, and a damaged file costs at most what it holds. Data that is
// packed by xz is not read but counted. The package never writes and never
// locks a file. It belongs to floor 4 and is empty on other systems.
package journal
