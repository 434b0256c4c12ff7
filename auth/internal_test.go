// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/picket-edr/picket"
)

// TestLimitBound: whatever the times of the attempts, a lock lets nobody
// through, and within any hour no more attempts pass than the first ones and
// those that fit between locks of 1, 2, 4, 8, 15, 15 ... minutes.
func TestLimitBound(t *testing.T) {
	t.Parallel()
	l := DefaultLimits.Pair
	rapid.Check(t, func(t *rapid.T) {
		gap := rapid.OneOf(rapid.Int64Range(0, 90), rapid.Int64Range(0, 5000), rapid.SampledFrom([]int64{60, 120, 240, 480, 900, 3600, 3601}))
		var a picket.SignInAttempts
		var passed []time.Time
		now := time.Unix(1_800_000_000, 0)
		for _, s := range rapid.SliceOfN(gap, 1, 400).Draw(t, "gaps") {
			now = now.Add(time.Duration(s) * time.Second)
			locked := now.Before(a.LockedUntil)
			next, wait := l.reserve(a, now)
			if (wait > 0) != locked {
				t.Fatalf("locked %v, wait %s", locked, wait)
			}
			if wait > 0 {
				if next != a {
					t.Fatal("a refused attempt counts")
				}
				continue
			}
			a, passed = next, append(passed, now)
		}
		for i, from := range passed {
			n := 0
			for _, p := range passed[i:] {
				if p.Sub(from) < l.Quiet {
					n++
				}
			}
			if n > l.Failures+7 {
				t.Fatalf("%d attempts within %s", n, l.Quiet)
			}
		}
	})
}

func TestRefund(t *testing.T) {
	t.Parallel()
	l := Limit{Failures: 3, Quiet: time.Hour, Lock: time.Minute, MaxLock: time.Minute}
	now := time.Unix(1_800_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		var a picket.SignInAttempts
		for range rapid.IntRange(0, 8).Draw(t, "failures") {
			a, _ = l.reserve(a, now)
			now = now.Add(time.Minute) // the end of the lock
		}
		before := a
		a, wait := l.reserve(a, now)
		a = l.refund(a, a.LockedUntil)
		if wait != 0 || a.Failures != before.Failures || now.Before(a.LockedUntil) {
			t.Fatalf("before %+v, after %+v", before, a)
		}
	})
	locked := picket.SignInAttempts{Failures: 9, Last: now, LockedUntil: now.Add(time.Minute)}
	if a := l.refund(locked, now); !a.LockedUntil.Equal(locked.LockedUntil) {
		t.Error("a success lifts the lock of another attempt")
	}
	if a := l.refund(picket.SignInAttempts{}, time.Time{}); a.Failures != 0 {
		t.Errorf("refund of nothing: %+v", a)
	}
}

func TestLongRunOfFailures(t *testing.T) {
	t.Parallel()
	l := DefaultLimits.Pair
	now := time.Unix(1_800_000_000, 0)
	a, wait := l.reserve(picket.SignInAttempts{Failures: 1 << 40, Last: now}, now)
	if wait != 0 || a.LockedUntil.Sub(now) != l.MaxLock {
		t.Errorf("lock of %s", a.LockedUntil.Sub(now))
	}
}

func TestAddressKey(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"[2001:db8:1:2:3::4]:80": "2001:db8:1:2::/64", "[fe80::1%eth0]:80": "fe80::/64", "": "unknown", "@": "unknown", "host:80": "unknown",
	} {
		if got := addressKey(in); got != want {
			t.Errorf("addressKey(%q) = %q, want %q", in, got, want)
		}
	}
}

// The aliases embed an interface under another name than that of its method.
type (
	anyUsers    = Users
	anySessions = Sessions
)

// users knows one account; attempts have no memory; audit takes anything.
type users struct{ anyUsers }

func (users) UserByName(_ context.Context, name string) (picket.User, error) {
	if name == "ann" {
		return picket.User{ID: "1", Tenant: "default", Name: "ann", PasswordHash: HashPassword("x", Cost{64, 1, 1})}, nil
	}
	return picket.User{}, picket.NotFound
}

type attempts struct{ Attempts }

func (attempts) UpdateAttempts(_ context.Context, _ string, f func(picket.SignInAttempts) picket.SignInAttempts) (picket.SignInAttempts, error) {
	return f(picket.SignInAttempts{}), nil
}

type audit struct{}

func (audit) AppendAudit(_ context.Context, _ string, e picket.AuditEntry) (picket.AuditEntry, error) {
	return e, nil
}

