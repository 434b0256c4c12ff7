// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/picket-edr/picket"
)

// TokenPrefix begins every bearer token, so that people and scanners for
// leaked secrets recognise one.
const TokenPrefix = "pkt_"

// secretSize is the size of session cookies and bearer tokens: 256 bits.
const secretSize = 32

// newSecret makes a random secret as text.
func newSecret() string {
	b := make([]byte, secretSize)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// secretHash reads a secret from text and returns the form in which it is
// kept. Only the exact text that newSecret made of those bytes is taken. The
// secrets have full entropy, so a fast hash does.
func secretHash(text string) (string, error) {
	if len(text) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return "", fmt.Errorf("secret of %d characters: %w", len(text), picket.Invalid)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != secretSize || base64.RawURLEncoding.EncodeToString(b) != text {
		return "", fmt.Errorf("secret is not base64url: %w", picket.Invalid)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// tokenHash reads a bearer token and returns the form in which it is kept.
func tokenHash(token string) (string, error) {
	text, ok := strings.CutPrefix(token, TokenPrefix)
	if !ok {
		return "", fmt.Errorf("bearer token does not begin with %s: %w", TokenPrefix, picket.Invalid)
	}
	return secretHash(text)
}
