// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"connectrpc.com/connect"
	"golang.org/x/time/rate"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
)

// Enrol exchanges a token for an identity.
func (g *Gateway) Enrol(ctx context.Context, req *connect.Request[wirepb.EnrolRequest]) (*connect.Response[wirepb.EnrolResponse], error) {
	addr := host(req.Peer().Addr)
	if !g.enrols.allow(addr) {
		g.metrics.refused.WithLabelValues("enrol_rate").Inc()
		return nil, connect.NewError(connect.CodeResourceExhausted, errors.New("too many attempts from this address, wait a minute"))
	}
	token, err := wire.ParseToken(req.Msg.Token)
	if err != nil {
		return nil, g.refuseEnrol(ctx, picket.DefaultTenant, "", addr, err)
	}
	facts := req.Msg.Facts
	if facts == nil {
		facts = &wirepb.Facts{}
	}
	clipFacts(facts)
	if !g.Keys.HasTenant(token.Tenant) {
		return nil, g.refuseEnrol(ctx, picket.DefaultTenant, facts.HostName, addr, fmt.Errorf("enrolment token: not good here: %w", picket.Denied))
	}
	key, err := pki.RequestKey(req.Msg.Csr)
	if err != nil {
		return nil, g.refuseEnrol(ctx, token.Tenant, facts.HostName, addr, err)
	}
	e, err := g.Registry.Enrol(ctx, token, key, facts, addr)
	if err != nil {
		return nil, g.refuseEnrol(ctx, token.Tenant, facts.HostName, addr, err)
	}
	g.Auditor.Audit(ctx, token.Tenant, picket.AuditEntry{Actor: "sensor", Action: "device.enrol", Target: e.DeviceID, Outcome: picket.AuditSuccess, Address: addr, Detail: map[string]string{"host": facts.HostName, "group": e.Group}})
	return connect.NewResponse(&wirepb.EnrolResponse{
		DeviceId: e.DeviceID, Tenant: token.Tenant, Group: e.Group, CertificateChain: e.Chain,
		ServerRoots: [][]byte{g.Keys.Root().Raw}, ServerTimeUs: int64(event.TimeOf(g.Now())),
	}), nil
}

// refuseEnrol counts and audits an enrolment that failed, and returns the
// answer. A token that names no tenant of ours is noted with the default one.
func (g *Gateway) refuseEnrol(ctx context.Context, tenant, target, addr string, err error) error {
	g.metrics.refused.WithLabelValues("enrolment").Inc()
	outcome := picket.AuditDenied
	if picket.Kind(err) == picket.Internal || picket.Kind(err) == picket.Unavailable {
		outcome = picket.AuditFailure
	}
	g.Auditor.Audit(ctx, tenant, picket.AuditEntry{Actor: "sensor", Action: "device.enrol", Target: target, Outcome: outcome, Address: addr, Detail: map[string]string{"error": err.Error()}})
	return g.code(err)
}

// Renew gives a device a fresh certificate.
func (g *Gateway) Renew(ctx context.Context, req *connect.Request[wirepb.RenewRequest]) (*connect.Response[wirepb.RenewResponse], error) {
	id := ctx.Value(callerKey{}).(caller).id
	key, err := pki.RequestKey(req.Msg.Csr)
	if err != nil {
		return nil, g.code(err)
	}
	chain, err := g.Registry.Renew(ctx, id, key)
	if err != nil {
		return nil, g.code(err)
	}
	return connect.NewResponse(&wirepb.RenewResponse{CertificateChain: chain, ServerRoots: [][]byte{g.Keys.Root().Raw}}), nil
}

// host returns the address without its port.
func host(addr string) string {
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}

// addressLimiter bounds attempts per address and of all addresses together.
// It forgets everybody when too many addresses ask, so that its memory is
// bounded.
type addressLimiter struct {
	perMinute int
	total     *rate.Limiter
	mu        sync.Mutex
	byAddress map[string]*rate.Limiter
}

const (
	maxAddresses = 10_000
	allAddresses = 50 // times what one may
)

func newAddressLimiter(perMinute int) *addressLimiter {
	all := allAddresses * perMinute
	return &addressLimiter{perMinute: perMinute, total: rate.NewLimiter(rate.Limit(float64(all)/60), all), byAddress: map[string]*rate.Limiter{}}
}

func (a *addressLimiter) allow(addr string) bool {
	key := network(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.byAddress[key]
	if l == nil {
		if len(a.byAddress) >= maxAddresses {
			clear(a.byAddress)
		}
		l = rate.NewLimiter(rate.Limit(float64(a.perMinute)/60), a.perMinute)
		a.byAddress[key] = l
	}
	return l.Allow() && a.total.Allow()
}

// network is what one party usually holds: an IPv4 address, or the 64 bits in
// front of an IPv6 address.
func network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Unmap().Is4() {
		return addr
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return addr
	}
	return p.String()
}
