// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net"
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
		g.metrics.refused.WithLabelValues("token").Inc()
		return nil, g.code(err)
	}
	key, err := pki.RequestKey(req.Msg.Csr)
	if err != nil {
		return nil, g.code(err)
	}
	facts := req.Msg.Facts
	if facts == nil {
		facts = &wirepb.Facts{}
	}
	e, err := g.Registry.Enrol(ctx, token, key, facts, addr)
	if err != nil {
		g.metrics.refused.WithLabelValues("token").Inc()
		g.Auditor.Audit(ctx, token.Tenant, picket.AuditEntry{Actor: "sensor", Action: "device.enrol", Target: facts.HostName, Outcome: picket.AuditDenied, Address: addr, Detail: map[string]string{"error": err.Error()}})
		return nil, g.code(err)
	}
	g.Auditor.Audit(ctx, token.Tenant, picket.AuditEntry{Actor: "sensor", Action: "device.enrol", Target: e.DeviceID, Outcome: picket.AuditSuccess, Address: addr, Detail: map[string]string{"host": facts.HostName, "group": e.Group}})
	return connect.NewResponse(&wirepb.EnrolResponse{
		DeviceId: e.DeviceID, Tenant: token.Tenant, Group: e.Group, CertificateChain: e.Chain,
		ServerRoots: [][]byte{g.Keys.Root().Raw}, ServerTimeUs: int64(event.TimeOf(g.Now())),
	}), nil
}

// Renew gives a device a fresh certificate.
func (g *Gateway) Renew(ctx context.Context, req *connect.Request[wirepb.RenewRequest]) (*connect.Response[wirepb.RenewResponse], error) {
	id := ctx.Value(identityKey{}).(pki.Identity)
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

// addressLimiter bounds attempts per address. It forgets everybody when too
// many addresses ask, so that its memory is bounded.
type addressLimiter struct {
	perMinute int
	mu        sync.Mutex
	byAddress map[string]*rate.Limiter
}

const maxAddresses = 10_000

func newAddressLimiter(perMinute int) *addressLimiter {
	return &addressLimiter{perMinute: perMinute, byAddress: map[string]*rate.Limiter{}}
}

func (a *addressLimiter) allow(addr string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.byAddress[addr]
	if l == nil {
		if len(a.byAddress) >= maxAddresses {
			clear(a.byAddress)
		}
		l = rate.NewLimiter(rate.Limit(float64(a.perMinute)/60), a.perMinute)
		a.byAddress[addr] = l
	}
	return l.Allow()
}
