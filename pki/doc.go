// SPDX-License-Identifier: Apache-2.0

// Package pki makes and checks the certificates of machines: one root for the
// gateway of a deployment and one private authority per tenant for its
// devices. Keys are files of mode 0600 below one directory. It never opens a
// connection and reads the time from an injected clock (floor 3).
package pki
