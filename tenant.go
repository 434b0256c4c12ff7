// SPDX-License-Identifier: Apache-2.0

package picket

import (
	"fmt"
	"regexp"
	"time"
)

// Tenant is one isolated data set: its own certificate authority, event
// store, rules, users and retention.
type Tenant struct {
	ID        string // lower-case letters, digits and dashes, at most 40
	Name      string // shown to people
	Retention time.Duration
	Created   time.Time
	SetupDone bool // the first-run wizard has been finished
}

// Retention limits a tenant may choose between (30 to 180 days).
const (
	MinRetention     = 30 * 24 * time.Hour
	MaxRetention     = 180 * 24 * time.Hour
	DefaultRetention = 180 * 24 * time.Hour
)

// DefaultTenant is the tenant that a new deployment starts with.
const DefaultTenant = "default"

var tenantID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// ValidTenantID reports whether id may name a tenant. Tenant ids appear in
// file paths and bus subjects, so the alphabet is strict.
func ValidTenantID(id string) error {
	if !tenantID.MatchString(id) {
		return fmt.Errorf("tenant id %q: use 1 to 40 lower-case letters, digits and dashes: %w", id, Invalid)
	}
	return nil
}
