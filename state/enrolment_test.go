// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/state"
)

func newToken(secret string, uses int64) state.NewEnrolmentToken {
	return state.NewEnrolmentToken{
		Group: "servers", Uses: uses, Expires: now.Add(time.Hour), CreatedBy: "admin", SecretHash: state.HashSecret([]byte(secret)),
	}
}

func TestEnrolmentTokens(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		redeem := func(tenant, secret string, at time.Time) error {
			_, err := db.RedeemEnrolmentToken(ctx, tenant, state.HashSecret([]byte(secret)), at)
			return err
		}
		two := got(db.CreateEnrolmentToken(ctx, ours, newToken("two", 2), now))(t)
		gone := got(db.CreateEnrolmentToken(ctx, ours, newToken("gone", 2), now.Add(time.Second)))(t)
		_, err := db.CreateEnrolmentToken(ctx, ours, newToken("two", 2), now)
		kind(t, "same secret", err, picket.Conflict)

		kind(t, "wrong secret", redeem(ours, "three", now), picket.Denied)
		kind(t, "wrong tenant", redeem(theirs, "two", now), picket.Denied)
		kind(t, "expired", redeem(ours, "two", now.Add(time.Hour)), picket.Denied)
		used := got(db.RedeemEnrolmentToken(ctx, ours, state.HashSecret([]byte("two")), now))(t)
		want := state.EnrolmentToken{
			ID: two.ID, Tenant: ours, Group: "servers", UsesAllowed: 2, Uses: 1, Created: now, CreatedBy: "admin", Expires: now.Add(time.Hour),
		}
		if diff := cmp.Diff(want, used); diff != "" {
			t.Error(diff)
		}
		kind(t, "second use", redeem(ours, "two", now), nil)
		kind(t, "third use", redeem(ours, "two", now), picket.Denied)

		kind(t, "revoke for another tenant", db.RevokeEnrolmentToken(ctx, theirs, gone.ID, now), picket.NotFound)
		ok(t, db.RevokeEnrolmentToken(ctx, ours, gone.ID, now))
		ok(t, db.RevokeEnrolmentToken(ctx, ours, gone.ID, now.Add(time.Minute)))
		kind(t, "revoked", redeem(ours, "gone", now), picket.Denied)

		list := got(db.EnrolmentTokens(ctx, ours))(t)
		if len(list) != 2 || list[0].ID != gone.ID || !list[0].Revoked.Equal(now) || list[1].Uses != 2 {
			t.Errorf("list %+v", list)
		}
		if n := len(got(db.EnrolmentTokens(ctx, theirs))(t)); n != 0 {
			t.Errorf("%d tokens of another tenant", n)
		}
		for name, bad := range map[string]func(*state.NewEnrolmentToken){
			"no uses":       func(n *state.NewEnrolmentToken) { n.Uses = 0 },
			"too many uses": func(n *state.NewEnrolmentToken) { n.Uses = 1 << 40 },
			"expired":       func(n *state.NewEnrolmentToken) { n.Expires = now },
			"group":         func(n *state.NewEnrolmentToken) { n.Group = "a\nb" },
		} {
			n := newToken(name, 1)
			bad(&n)
			_, err := db.CreateEnrolmentToken(ctx, ours, n, now)
			kind(t, name, err, picket.Invalid)
		}
	})
}

func TestRedeemRace(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		got(db.CreateEnrolmentToken(ctx, ours, newToken("one", 1), now))(t)
		var won atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := db.RedeemEnrolmentToken(ctx, ours, state.HashSecret([]byte("one")), now)
				if err == nil {
					won.Add(1)
				} else {
					kind(t, "loser", err, picket.Denied)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d of 20 redeemed a one-use token", won.Load())
		}
	})
}

