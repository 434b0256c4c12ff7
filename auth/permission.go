// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"slices"

	"github.com/picket-edr/picket"
)

// Permission is one thing that a principal may do in its tenant.
type Permission string

// Permissions.
const (
	ViewData        Permission = "data.view"        // devices, alerts, timelines, health
	ManageAlerts    Permission = "alerts.manage"    // status, classification, assignment, comments
	ManageDevices   Permission = "devices.manage"   // tags, groups, revocation
	ManageEnrolment Permission = "enrolment.manage" // tokens that admit devices, downloads of the sensor
	ManageSettings  Permission = "settings.manage"  // name, retention, first-run set-up, sensor policy
	ManageUsers     Permission = "users.manage"     // accounts of the tenant and their tokens
	ReadAudit       Permission = "audit.read"
)

// Grant gives a permission to roles.
type Grant struct {
	Permission Permission
	Roles      []picket.Role
}

// Grants are all permissions and who has them.
var Grants = []Grant{
	{ViewData, []picket.Role{picket.RoleAdmin, picket.RoleAnalyst, picket.RoleViewer}},
	{ManageAlerts, []picket.Role{picket.RoleAdmin, picket.RoleAnalyst}},
	{ManageDevices, []picket.Role{picket.RoleAdmin, picket.RoleAnalyst}},
	{ManageEnrolment, []picket.Role{picket.RoleAdmin}},
	{ManageSettings, []picket.Role{picket.RoleAdmin}},
	{ManageUsers, []picket.Role{picket.RoleAdmin}},
	{ReadAudit, []picket.Role{picket.RoleAdmin}},
}

// Method is how a principal showed who it is.
type Method string

// Methods.
const (
	ByCookie Method = "cookie" // a browser
	ByToken  Method = "token"  // a program
)

// Principal is a person or a program that has shown who it is. What it may
// touch is its Tenant's, whatever a request says.
type Principal struct {
	UserID    string
	User      string // name
	Tenant    string
	Role      picket.Role
	Method    Method
	SessionID string // by cookie
	CSRF      string // by cookie: what a request that changes something must repeat
	TokenID   string // by token
	Address   string // that it calls from
}

// Allow reports whether a principal has a permission. The zero principal has
// none, and nobody has a permission that is not in Grants.
func Allow(p Principal, perm Permission) bool {
	return p.Tenant != "" && p.UserID != "" && slices.Contains(PermissionsOf(p.Role), perm)
}

// PermissionsOf lists the permissions of a role.
func PermissionsOf(r picket.Role) []Permission {
	var out []Permission
	for _, g := range Grants {
		if slices.Contains(g.Roles, r) {
			out = append(out, g.Permission)
		}
	}
	return out
}
