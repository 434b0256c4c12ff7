// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

func addUser(t *testing.T, db *state.DB, tenant, name string, role picket.Role) picket.User {
	t.Helper()
	return got(db.CreateUser(t.Context(), tenant, picket.User{Name: name, Role: role, PasswordHash: "$hash", Created: now}))(t)
}

func TestUsers(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		ann := addUser(t, db, ours, "ann", picket.RoleAdmin)
		bob := addUser(t, db, ours, "bob", picket.RoleViewer)
		eve := addUser(t, db, theirs, "eve", picket.RoleAdmin)
		want := picket.User{ID: ann.ID, Tenant: ours, Name: "ann", Role: picket.RoleAdmin, PasswordHash: "$hash", Created: now}
		if diff := cmp.Diff(want, got(db.UserByName(ctx, "ann"))(t)); diff != "" {
			t.Error(diff)
		}
		if u := got(db.UserByName(ctx, "eve"))(t); u.Tenant != theirs {
			t.Errorf("eve is in tenant %s", u.Tenant)
		}
		_, err := db.UserByName(ctx, "ann' --\x00")
		kind(t, "unknown", err, picket.NotFound)
		_, err = db.User(ctx, theirs, ann.ID)
		kind(t, "other tenant", err, picket.NotFound)
		_, err = db.CreateUser(ctx, theirs, picket.User{Name: "ann", Role: picket.RoleViewer})
		kind(t, "name of another tenant's account", err, picket.Conflict)
		_, err = db.CreateUser(ctx, ours, picket.User{Name: "Ann B", Role: picket.RoleViewer})
		kind(t, "bad name", err, picket.Invalid)
		_, err = db.CreateUser(ctx, ours, picket.User{Name: "x", Role: "root"})
		kind(t, "bad role", err, picket.Invalid)

		ok(t, db.SetPasswordHash(ctx, ours, ann.ID, "$new"))
		ok(t, db.SetLastSignIn(ctx, ours, ann.ID, now.Add(time.Hour)))
		want.PasswordHash, want.LastSignIn = "$new", now.Add(time.Hour)
		if diff := cmp.Diff([]picket.User{want, bob}, got(db.Users(ctx, ours))(t)); diff != "" {
			t.Error(diff)
		}
		kind(t, "password of another tenant", db.SetPasswordHash(ctx, ours, eve.ID, "$x"), picket.NotFound)
		kind(t, "sign-in of another tenant", db.SetLastSignIn(ctx, ours, eve.ID, now), picket.NotFound)
		kind(t, "access of another tenant", db.SetUserAccess(ctx, ours, eve.ID, picket.RoleViewer, true), picket.NotFound)

		kind(t, "demote the last", db.SetUserAccess(ctx, ours, ann.ID, picket.RoleViewer, false), picket.Conflict)
		kind(t, "disable the last", db.SetUserAccess(ctx, ours, ann.ID, picket.RoleAdmin, true), picket.Conflict)
		kind(t, "bad role", db.SetUserAccess(ctx, ours, bob.ID, "root", false), picket.Invalid)
		ok(t, db.SetUserAccess(ctx, ours, bob.ID, picket.RoleAdmin, false))
		ok(t, db.SetUserAccess(ctx, ours, ann.ID, picket.RoleViewer, true))
		if u := got(db.User(ctx, ours, ann.ID))(t); u.Role != picket.RoleViewer || !u.Disabled {
			t.Errorf("user %+v", u)
		}
		if u := got(db.User(ctx, theirs, eve.ID))(t); u != eve {
			t.Error("user of another tenant changed")
		}
	})
}

func TestLastAdministratorRace(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		ids := []string{addUser(t, db, ours, "ann", picket.RoleAdmin).ID, addUser(t, db, ours, "bob", picket.RoleAdmin).ID}
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Go(func() { db.SetUserAccess(ctx, ours, id, picket.RoleViewer, false) })
		}
		wg.Wait()
		admins := 0
		for _, u := range got(db.Users(ctx, ours))(t) {
			if u.Role == picket.RoleAdmin {
				admins++
			}
		}
		if admins != 1 {
			t.Errorf("%d administrators left, want 1", admins)
		}
	})
}

