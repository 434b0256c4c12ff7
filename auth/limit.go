// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/picket-edr/picket"
)

// Limit says how many failed sign-ins in a row are let through and how long
// the lock after them lasts. Each further failure doubles the lock.
type Limit struct {
	Failures int           // let through before the first lock
	Quiet    time.Duration // without a failure for so long, counting starts again; longer than MaxLock
	Lock     time.Duration
	MaxLock  time.Duration
}

// Limits of sign-in. The first is the tight one; the others stop those who
// vary the account or the address. A stranger at one address therefore cannot
// lock the account for its owner at another.
type Limits struct {
	Pair    Limit // one account from one address
	Account Limit // one account from anywhere
	Address Limit // any account from one address
}

// DefaultLimits of sign-in.
var DefaultLimits = Limits{
	Pair:    Limit{Failures: 5, Quiet: time.Hour, Lock: time.Minute, MaxLock: 15 * time.Minute},
	Account: Limit{Failures: 50, Quiet: time.Hour, Lock: time.Minute, MaxLock: 15 * time.Minute},
	Address: Limit{Failures: 30, Quiet: time.Hour, Lock: time.Minute, MaxLock: 15 * time.Minute},
}

// LimitError refuses a sign-in without looking at the password. It is of kind
// Denied.
type LimitError struct {
	RetryAfter time.Duration
}

// Error says how long to wait.
func (e *LimitError) Error() string {
	return fmt.Sprintf("too many failed sign-ins: try again in %s", e.RetryAfter.Round(time.Second))
}

// Unwrap returns the kind.
func (e *LimitError) Unwrap() error { return picket.Denied }

// reserve counts an attempt before its outcome is known, as failed, so that
// attempts made at the same time cannot slip past the limit. It returns how
// long to wait when the attempt must be refused; a refused one is not counted.
func (l Limit) reserve(a picket.SignInAttempts, now time.Time) (picket.SignInAttempts, time.Duration) {
	if now.Before(a.LockedUntil) {
		return a, a.LockedUntil.Sub(now)
	}
	if now.Sub(a.Last) > l.Quiet {
		a = picket.SignInAttempts{}
	}
	if a.Failures == 0 {
		a.First = now
	}
	a.Failures++
	a.Last = now
	if over := a.Failures - l.Failures; over >= 0 {
		lock := l.MaxLock
		if over < 20 { // no overflow
			lock = min(l.Lock<<over, l.MaxLock)
		}
		a.LockedUntil = now.Add(lock)
	}
	return a, 0
}

// refund takes back one attempt that turned out well. own is the lock that the
// attempt itself set when it was counted; the lock of another attempt stays.
func (l Limit) refund(a picket.SignInAttempts, own time.Time) picket.SignInAttempts {
	a.Failures = max(0, a.Failures-1)
	if a.Failures < l.Failures || a.LockedUntil.Equal(own) {
		a.LockedUntil = time.Time{}
	}
	return a
}

// addressKey is the part of a caller's address that counts as one place: an
// IPv4 address, or the network of an IPv6 one, since a host has its whole
// network to choose from.
func addressKey(remote string) string {
	ip, err := netip.ParseAddr(remote)
	if err != nil {
		ap, err := netip.ParseAddrPort(remote)
		if err != nil {
			return "unknown"
		}
		ip = ap.Addr()
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return p.String()
}

// host is an address without its port, as people want to read it.
func host(remote string) string {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return ap.Addr().Unmap().String()
	}
	return remote
}
