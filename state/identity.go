// SPDX-License-Identifier: Apache-2.0

package state

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// NewDeviceID makes the id of a device that enrols: 40 hexadecimal digits,
// random, so that nothing about the host can be read from or forged into it.
func NewDeviceID() string { return randomHex(20) }

// newID makes the id of any other record.
func newID() string { return randomHex(16) }

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails: it ends the process instead
	return hex.EncodeToString(b)
}

// HashSecret returns the form in which secrets of high entropy (of enrolment
// tokens) are kept.
func HashSecret(secret []byte) [sha256.Size]byte { return sha256.Sum256(secret) }

// oneLine makes a name from outside fit to store and show: no control
// characters, no space around it, at most limit bytes.
func oneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(clean(strings.TrimSpace(s), limit))
}