// TestSameWork: a name that nobody has costs the same hash as a wrong
// password, and so does a password that is too long to be one.
func TestSameWork(t *testing.T) {
	t.Parallel()
	cost := Cost{Memory: 64, Passes: 1, Threads: 1}
	s, err := New(Options{
		Users: users{}, Sessions: struct{ anySessions }{}, Tokens: struct{ Tokens }{}, Attempts: attempts{}, Audit: audit{},
		Tenant: "default", Now: time.Now, Cost: cost,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, password string }{{"ann", "y"}, {"nobody", "y"}, {"bad name", "y"}, {"ann", strings.Repeat("y", 5000)}} {
		var costs []Cost
		s.verify = func(stored, password string, want Cost) (bool, bool, error) {
			h, err := parseHash(stored)
			costs = append(costs, h.cost)
			if err != nil || len(password) > maxPassword {
				t.Errorf("hash %q of a password of %d bytes: %v", stored, len(password), err)
			}
			return VerifyPassword(stored, password, want)
		}
		if _, err := s.SignIn(t.Context(), c.name, c.password, Origin{}); err != errWrong {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(costs) != 1 || costs[0] != cost {
			t.Errorf("%s: hashed at %v", c.name, costs)
		}
	}
	// The hash of nobody belongs to no password, not even an empty one.
	if ok, _, err := VerifyPassword(s.nobody, "", cost); ok || err != nil {
		t.Errorf("nobody has password \"\": %v, %v", ok, err)
	}
}

func TestHashingTurns(t *testing.T) {
	t.Parallel()
	s := &Service{hashing: make(chan struct{}, 1)}
	release, err := s.slot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.slot(ctx); picket.Kind(err) != picket.Canceled {
		t.Errorf("error %v", err)
	}
	release()
	if release, err = s.slot(t.Context()); err != nil {
		t.Fatal(err)
	}
	release()
}

func TestPassword(t *testing.T) {
	t.Parallel()
	cost := Cost{Memory: 64, Passes: 1, Threads: 1}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		stored := HashPassword(a, cost)
		match, outdated, err := VerifyPassword(stored, a, cost)
		if !match || outdated || err != nil {
			t.Fatalf("own password: %v, %v, %v", match, outdated, err)
		}
		match, outdated, err = VerifyPassword(stored, b, Cost{Memory: 64, Passes: 2, Threads: 1})
		if match != (a == b) || !outdated || err != nil {
			t.Fatalf("other password: %v, %v, %v", match, outdated, err)
		}
	})
	first, second := HashPassword("x", cost), HashPassword("x", cost)
	if first == second {
		t.Error("no salt")
	}
	seen := map[string]bool{}
	for range 100 {
		p := NewPassword()
		if seen[p] || CheckPassword("admin", p) != nil || len(p) != 27 {
			t.Fatalf("password of %d characters", len(p))
		}
		seen[p] = true
	}
}

// TestArgon2Vector compares with the argon2 reference program:
// printf password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32
func TestArgon2Vector(t *testing.T) {
	t.Parallel()
	const stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	match, _, err := VerifyPassword(stored, "password", DefaultCost)
	if !match || err != nil {
		t.Errorf("match %v, %v", match, err)
	}
}

func TestParseHashRefuses(t *testing.T) {
	t.Parallel()
	good := HashPassword("x", Cost{Memory: 64, Passes: 1, Threads: 1})
	for _, bad := range []string{
		"", "$", "x" + good, good + "$", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=64", "m=064", 1), strings.Replace(good, "m=64", "m=4294967295", 1), strings.Replace(good, "m=64", "m=7", 1),
		strings.Replace(good, "t=1", "t=0", 1), strings.Replace(good, "t=1", "t=65", 1), strings.Replace(good, "p=1", "p=0", 1),
		strings.Replace(good, "p=1", "p=255", 1), strings.Replace(good, "m=64,t=1", "t=1,m=64", 1), good[:len(good)-30],
		good + "=", strings.Replace(good, "p=1", "p=1,x=1", 1), good[:len(good)-1] + "\n",
	} {
		if _, err := parseHash(bad); picket.Kind(err) != picket.Invalid {
			t.Errorf("parseHash(%q): %v", bad, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(HashPassword("x", Cost{Memory: 64, Passes: 1, Threads: 1}))
	f.Add("$argon2id$v=19$m=65536,t=3,p=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err != nil {
			return
		}
		if h.String() != s {
			t.Errorf("%q reads as %q", s, h.String())
		}
		if h.cost.Memory > maxMemory || h.cost.Passes > maxPasses || len(h.key) > maxPart || len(h.salt) > maxPart {
			t.Errorf("out of bounds: %q", s)
		}
	})
}

func FuzzTokenHash(f *testing.F) {
	f.Add(TokenPrefix + newSecret())
	f.Add("pkt_")
	f.Add(newSecret())
	known := map[string]string{} // one hash, one text
	f.Fuzz(func(t *testing.T, s string) {
		h, err := tokenHash(s)
		if err != nil {
			return
		}
		if len(s) != len(TokenPrefix)+43 || len(h) != 64 || strings.Contains(h, s) {
			t.Errorf("%q gives %q", s, h)
		}
		if other, ok := known[h]; ok && other != s {
			t.Errorf("%q and %q are the same token", s, other)
		}
		known[h] = s
	})
}
