// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/picket-edr/picket"
)

// AdminName is the account that EnsureAdmin makes.
const AdminName = "admin"

// EnsureAdmin gives a tenant without accounts its first administrator, with a
// random password, and reports whether it did. deliver gets the password
// before the account exists: when the process ends in between, the next start
// makes and delivers a new one, and nobody is locked out. When deliver fails
// there is no account.
func (s *Service) EnsureAdmin(ctx context.Context, tenant string, deliver func(name, password string) error) (bool, error) {
	users, err := s.o.Users.Users(ctx, tenant)
	if err != nil || len(users) > 0 {
		return false, err
	}
	name := AdminName
	if tenant != picket.DefaultTenant { // names are unique in the deployment
		name += "@" + tenant
	}
	password := NewPassword()
	hash, err := s.hash(ctx, password)
	if err != nil {
		return false, err
	}
	if err := deliver(name, password); err != nil {
		return false, fmt.Errorf("deliver the administrator's password: %w", err)
	}
	u, err := s.o.Users.CreateUser(ctx, tenant, picket.User{Name: name, Role: picket.RoleAdmin, PasswordHash: hash, Created: s.o.Now()})
	if err != nil {
		return false, err
	}
	return true, s.audit(ctx, tenant, "Picket", "user.create", u.ID, picket.AuditSuccess, Origin{}, map[string]string{"name": name, "role": string(u.Role)})
}

// ResetPassword gives an account a new random password, ends its sessions and
// revokes its tokens. It is for the operator of the server, who need not know
// the old one.
func (s *Service) ResetPassword(ctx context.Context, name string) (string, error) {
	u, err := s.o.Users.UserByName(ctx, name)
	if err != nil {
		return "", err
	}
	password := NewPassword()
	if err := s.setPassword(ctx, u, password, ""); err != nil {
		return "", err
	}
	return password, s.audit(ctx, u.Tenant, "Picket", "password.reset", u.ID, picket.AuditSuccess, Origin{}, map[string]string{"name": u.Name})
}

// ChangePassword replaces the password of the principal, who must know the
// old one. Every other session of the account ends and its bearer tokens are
// revoked. Wrong old passwords count as failed sign-ins.
func (s *Service) ChangePassword(ctx context.Context, p Principal, old, password string) error {
	u, err := s.check(ctx, "password.change", p.User, old, p.Origin())
	if err != nil {
		return err
	}
	if u.ID != p.UserID {
		return errWrong
	}
	if err := CheckPassword(u.Name, password); err != nil {
		return err
	}
	if password == old {
		return fmt.Errorf("password: the new one is the old one: %w", picket.Invalid)
	}
	if err := s.setPassword(ctx, u, password, p.SessionID); err != nil {
		return err
	}
	return s.audit(ctx, u.Tenant, u.Name, "password.change", u.ID, picket.AuditSuccess, p.Origin(), nil)
}

// setPassword stores a password and ends what was opened with the one before,
// except the session to keep.
func (s *Service) setPassword(ctx context.Context, u picket.User, password, keep string) error {
	hash, err := s.hash(ctx, password)
	if err != nil {
		return err
	}
	if err := s.o.Users.SetPasswordHash(ctx, u.Tenant, u.ID, hash); err != nil {
		return err
	}
	_, err = s.o.Sessions.DeleteSessions(ctx, u.Tenant, u.ID, keep)
	_, err2 := s.o.Tokens.RevokeAPITokens(ctx, u.Tenant, u.ID)
	return errors.Join(err, err2)
}

// may returns an error of kind Denied, written to the audit log, unless the
// principal has a permission.
func (s *Service) may(ctx context.Context, p Principal, perm Permission, action, target string) error {
	if Allow(p, perm) {
		return nil
	}
	err := fmt.Errorf("%s needs permission %s: %w", action, perm, picket.Denied)
	if p.Tenant == "" {
		return err
	}
	if err := s.audit(ctx, p.Tenant, p.User, action, target, picket.AuditDenied, p.Origin(), map[string]string{"needs": string(perm)}); err != nil {
		return err
	}
	return err
}

// CreateUser adds an account to the principal's tenant.
func (s *Service) CreateUser(ctx context.Context, p Principal, name, password string, role picket.Role) (picket.User, error) {
	if err := s.may(ctx, p, ManageUsers, "user.create", name); err != nil {
		return picket.User{}, err
	}
	if err := CheckPassword(name, password); err != nil {
		return picket.User{}, err
	}
	hash, err := s.hash(ctx, password)
	if err != nil {
		return picket.User{}, err
	}
	u, err := s.o.Users.CreateUser(ctx, p.Tenant, picket.User{Name: name, Role: role, PasswordHash: hash, Created: s.o.Now()})
	if err != nil {
		return picket.User{}, err
	}
	return u, s.audit(ctx, p.Tenant, p.User, "user.create", u.ID, picket.AuditSuccess, p.Origin(), map[string]string{"name": name, "role": string(role)})
}

// SetUserAccess changes role and usability of an account of the principal's
// tenant. The last administrator stays one.
func (s *Service) SetUserAccess(ctx context.Context, p Principal, userID string, role picket.Role, disabled bool) error {
	if err := s.may(ctx, p, ManageUsers, "user.update", userID); err != nil {
		return err
	}
	if err := s.o.Users.SetUserAccess(ctx, p.Tenant, userID, role, disabled); err != nil {
		return err
	}
	return s.audit(ctx, p.Tenant, p.User, "user.update", userID, picket.AuditSuccess, p.Origin(),
		map[string]string{"role": string(role), "disabled": fmt.Sprint(disabled)})
}

// Sessions lists the principal's own sessions.
func (s *Service) Sessions(ctx context.Context, p Principal) ([]picket.Session, error) {
	return s.o.Sessions.Sessions(ctx, p.Tenant, p.UserID)
}

// EndSession ends one of the principal's own sessions.
func (s *Service) EndSession(ctx context.Context, p Principal, id string) error {
	own, err := s.Sessions(ctx, p)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(own, func(x picket.Session) bool { return x.ID == id }) {
		return fmt.Errorf("session %.50q: %w", id, picket.NotFound)
	}
	if err := s.o.Sessions.DeleteSession(ctx, p.Tenant, id); err != nil {
		return err
	}
	return s.audit(ctx, p.Tenant, p.User, "session.delete", id, picket.AuditSuccess, p.Origin(), nil)
}

// Tokens lists the bearer tokens of the principal or, for one who manages
// users, of its tenant.
func (s *Service) Tokens(ctx context.Context, p Principal) ([]picket.APIToken, error) {
	user := p.UserID
	if Allow(p, ManageUsers) {
		user = ""
	}
	return s.o.Tokens.APITokens(ctx, p.Tenant, user)
}

// RevokeToken ends a bearer token that Tokens lists.
func (s *Service) RevokeToken(ctx context.Context, p Principal, id string) error {
	seen, err := s.Tokens(ctx, p)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(seen, func(x picket.APIToken) bool { return x.ID == id }) {
		return fmt.Errorf("bearer token %.50q: %w", id, picket.NotFound)
	}
	if err := s.o.Tokens.RevokeAPIToken(ctx, p.Tenant, id); err != nil {
		return err
	}
	return s.audit(ctx, p.Tenant, p.User, "token.revoke", id, picket.AuditSuccess, p.Origin(), nil)
}
