// SPDX-License-Identifier: Apache-2.0

// Package layers holds the rules of the house as tests: which package may
// import which, how large functions, files and packages may grow, and what
// every file must carry. It parses sources in-process, because a test that
// asks the go command gets cached and misses violations.
package layers
