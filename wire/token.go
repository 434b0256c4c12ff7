// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/picket-edr/picket"
)

// tokenPrefix starts every enrolment token and tells its version.
const tokenPrefix = "pkt1"

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

// String returns the text that an administrator hands out.
func (t Token) String() string {
	e := base64.RawURLEncoding
	return strings.Join([]string{tokenPrefix, t.Tenant, e.EncodeToString(t.Secret[:]), e.EncodeToString(t.Root[:])}, ".")
}

// Hash is what the server keeps of the secret.
func (t Token) Hash() [sha256.Size]byte { return sha256.Sum256(t.Secret[:]) }

// ParseToken reads the text of a token. It accepts exactly what String makes.
func ParseToken(text string) (Token, error) {
	var t Token
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 4 || parts[0] != tokenPrefix {
		return t, fmt.Errorf("enrolment token: want %s.TENANT.SECRET.ROOT: %w", tokenPrefix, picket.Invalid)
	}
	if err := picket.ValidTenantID(parts[1]); err != nil {
		return t, fmt.Errorf("enrolment token: %w", err)
	}
	t.Tenant = parts[1]
	e := base64.RawURLEncoding.Strict()
	for i, to := range [][]byte{t.Secret[:], t.Root[:]} {
		b, err := e.DecodeString(parts[2+i])
		if err != nil || len(b) != len(to) {
			return Token{}, fmt.Errorf("enrolment token: part %d is not %d bytes of base64url: %w", 3+i, len(to), picket.Invalid)
		}
		copy(to, b)
	}
	return t, nil
}
