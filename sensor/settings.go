// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/sensor/redact"
	"github.com/picket-edr/picket/sensor/spool"
	"github.com/picket-edr/picket/wire/wirepb"
	"github.com/picket-edr/picket/wire/wirepb/wirepbconnect"
)

// storedPolicy is the policy in force, as it is kept in the data folder.
type storedPolicy struct {
	Version uint64          `json:"version"`
	Policy  json.RawMessage `json:"policy"`
}

func (a *agent) policyPath() string { return filepath.Join(a.o.Dir, "policy.json") }

// loadPolicy puts the policy of the run before in force.
func (a *agent) loadPolicy() {
	b, err := os.ReadFile(a.policyPath())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var stored storedPolicy
	if err == nil {
		err = json.Unmarshal(b, &stored)
	}
	var p *Policy
	if err == nil {
		p, err = ParsePolicy(stored.Policy)
	}
	if err != nil {
		a.notes.add(notePolicyBad, "the stored policy cannot be applied, the default is in force: "+err.Error())
		return
	}
	a.putInForce(stored.Version, p)
}

// applyPolicy checks a policy from the server, keeps it and puts it in force.
// The error is what the server is told.
func (a *agent) applyPolicy(m *wirepb.Policy) error {
	p, err := ParsePolicy(m.Json)
	if err != nil {
		a.notes.add(notePolicyBad, fmt.Sprintf("policy %d cannot be applied: %v", m.Version, err))
		return err
	}
	raw := m.Json
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	b, err := json.Marshal(storedPolicy{m.Version, raw})
	if err == nil {
		err = writeFile(a.policyPath(), b, 0o600)
	}
	if err != nil {
		a.notes.add(noteNotKept, fmt.Sprintf("policy %d is in force but cannot be kept: %v", m.Version, err))
	}
	a.putInForce(m.Version, p)
	a.notes.add(notePolicy, fmt.Sprintf("policy %d is in force", m.Version))
	return nil
}

func (a *agent) putInForce(version uint64, p *Policy) {
	a.intake.filter.Store(newFilter(p))
	a.setRedactor(p.Redact)
	level := p.Scripts()
	a.scripts.Store(&level)
	a.pace.Store(int64(p.flush(a.o.Timing.Flush)))
	a.health.Store(int64(p.health(a.o.Timing.Health)))
	limit := p.SpoolBytes
	if limit == 0 {
		limit = a.o.SpoolLimit
	}
	if limit == 0 {
		limit = spool.DefaultLimit
	}
	a.spool.SetLimit(limit)
	if a.o.Level != nil {
		level := a.level
		if p.LogLevel != "" {
			level, _ = ParseLevel(p.LogLevel) // checked by ParsePolicy
		}
		a.o.Level.Set(level)
	}
	a.mu.Lock()
	a.policy, a.inForce = version, p
	c := a.collector
	a.mu.Unlock()
	if t, ok := c.(PolicyTaker); ok {
		t.SetPolicy(p)
	}
}

// setRedactor puts rules of redaction in force that ParsePolicy has checked.
func (a *agent) setRedactor(p redact.Policy) {
	r, err := redact.New(p, a.secret)
	if err != nil {
		return // the rules before are better than none
	}
	a.redactor.Store(r)
}

// renewWhenDue exchanges the certificate for a fresh one when two thirds of
// its life are over.
func (a *agent) renewWhenDue(ctx context.Context) {
	_, creds := a.vault.get()
	if a.uplink.clock.now().Before(creds.renewAfter()) {
		return
	}
	if err := a.renew(ctx); err != nil {
		a.notes.add(noteNotRenewed, fmt.Sprintf("the certificate, good until %s, could not be renewed: %v", creds.cert.Leaf.NotAfter.Format(time.RFC3339), err))
		return
	}
	_, creds = a.vault.get()
	a.notes.add(noteRenewed, "the certificate was renewed until "+creds.cert.Leaf.NotAfter.Format(time.RFC3339))
	a.uplink.reconnect()
}

func (a *agent) renew(ctx context.Context) error {
	old, creds := a.vault.get()
	key, csr, err := newKey()
	if err != nil {
		return err
	}
	t := newTransport(a.uplink.way(), mutualTLS(a.uplink.server, creds, a.uplink.clock.now))
	defer t.CloseIdleConnections()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c := wirepbconnect.NewSensorClient(client(t), "https://"+a.uplink.server, connect.WithReadMaxBytes(maxReceive))
	res, err := c.Renew(call, connect.NewRequest(&wirepb.RenewRequest{Csr: csr}))
	if err != nil {
		return fromWire(err)
	}
	fresh := *old
	fresh.Key, fresh.Chain, fresh.Roots = key, res.Msg.CertificateChain, res.Msg.ServerRoots
	if len(fresh.Roots) == 0 {
		fresh.Roots = old.Roots
	}
	c2, err := fresh.parse()
	if err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if !c2.cert.Leaf.NotAfter.After(creds.cert.Leaf.NotAfter) {
		return fmt.Errorf("the server's certificate is good until %s, not longer than before: %w", c2.cert.Leaf.NotAfter, picket.Invalid)
	}
	if err := a.vault.replace(&fresh); err != nil {
		a.notes.add(noteNotKept, "the new certificate cannot be kept: "+err.Error())
		return err
	}
	return nil
}