func TestSessions(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		ann, eve := addUser(t, db, ours, "ann", picket.RoleAdmin), addUser(t, db, theirs, "eve", picket.RoleAdmin)
		add := func(u picket.User, token string, used time.Time) picket.Session {
			return got(db.CreateSession(ctx, u.Tenant, picket.Session{
				UserID: u.ID, TokenHash: token, CSRF: "csrf", Created: now, LastUsed: used, Expires: now.Add(24 * time.Hour),
				Address: "192.0.2.1", UserAgent: strings.Repeat("x", 999),
			}))(t)
		}
		a, b, e := add(ann, "h1", now), add(ann, "h2", now.Add(time.Second)), add(eve, "h3", now)
		s, u, err := db.SessionByToken(ctx, "h1")
		ok(t, err)
		if diff := cmp.Diff(a, s); diff != "" || u.Name != "ann" || len(s.UserAgent) != 255 {
			t.Errorf("session of %s: %s", u.Name, diff)
		}
		_, _, err = db.SessionByToken(ctx, "h")
		kind(t, "unknown", err, picket.NotFound)
		_, err = db.CreateSession(ctx, theirs, picket.Session{UserID: ann.ID, TokenHash: "h4"})
		kind(t, "user of another tenant", err, picket.NotFound)
		if diff := cmp.Diff([]picket.Session{b, a}, got(db.Sessions(ctx, ours, ann.ID))(t)); diff != "" {
			t.Error(diff)
		}
		ok(t, db.TouchSession(ctx, ours, a.ID, now.Add(time.Minute)))
		ok(t, db.TouchSession(ctx, ours, a.ID, now))
		ok(t, db.TouchSession(ctx, ours, e.ID, now.Add(time.Minute)))
		if s, _, _ := db.SessionByToken(ctx, "h1"); !s.LastUsed.Equal(now.Add(time.Minute)) {
			t.Errorf("last used %s", s.LastUsed)
		}
		kind(t, "delete of another tenant", db.DeleteSession(ctx, ours, e.ID), picket.NotFound)
		if n := got(db.DeleteSessions(ctx, ours, eve.ID, ""))(t); n != 0 {
			t.Error("deleted sessions of another tenant")
		}
		if s, _, err := db.SessionByToken(ctx, "h3"); err != nil || !s.LastUsed.Equal(now) {
			t.Errorf("session of another tenant: %+v, %v", s, err)
		}
		if n := got(db.DeleteSessions(ctx, ours, ann.ID, b.ID))(t); n != 1 {
			t.Errorf("%d sessions deleted, want 1", n)
		}
		ok(t, db.DeleteSession(ctx, ours, b.ID))
		kind(t, "delete twice", db.DeleteSession(ctx, ours, b.ID), picket.NotFound)
	})
}

