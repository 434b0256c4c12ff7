// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
)

func TestEnsureAdmin(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.ok(h.db.CreateTenant(ctx, picket.Tenant{ID: "fresh", Name: "Fresh", Retention: picket.MinRetention}))
	failed := errors.New("disk full")
	if _, err := h.EnsureAdmin(ctx, "fresh", func(string, string) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
	if users, _ := h.db.Users(ctx, "fresh"); len(users) != 0 {
		t.Fatal("an account whose password nobody got")
	}
	var name, pass string
	deliver := func(n, p string) error { name, pass = n, p; return nil }
	made, err := h.EnsureAdmin(ctx, "fresh", deliver)
	h.ok(err)
	if !made || name != "admin@fresh" || auth.CheckPassword(name, pass) != nil {
		t.Errorf("made %v: %q with a password of %d characters", made, name, len(pass))
	}
	in, err := h.SignIn(ctx, name, pass, home)
	h.ok(err)
	if in.User.Role != picket.RoleAdmin || in.User.Tenant != "fresh" {
		t.Errorf("user %+v", in.User)
	}
	made, err = h.EnsureAdmin(ctx, "fresh", func(string, string) error { return errors.New("called again") })
	if made || err != nil {
		t.Errorf("second time: made %v, %v", made, err)
	}
	h.log("fresh", pass)
}

func TestChangePassword(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p, other := h.principal("ann"), h.signIn("ann")
	tok, err := h.IssueToken(ctx, "ann", password, "cli", 0, home)
	h.ok(err)
	const next = "a quite different one"
	h.denied("wrong old one", h.ChangePassword(ctx, p, "wrong", next))
	for _, bad := range []string{"short", password, strings.Repeat("ab", 20), strings.Repeat("long word ", 200), "annannann-12"} {
		if err := h.ChangePassword(ctx, p, password, bad); !errors.Is(err, picket.Invalid) {
			t.Errorf("password %.20q: error %v", bad, err)
		}
	}
	h.ok(h.ChangePassword(ctx, p, password, next))
	sessions, err := h.Sessions(ctx, p)
	h.ok(err)
	if len(sessions) != 1 || sessions[0].ID != p.SessionID {
		t.Errorf("sessions left: %+v", sessions)
	}
	_, err = h.AuthenticateSession(ctx, other.Cookie, home)
	h.denied("other session", err)
	_, err = h.AuthenticateToken(ctx, tok.Text, home)
	h.denied("token", err)
	h.want("old password", h.try("ann", password, "192.0.2.1"), "wrong")
	h.want("new password", h.try("ann", next, "192.0.2.1"), "in")

	reset, err := h.ResetPassword(ctx, "ann")
	h.ok(err)
	h.want("before the reset", h.try("ann", next, "192.0.2.1"), "wrong")
	h.want("after the reset", h.try("ann", reset, "192.0.2.1"), "in")
	if _, err := h.ResetPassword(ctx, "nobody"); !errors.Is(err, picket.NotFound) {
		t.Errorf("reset of nobody: %v", err)
	}
	log := h.log(picket.DefaultTenant, next, reset, tok.Text)
	for _, want := range []string{"password.change ann failure", "password.change ann success", "password.reset Picket success"} {
		if !slices.Contains(log, want) {
			t.Errorf("no entry %q in %q", want, log)
		}
	}
}

// TestOldPasswordGuessing: a stolen session does not help to find the password.
func TestOldPasswordGuessing(t *testing.T) {
	h := newHouse(t)
	p := h.principal("ann")
	for range 5 {
		h.denied("wrong", h.ChangePassword(t.Context(), p, "wrong", "something else entirely"))
	}
	var limit *auth.LimitError
	if err := h.ChangePassword(t.Context(), p, password, "something else entirely"); !errors.As(err, &limit) {
		t.Errorf("error %v, want a limit", err)
	}
}

func TestHashIsRenewed(t *testing.T) {
	h := newHouse(t)
	h.opts.Cost = auth.Cost{Memory: 128, Passes: 2, Threads: 1}
	s, err := auth.New(h.opts)
	h.ok(err)
	_, err = s.SignIn(t.Context(), "ann", password, home)
	h.ok(err)
	u, err := h.db.UserByName(t.Context(), "ann")
	h.ok(err)
	if !strings.Contains(u.PasswordHash, "$m=128,t=2,p=1$") {
		t.Errorf("hash %s", u.PasswordHash)
	}
	h.want("with the renewed hash", h.try("ann", password, "192.0.2.1"), "in")
}

func TestUserAccess(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	ann, vic, eve := h.principal("ann"), h.principal("vic"), h.principal("eve")
	_, err := h.CreateUser(ctx, vic, "bob", password, picket.RoleAdmin)
	h.denied("created by a viewer", err)
	h.denied("granted by a viewer", h.SetUserAccess(ctx, vic, vic.UserID, picket.RoleAdmin, false))
	h.denied("granted by nobody", h.SetUserAccess(ctx, auth.Principal{}, vic.UserID, picket.RoleAdmin, false))
	if err := h.SetUserAccess(ctx, eve, vic.UserID, picket.RoleAdmin, false); !errors.Is(err, picket.NotFound) {
		t.Errorf("granted by another tenant: %v", err)
	}
	if _, err := h.CreateUser(ctx, ann, "bob", "short", picket.RoleAnalyst); !errors.Is(err, picket.Invalid) {
		t.Errorf("weak password: %v", err)
	}
	bob, err := h.CreateUser(ctx, ann, "bob", password, picket.RoleAnalyst)
	h.ok(err)
	if bob.Tenant != picket.DefaultTenant || h.signIn("bob").User.Role != picket.RoleAnalyst {
		t.Errorf("user %+v", bob)
	}
	h.ok(h.SetUserAccess(ctx, ann, bob.ID, picket.RoleAdmin, false))
	if !auth.Allow(h.principal("bob"), auth.ManageUsers) {
		t.Error("the new role does not count")
	}
	log := h.log(picket.DefaultTenant)
	for _, want := range []string{"user.create vic denied", "user.update vic denied", "user.create ann success", "user.update ann success"} {
		if !slices.Contains(log, want) {
			t.Errorf("no entry %q in %q", want, log)
		}
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	who := func(r picket.Role) auth.Principal { return auth.Principal{UserID: "u", Tenant: "t", Role: r} }
	for _, g := range auth.Grants {
		if !auth.Allow(who(picket.RoleAdmin), g.Permission) {
			t.Errorf("an administrator may not %s", g.Permission)
		}
	}
	for _, c := range []struct {
		p    auth.Principal
		perm auth.Permission
		want bool
	}{
		{who(picket.RoleViewer), auth.ViewData, true},
		{who(picket.RoleViewer), auth.ManageAlerts, false},
		{who(picket.RoleAnalyst), auth.ManageAlerts, true},
		{who(picket.RoleAnalyst), auth.ManageUsers, false},
		{who(picket.RoleAnalyst), auth.ReadAudit, false},
		{who("root"), auth.ViewData, false},
		{who(picket.RoleAdmin), "everything", false},
		{who(picket.RoleAdmin), "", false},
		{auth.Principal{}, auth.ViewData, false},
		{auth.Principal{UserID: "u", Role: picket.RoleAdmin}, auth.ViewData, false},
		{auth.Principal{Tenant: "t", Role: picket.RoleAdmin}, auth.ViewData, false},
	} {
		if got := auth.Allow(c.p, c.perm); got != c.want {
			t.Errorf("Allow(%+v, %q) = %v", c.p, c.perm, got)
		}
	}
	if n := len(auth.PermissionsOf(picket.RoleViewer)); n != 1 {
		t.Errorf("a viewer has %d permissions, want 1", n)
	}
}
