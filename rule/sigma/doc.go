// SPDX-License-Identifier: Apache-2.0

// Package sigma reads Sigma rules (specification 2.x, single-event rules)
// into the compiled form of package rule: all value modifiers, wildcards,
// keywords, lists of maps and every form of condition. A construct that it
// does not understand is an error that names file, line and reason; a rule is
// never half understood. Input is hostile: sizes, depths and expansions are
// bounded. It evaluates nothing (floor 1).
//
// Beyond the standard keys a rule may carry a block `picket` (recommended,
// category) and a block `tests` (must_match, must_not_match: lists of sample
// events).
package sigma
