// SPDX-License-Identifier: Apache-2.0

// Package rule holds the one compiled form of a detection rule: what it says
// to a person, which log source it reads, and a condition tree over that log
// source's fields. It knows how fields of a log source map to the columns of
// the telemetry tables, and has a plain evaluator that serves as the
// reference for faster ones. It reads no files and no clock, and knows no
// rule language: the sub-packages read languages into it (floor 1).
package rule
