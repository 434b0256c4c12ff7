// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
)

// try signs in and says what became of it: "in", "wrong" or "locked".
func (h *house) try(name, pass, address string) string {
	h.t.Helper()
	_, err := h.SignIn(h.t.Context(), name, pass, auth.Origin{Address: address})
	var limit *auth.LimitError
	switch {
	case err == nil:
		return "in"
	case errors.As(err, &limit):
		if limit.RetryAfter <= 0 || limit.RetryAfter > 15*time.Minute || !errors.Is(err, picket.Denied) {
			h.t.Errorf("limit %+v", limit)
		}
		return "locked"
	case errors.Is(err, picket.Denied):
		return "wrong"
	}
	h.t.Fatal(err)
	return ""
}

func (h *house) want(what, got, want string) {
	h.t.Helper()
	if got != want {
		h.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestLockOut(t *testing.T) {
	h := newHouse(t)
	const here, there = "192.0.2.1:1", "198.51.100.1:1"
	for i := range 5 {
		h.want(fmt.Sprint("failure ", i), h.try("ann", "wrong", here), "wrong")
	}
	h.want("right password while locked", h.try("ann", password, here), "locked")
	h.want("another port", h.try("ann", password, "192.0.2.1:2"), "locked")
	h.want("the owner elsewhere", h.try("ann", password, there), "in")
	h.pass(59 * time.Second)
	// Her success elsewhere does not clear the stranger's count here.
	h.want("still locked", h.try("ann", password, here), "locked")
	h.pass(time.Second)
	h.want("after the lock", h.try("ann", "wrong", here), "wrong")
	h.pass(119 * time.Second)
	h.want("the second lock is longer", h.try("ann", password, here), "locked")
	h.pass(time.Second)
	h.want("right password after the lock", h.try("ann", password, here), "in")
	for i := range 4 {
		h.want(fmt.Sprint("count began again ", i), h.try("ann", "wrong", here), "wrong")
	}
	h.want("before the next lock", h.try("ann", password, here), "in")

	// Names that nobody has are treated alike.
	for range 5 {
		h.want("unknown", h.try("nobody", "wrong", there), "wrong")
	}
	h.want("unknown", h.try("nobody", "wrong", there), "locked")
}

func TestAddressLimit(t *testing.T) {
	h := newHouse(t)
	for i := range 30 {
		h.want(fmt.Sprint(i), h.try(fmt.Sprintf("user%d", i), "wrong", fmt.Sprintf("[2001:db8::%x]:9", i)), "wrong")
	}
	h.want("another address of the network", h.try("ann", password, "[2001:db8::ffff]:9"), "locked")
	h.want("another network", h.try("ann", password, "[2001:db8:0:1::1]:9"), "in")
	h.pass(time.Minute)
	h.want("after the lock", h.try("ann", password, "[2001:db8::1]:9"), "in")
	// One right password does not wipe out the other failures.
	h.want("one more failure", h.try("x", "wrong", "[2001:db8::2]:9"), "wrong")
	h.want("and again", h.try("ann", password, "[2001:db8::2]:9"), "locked")
}

func TestAccountLimit(t *testing.T) {
	h := newHouse(t)
	for i := range 50 {
		h.want(fmt.Sprint(i), h.try("ann", "wrong", fmt.Sprintf("10.0.%d.1:9", i)), "wrong")
	}
	h.want("from anywhere", h.try("ann", password, "192.0.2.77:9"), "locked")
	h.want("another account", h.try("vic", password, "192.0.2.77:9"), "in")
	h.pass(time.Minute)
	h.want("after the lock", h.try("ann", password, "192.0.2.77:9"), "in")
}

func TestLimitRace(t *testing.T) {
	h := newHouse(t)
	var looked atomic.Int64
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if h.try("ann", "wrong", "192.0.2.1:1") == "wrong" {
				looked.Add(1)
			}
		})
	}
	wg.Wait()
	if looked.Load() != 5 {
		t.Errorf("%d of 40 attempts at once were let through, want 5", looked.Load())
	}
}

func TestRefusalsDoNotFloodTheLog(t *testing.T) {
	h := newHouse(t)
	for range 5 {
		h.try("ann", "wrong", "192.0.2.1:1")
	}
	h.pass(30 * time.Second)
	before := len(h.log(picket.DefaultTenant))
	for range 100 {
		h.try("ann", "wrong", "192.0.2.1:1")
	}
	if n := len(h.log(picket.DefaultTenant)) - before; n != 0 {
		t.Errorf("%d entries within a minute of the last failure, want 0", n)
	}
	h.pass(31 * time.Second) // the lock is over: this one counts and locks for 2 minutes
	h.try("ann", "wrong", "192.0.2.1:1")
	h.pass(61 * time.Second)
	before = len(h.log(picket.DefaultTenant))
	for range 100 {
		h.want("refused", h.try("ann", "wrong", "192.0.2.1:1"), "locked")
	}
	got := h.log(picket.DefaultTenant)[before:]
	if len(got) != 1 || got[0] != "session.create ann denied" {
		t.Errorf("entries for 100 refusals: %q", got)
	}
	h.ok(h.Prune(t.Context()))
	h.want("pruning unlocks nobody", h.try("ann", password, "192.0.2.1:1"), "locked")
}
