// SPDX-License-Identifier: Apache-2.0

// Package gateway is the server's end of the sensor protocol. It admits
// devices by certificate, checks every batch (size, number, hash chain),
// records what is missing, publishes to the bus and acknowledges what is
// durable there. Identity, tenant and group are the server's word, never a
// field of a message. It publishes and nothing else: no store, no detection,
// no API (floor 4).
package gateway
