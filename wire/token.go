// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"

	"github.com/picket-edr/picket"
)

// tokenPrefix starts every enrolment token and tells its version.
const tokenPrefix = "pkt1"

// maxToken bounds the text of a token; longer ones are refused unread.
const maxToken = 256

// secretSize is the length of a token's secret in bytes.
const secretSize = 32

// Token is an enrolment token: the tenant it belongs to, its secret, and the
// SHA-256 of the gateway's root certificate (DER), which the sensor pins on
// its first contact.
type Token struct {
	Tenant string
	Secret [secretSize]byte
	Root   [sha256.Size]byte
}

// String returns the text that an administrator hands out. It holds the
// secret.
func (t Token) String() string {
	e := base64.RawURLEncoding
	return strings.Join([]string{tokenPrefix, t.Tenant, e.EncodeToString(t.Secret[:]), e.EncodeToString(t.Root[:])}, ".")
}

// LogValue names the token without its secret, so that no log holds it.
func (t Token) LogValue() slog.Value {
	return slog.StringValue(tokenPrefix + "." + t.Tenant + ".(secret)")
}

// Hash is what the server keeps of the secret.
func (t Token) Hash() [sha256.Size]byte { return sha256.Sum256(t.Secret[:]) }

// ParseToken reads the text of a token. It accepts exactly what String makes.
// Space around it, which copying brings in, is ignored. No error repeats the
// secret.
func ParseToken(text string) (Token, error) {
	var t Token
	if len(text) > maxToken {
		return t, fmt.Errorf("enrolment token: %d bytes, at most %d: %w", len(text), maxToken, picket.Invalid)
	}
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 4 || parts[0] != tokenPrefix {
		return t, fmt.Errorf("enrolment token: want %s.TENANT.SECRET.ROOT: %w", tokenPrefix, picket.Invalid)
	}
	if err := picket.ValidTenantID(parts[1]); err != nil {
		return t, fmt.Errorf("enrolment token: %w", err)
	}
	t.Tenant = parts[1]
	// The decoder passes over line breaks, so the length of the text counts too.
	e := base64.RawURLEncoding.Strict()
	for i, to := range [][]byte{t.Secret[:], t.Root[:]} {
		b, err := e.DecodeString(parts[2+i])
		if err != nil || len(b) != len(to) || len(parts[2+i]) != e.EncodedLen(len(to)) {
			return Token{}, fmt.Errorf("enrolment token: part %d is not %d bytes of base64url: %w", 3+i, len(to), picket.Invalid)
		}
		copy(to, b)
	}
	return t, nil
}
