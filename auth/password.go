// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/picket-edr/picket"
)

// Cost is what one argon2id hash takes.
type Cost struct {
	Memory  uint32 // KiB
	Passes  uint32
	Threads uint8
}

// DefaultCost takes about a tenth of a second and 64 MiB on two cores.
var DefaultCost = Cost{Memory: 64 << 10, Passes: 3, Threads: 2}

// Limits of a stored hash, so that a forged record cannot take the server's
// memory or time.
const (
	maxMemory  = 1 << 20 // KiB
	maxPasses  = 64
	maxThreads = 64
	minSalt    = 8
	minKey     = 16
	maxPart    = 64
)

// Lengths that are made.
const (
	saltSize = 16
	keySize  = 32
)

// Limits of a password, in characters and in bytes.
const (
	MinPassword = 12
	maxPassword = 1024
)

// hash is a stored password in its parts: PHC string format,
// $argon2id$v=19$m=65536,t=3,p=2$salt$key.
type hash struct {
	cost      Cost
	salt, key []byte
}

func (h hash) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.Memory, h.cost.Passes, h.cost.Threads,
		b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
}

// parseHash reads a stored hash. It takes exactly what String writes.
func parseHash(s string) (hash, error) {
	var h hash
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, fmt.Errorf("password hash: not argon2id of version %d: %w", argon2.Version, picket.Invalid)
	}
	var numbers [3]uint64
	fields := strings.Split(parts[3], ",")
	if len(fields) != len(numbers) {
		return h, fmt.Errorf("password hash: %d parameters: %w", len(fields), picket.Invalid)
	}
	for i, name := range []string{"m=", "t=", "p="} {
		v, ok := strings.CutPrefix(fields[i], name)
		n, err := strconv.ParseUint(v, 10, 32)
		if !ok || err != nil || strconv.FormatUint(n, 10) != v {
			return h, fmt.Errorf("password hash: parameter %.20q: %w", fields[i], picket.Invalid)
		}
		numbers[i] = n
	}
	m, t, p := numbers[0], numbers[1], numbers[2]
	if t < 1 || t > maxPasses || p < 1 || p > maxThreads || m < 8*p || m > maxMemory {
		return h, fmt.Errorf("password hash: cost m=%d,t=%d,p=%d out of bounds: %w", m, t, p, picket.Invalid)
	}
	h.cost = Cost{Memory: uint32(m), Passes: uint32(t), Threads: uint8(p)}
	var err error
	if h.salt, err = decodePart(parts[4], minSalt); err != nil {
		return h, err
	}
	h.key, err = decodePart(parts[5], minKey)
	return h, err
}

func decodePart(s string, least int) ([]byte, error) {
	if len(s) > base64.RawStdEncoding.EncodedLen(maxPart) {
		return nil, fmt.Errorf("password hash: part of %d characters: %w", len(s), picket.Invalid)
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("password hash: %v: %w", err, picket.Invalid)
	}
	if len(b) < least || base64.RawStdEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("password hash: part of %d bytes: %w", len(b), picket.Invalid)
	}
	return b, nil
}

// HashPassword makes the form in which a password is kept.
func HashPassword(password string, c Cost) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails: it ends the process instead
	h := hash{cost: c, salt: salt}
	h.key = argon2.IDKey([]byte(password), salt, c.Passes, c.Memory, c.Threads, keySize)
	return h.String()
}

// VerifyPassword reports whether a password is the one that was hashed, and
// whether the hash was made at another cost than the wanted one.
func VerifyPassword(stored, password string, want Cost) (match, outdated bool, err error) {
	h, err := parseHash(stored)
	if err != nil {
		return false, false, err
	}
	key := argon2.IDKey([]byte(password), h.salt, h.cost.Passes, h.cost.Memory, h.cost.Threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1, h.cost != want || len(h.key) != keySize, nil
}

// CheckPassword refuses a new password that is too easy to guess. It asks for
// length, not for kinds of characters.
func CheckPassword(user, password string) error {
	n := utf8.RuneCountInString(password)
	if n < MinPassword || len(password) > maxPassword {
		return fmt.Errorf("password: use %d to %d characters: %w", MinPassword, maxPassword, picket.Invalid)
	}
	different := map[rune]bool{}
	for _, r := range password {
		different[r] = true
	}
	if len(different) < 5 {
		return fmt.Errorf("password: use at least 5 different characters: %w", picket.Invalid)
	}
	if user != "" && strings.Contains(strings.ToLower(password), strings.ToLower(user)) && n < len(user)+MinPassword {
		return fmt.Errorf("password: do not build it from the user name: %w", picket.Invalid)
	}
	return nil
}

// passwordAlphabet has no characters that look alike: 32 of them, 5 bits each.
const passwordAlphabet = "abcdefghijkmnpqrstuvwxyz23456789"

// NewPassword makes a random password of 120 bits in groups that can be read
// out and typed.
func NewPassword() string {
	b := make([]byte, 24)
	rand.Read(b)
	var s strings.Builder
	for i, x := range b {
		if i > 0 && i%6 == 0 {
			s.WriteByte('-')
		}
		s.WriteByte(passwordAlphabet[x%32])
	}
	return s.String()
}
