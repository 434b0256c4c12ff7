// SPDX-License-Identifier: Apache-2.0

// Package hello reads the first words of a stream: the client hello of TLS
// with its fingerprints JA3 and JA4, a request of HTTP, the banner of SSH and
// the greeting of a mail or file server. All of it comes from strangers, is
// bounded, and may be wrong. It holds no state, opens nothing and never keeps
// the bytes that it is given.
package hello

import (
	"errors"
	"strings"
)

var (
	// ErrShort says that what was read is right so far but goes on.
	ErrShort = errors.New("the rest is not there")
	// ErrOther says that the bytes are something else.
	ErrOther = errors.New("not what it looked like")
)

const maxText = 1024 // bytes of each text that is kept

// clean makes text of a stranger fit for a row.
func clean(b []byte) string {
	if len(b) > maxText {
		b = b[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}
