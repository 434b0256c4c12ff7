// SPDX-License-Identifier: Apache-2.0

// Package content holds what Picket brings along: detection rules with their
// own tests, and the detection test. It is data and the few lines that embed
// it; it evaluates nothing and knows neither devices nor servers.
package content
