// SPDX-License-Identifier: Apache-2.0

// Package api is the REST interface for the portal and for programs: one file
// per resource, OpenAPI derived from the handlers (openapi.json), a permission
// on every route. It reads and changes state through small interfaces that it
// declares itself, asks package store for telemetry, and knows no engine, no
// sensor and no gateway (floor 4).
package api