func TestAPITokens(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		ann, eve := addUser(t, db, ours, "ann", picket.RoleAdmin), addUser(t, db, theirs, "eve", picket.RoleAdmin)
		add := func(u picket.User, hash string) picket.APIToken {
			return got(db.CreateAPIToken(ctx, u.Tenant, picket.APIToken{UserID: u.ID, Name: "cli", TokenHash: hash, Created: now, Expires: now.Add(time.Hour)}))(t)
		}
		a, _, e := add(ann, "h1"), add(ann, "h2"), add(eve, "h3")
		tok, u, err := db.APITokenByHash(ctx, "h1")
		ok(t, err)
		if diff := cmp.Diff(a, tok); diff != "" || u.ID != ann.ID {
			t.Errorf("token of %s: %s", u.Name, diff)
		}
		_, _, err = db.APITokenByHash(ctx, "x")
		kind(t, "unknown", err, picket.NotFound)
		ok(t, db.TouchAPIToken(ctx, ours, a.ID, now))
		ok(t, db.TouchAPIToken(ctx, ours, e.ID, now))
		ok(t, db.RevokeAPIToken(ctx, ours, a.ID))
		kind(t, "revoke of another tenant", db.RevokeAPIToken(ctx, ours, e.ID), picket.NotFound)
		if tok, _, _ := db.APITokenByHash(ctx, "h1"); !tok.Revoked || !tok.LastUsed.Equal(now) {
			t.Errorf("token %+v", tok)
		}
		if n := got(db.RevokeAPITokens(ctx, ours, ann.ID))(t); n != 1 {
			t.Errorf("%d tokens revoked, want 1", n)
		}
		if n := got(db.RevokeAPITokens(ctx, ours, eve.ID))(t); n != 0 {
			t.Error("revoked tokens of another tenant")
		}
		if n := len(got(db.APITokens(ctx, ours, ""))(t)); n != 2 {
			t.Errorf("%d tokens, want 2", n)
		}
		if diff := cmp.Diff([]picket.APIToken{e}, got(db.APITokens(ctx, theirs, eve.ID))(t)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAttempts(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		inc := func(a picket.SignInAttempts) picket.SignInAttempts {
			return picket.SignInAttempts{Failures: a.Failures + 1, First: now, Last: now, LockedUntil: now.Add(time.Hour)}
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := db.UpdateAttempts(ctx, "user:ann", inc); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		same := func(a picket.SignInAttempts) picket.SignInAttempts { return a }
		want := picket.SignInAttempts{Failures: 20, First: now, Last: now, LockedUntil: now.Add(time.Hour)}
		if a := got(db.UpdateAttempts(ctx, "user:ann", same))(t); a != want {
			t.Errorf("attempts %+v, want %+v", a, want)
		}
		if a := got(db.UpdateAttempts(ctx, "user:bob\x00", same))(t); a != (picket.SignInAttempts{}) {
			t.Errorf("attempts of another key %+v", a)
		}
	})
}

func TestPruneSignIns(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		ann := addUser(t, db, ours, "ann", picket.RoleAdmin)
		for hash, s := range map[string]picket.Session{
			"ended": {LastUsed: now, Expires: now}, "idle": {LastUsed: now.Add(-9 * time.Hour), Expires: now.Add(time.Hour)},
			"good": {LastUsed: now, Expires: now.Add(time.Hour)},
		} {
			s.UserID, s.TokenHash = ann.ID, hash
			got(db.CreateSession(ctx, ours, s))(t)
		}
		for hash, age := range map[string]time.Duration{"old": 40 * 24 * time.Hour, "expired": time.Hour} {
			got(db.CreateAPIToken(ctx, ours, picket.APIToken{UserID: ann.ID, TokenHash: hash, Expires: now.Add(-age)}))(t)
		}
		set := func(key string, last, locked time.Duration) {
			got(db.UpdateAttempts(ctx, key, func(picket.SignInAttempts) picket.SignInAttempts {
				return picket.SignInAttempts{Failures: 3, Last: now.Add(last), LockedUntil: now.Add(locked)}
			}))(t)
		}
		set("old", -48*time.Hour, -time.Hour)
		set("locked", -48*time.Hour, time.Hour)
		set("fresh", -time.Minute, -time.Hour)
		ok(t, db.PruneSignIns(ctx, now, now.Add(-8*time.Hour), now.Add(-24*time.Hour)))
		if s := got(db.Sessions(ctx, ours, ann.ID))(t); len(s) != 1 || s[0].TokenHash != "good" {
			t.Errorf("sessions left: %+v", s)
		}
		if s := got(db.APITokens(ctx, ours, ann.ID))(t); len(s) != 1 || s[0].TokenHash != "expired" {
			t.Errorf("tokens left: %+v", s)
		}
		for key, want := range map[string]int{"old": 0, "locked": 3, "fresh": 3} {
			a := got(db.UpdateAttempts(ctx, key, func(a picket.SignInAttempts) picket.SignInAttempts { return a }))(t)
			if a.Failures != want {
				t.Errorf("%s: %d failures, want %d", key, a.Failures, want)
			}
		}
	})
}
