// SPDX-License-Identifier: Apache-2.0

// Package wire is what sensor and gateway agree on beside the generated
// protocol in wire/wirepb: the text of enrolment tokens and the shape of
// certificates. It holds no connection and no state (floor 3).
package wire
