// SPDX-License-Identifier: Apache-2.0

// Package storetest is the suite that every event store must pass.
package storetest