func TestEnrolDevice(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		got(db.CreateEnrolmentToken(ctx, ours, newToken("two", 2), now))(t)
		enrol := func(tenant, secret string, n int, serial string) error {
			_, err := db.EnrolDevice(ctx, tenant, state.HashSecret([]byte(secret)), picket.Device{ID: deviceID(n), Name: "Host", Group: "wanted"},
				state.HostIdentity{MachineID: "m"}, state.Certificate{Serial: serial, NotBefore: now, NotAfter: now.Add(time.Hour)}, now)
			return err
		}
		kind(t, "other tenant", enrol(theirs, "two", 1, "1"), picket.Denied)
		kind(t, "wrong secret", enrol(ours, "three", 1, "1"), picket.Denied)
		ok(t, enrol(ours, "two", 1, "1"))
		kind(t, "device there already", enrol(ours, "two", 1, "2"), picket.Conflict)
		kind(t, "serial there already", enrol(ours, "two", 2, "1"), picket.Conflict)
		kind(t, "no serial", enrol(ours, "two", 2, ""), picket.Invalid)
		ok(t, enrol(ours, "two", 3, "3")) // the failures used nothing up
		kind(t, "used up", enrol(ours, "two", 4, "4"), picket.Denied)

		list := got(db.Devices(ctx, ours, state.DeviceQuery{}, now))(t)
		if list.Total != 2 || list.Items[0].ID != deviceID(1) || list.Items[1].ID != deviceID(3) || list.Items[0].Group != "servers" {
			t.Errorf("devices %+v", list.Items)
		}
		kind(t, "certificate", db.CheckCertificate(ctx, ours, deviceID(3), "3", now), nil)
		kind(t, "certificate of a failed enrolment", db.CheckCertificate(ctx, ours, deviceID(4), "4", now), picket.Denied)
	})
}

func TestCertificates(t *testing.T) {
	each(t, func(t *testing.T, db *state.DB) {
		ctx := t.Context()
		d := addDevice(t, db, ours, 1)
		addDevice(t, db, theirs, 1) // the same id in another tenant
		cert := state.Certificate{Serial: "0a", DeviceID: d.ID, NotBefore: now, NotAfter: now.Add(24 * time.Hour)}
		ok(t, db.AddCertificate(ctx, ours, cert))
		kind(t, "serial twice", db.AddCertificate(ctx, ours, cert), picket.Conflict)
		kind(t, "no serial", db.AddCertificate(ctx, ours, state.Certificate{DeviceID: d.ID}), picket.Invalid)
		kind(t, "unknown device", db.AddCertificate(ctx, ours, state.Certificate{Serial: "0b", DeviceID: deviceID(9)}), picket.NotFound)

		kind(t, "good", db.CheckCertificate(ctx, ours, d.ID, "0a", now), nil)
		kind(t, "other tenant", db.CheckCertificate(ctx, theirs, d.ID, "0a", now), picket.Denied)
		kind(t, "other device", db.CheckCertificate(ctx, ours, deviceID(2), "0a", now), picket.Denied)
		kind(t, "other serial", db.CheckCertificate(ctx, ours, d.ID, "0c", now), picket.Denied)
		kind(t, "expired", db.CheckCertificate(ctx, ours, d.ID, "0a", now.Add(25*time.Hour)), picket.Denied)

		if s := got(db.RevokeDevice(ctx, theirs, d.ID, "test", now))(t); len(s) != 0 {
			t.Errorf("revoked %v of another tenant", s)
		}
		kind(t, "still good", db.CheckCertificate(ctx, ours, d.ID, "0a", now), nil)
		if diff := cmp.Diff([]string{"0a"}, got(db.RevokeDevice(ctx, ours, d.ID, "stolen", now))(t)); diff != "" {
			t.Error(diff)
		}
		kind(t, "revoked", db.CheckCertificate(ctx, ours, d.ID, "0a", now), picket.Denied)
		cert.Serial = "0d"
		kind(t, "certificate after revocation", db.AddCertificate(ctx, ours, cert), picket.Denied)
		_, err := db.RevokeDevice(ctx, ours, deviceID(9), "test", now)
		kind(t, "revoke unknown", err, picket.NotFound)

		cert.Serial, cert.Revoked, cert.Reason = "0a", now, "stolen"
		if diff := cmp.Diff([]state.Certificate{cert}, got(db.Certificates(ctx, ours, d.ID))(t)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"0a"}, got(db.RevokedSerials(ctx, ours, now))(t)); diff != "" {
			t.Error(diff)
		}
		if n := len(got(db.RevokedSerials(ctx, theirs, now))(t)) + len(got(db.Certificates(ctx, theirs, d.ID))(t)); n != 0 {
			t.Errorf("%d certificates of another tenant", n)
		}
		if !got(db.Device(ctx, ours, d.ID, now, picket.HealthThresholds{}))(t).Offboarded {
			t.Error("revoked device is not offboarded")
		}
	})
}
