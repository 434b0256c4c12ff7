// SPDX-License-Identifier: Apache-2.0

// Package e2e starts the built programs as a user would and watches what they
// do: the browser test, ground truth on this host, and crashes under load. It
// needs bin/ (make build) and PICKET_E2E=1; parts of it need root.
package e2e
