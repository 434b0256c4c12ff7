// SPDX-License-Identifier: Apache-2.0

package picket

import (
	"fmt"
	"regexp"
	"time"
)

// Role is what a person or a program may do in its tenant.
type Role string

// Roles, from most to least powerful.
const (
	RoleAdmin   Role = "admin"   // everything, including users, settings and enrolment
	RoleAnalyst Role = "analyst" // reads everything, works on alerts and devices
	RoleViewer  Role = "viewer"  // reads only
)

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r == RoleAdmin || r == RoleAnalyst || r == RoleViewer }

// User is a local account. A name is unique in the whole deployment and
// belongs to exactly one tenant, so that signing in needs no tenant field.
type User struct {
	ID           string
	Tenant       string
	Name         string // lower case
	Role         Role
	PasswordHash string `json:"-"` // PHC string; never leaves the server
	Disabled     bool
	Created      time.Time
	LastSignIn   time.Time
}

var userName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._@-]{0,62}[a-z0-9])?$`)

// ValidUserName reports whether name may name an account.
func ValidUserName(name string) error {
	if !userName.MatchString(name) {
		return fmt.Errorf("user name %q: use 1 to 64 lower-case letters, digits, dots, dashes, underscores and @: %w", name, Invalid)
	}
	return nil
}

// Session is one signed-in browser. Only the hash of the cookie's value is
// kept.
type Session struct {
	ID        string
	Tenant    string
	UserID    string
	TokenHash string `json:"-"` // SHA-256 of the cookie's value, hexadecimal
	CSRF      string `json:"-"` // value that a request which changes something must repeat
	Created   time.Time
	LastUsed  time.Time
	Expires   time.Time // absolute end, whatever the use
	Address   string
	UserAgent string
}

// APIToken is one bearer token of a program. Only its hash is kept.
type APIToken struct {
	ID        string
	Tenant    string
	UserID    string
	Name      string
	TokenHash string `json:"-"` // SHA-256 of the token, hexadecimal
	Created   time.Time
	Expires   time.Time
	LastUsed  time.Time
	Revoked   bool
}

// SignInAttempts counts the failed sign-ins of one account or one address.
type SignInAttempts struct {
	Failures    int       // since First; attempts under way count as failed
	First       time.Time // of the present run of failures
	Last        time.Time
	LockedUntil time.Time
}
