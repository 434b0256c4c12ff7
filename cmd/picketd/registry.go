// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/gateway"
	"github.com/picket-edr/picket/pki"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
)

// registry answers the gateway's questions from the state database and the
// keys. It gathers the times at which devices were heard of and writes them
// once a second.
type registry struct {
	db     *state.DB
	keys   *pki.Store
	notify *notifier
	log    *slog.Logger
	now    func() time.Time

	mu    sync.Mutex
	heard map[string]map[string]heard // by tenant and device
}

type heard struct {
	at  time.Time
	gap uint64
}

func newRegistry(db *state.DB, keys *pki.Store, n *notifier, log *slog.Logger) *registry {
	return &registry{db: db, keys: keys, notify: n, log: log, now: time.Now, heard: map[string]map[string]heard{}}
}

func facts(f *wirepb.Facts, addr string) state.DeviceFacts {
	ip := ""
	if len(f.IpAddresses) > 0 {
		ip = f.IpAddresses[0]
	}
	return state.DeviceFacts{
		Name: f.HostName, OSPlatform: f.OsPlatform, OSDistribution: f.OsDistribution, OSVersion: f.OsVersion, OSArchitecture: f.Architecture,
		KernelVersion: f.KernelVersion, SensorVersion: f.SensorVersion, InternalIP: ip, ExternalIP: addr, BootID: f.BootId,
		Identity: state.HostIdentity{MachineID: f.MachineId, HardwareUUID: f.HardwareUuid},
	}
}

// Enrol implements gateway.Registry.
func (r *registry) Enrol(ctx context.Context, token wire.Token, key crypto.PublicKey, f *wirepb.Facts, addr string) (gateway.Enrolled, error) {
	id := state.NewDeviceID()
	cert, chain, err := r.keys.IssueDevice(token.Tenant, id, key)
	if err != nil {
		return gateway.Enrolled{}, err
	}
	now := r.now()
	x := facts(f, addr)
	name := x.Name
	if name == "" {
		name = id[:12]
	}
	device := picket.Device{
		ID: id, Tenant: token.Tenant, Name: name, OSPlatform: x.OSPlatform, OSDistribution: x.OSDistribution, OSVersion: x.OSVersion,
		OSArchitecture: x.OSArchitecture, KernelVersion: x.KernelVersion, SensorVersion: x.SensorVersion, InternalIP: x.InternalIP,
		ExternalIP: x.ExternalIP, FirstSeen: now, BootID: x.BootID,
	}
	c := state.Certificate{Serial: cert.Serial, DeviceID: id, NotBefore: now, NotAfter: cert.NotAfter}
	used, err := r.db.EnrolDevice(ctx, token.Tenant, token.Hash(), device, x.Identity, c, now)
	if err != nil {
		return gateway.Enrolled{}, err
	}
	r.notify.device(token.Tenant, id)
	return gateway.Enrolled{DeviceID: id, Group: used.Group, Chain: chain}, nil
}

// Renew implements gateway.Registry.
func (r *registry) Renew(ctx context.Context, id pki.Identity, key crypto.PublicKey) ([][]byte, error) {
	if err := r.db.CheckCertificate(ctx, id.Tenant, id.DeviceID, id.Serial, r.now()); err != nil {
		return nil, err
	}
	cert, chain, err := r.keys.IssueDevice(id.Tenant, id.DeviceID, key)
	if err != nil {
		return nil, err
	}
	return chain, r.db.AddCertificate(ctx, id.Tenant, state.Certificate{Serial: cert.Serial, DeviceID: id.DeviceID, NotBefore: r.now(), NotAfter: cert.NotAfter})
}

// Admit implements gateway.Registry.
func (r *registry) Admit(ctx context.Context, id pki.Identity, f *wirepb.Facts, addr string) (gateway.Admission, error) {
	var a gateway.Admission
	if err := r.db.CheckCertificate(ctx, id.Tenant, id.DeviceID, id.Serial, r.now()); err != nil {
		return a, err
	}
	before, err := r.db.Device(ctx, id.Tenant, id.DeviceID, r.now(), picket.HealthThresholds{})
	if err != nil {
		return a, err
	}
	x := facts(f, addr)
	if old := before.Host; old.MachineID != "" && x.Identity.MachineID != "" && old != x.Identity {
		r.log.Warn("a device's identity is used on another host", "tenant", id.Tenant, "device", id.DeviceID, "machine_id", x.Identity.MachineID)
		if err := r.Clash(ctx, id); err != nil {
			return a, err
		}
		x.Identity = state.HostIdentity{} // the first host stays on record
	}
	if err := r.db.UpdateDeviceFacts(ctx, id.Tenant, id.DeviceID, x); err != nil {
		return a, err
	}
	after, err := r.db.Device(ctx, id.Tenant, id.DeviceID, r.now(), picket.HealthThresholds{})
	if err != nil {
		return a, err
	}
	policy, err := r.db.SensorPolicy(ctx, id.Tenant)
	if err != nil {
		return a, err
	}
	r.notify.device(id.Tenant, id.DeviceID)
	return gateway.Admission{Name: after.Name, Group: after.Group, PolicyVersion: policy.Version, Policy: policy.JSON}, nil
}

// Health implements gateway.Registry.
func (r *registry) Health(ctx context.Context, id pki.Identity, instance uint64, h *wirepb.Health) ([]event.Row, error) {
	report := state.DeviceHealth{DeviceID: id.DeviceID, At: r.now(), Run: instance, Rung: h.Rung, Lost: lostEvents(h.Lost), KeepHooks: h.HooksUnchanged}
	if len(h.IpAddresses) > 0 {
		report.InternalIP = h.IpAddresses[0]
	}
	for _, k := range h.Hooks {
		report.Hooks = append(report.Hooks, picket.Hook{Kind: k.Kind, Rung: k.Rung, Attached: k.Attached, BlindSpot: k.BlindSpot, Error: k.Error})
	}
	if c := h.Clock; c != nil {
		report.Suspended = micros(c.SuspendedUs)
		if c.ChangedUs > 0 && c.ChangedUs <= h.TimeUs {
			report.ClockChanged = report.At.Add(-micros(uint64(h.TimeUs - c.ChangedUs)))
		}
	}
	if _, err := r.db.RecordHealth(ctx, id.Tenant, []state.DeviceHealth{report}); err != nil {
		return nil, err
	}
	r.notify.device(id.Tenant, id.DeviceID)
	fresh, err := r.freshNotes(ctx, id, instance, h.Notes)
	for _, n := range fresh {
		r.log.Info("sensor says", "tenant", id.Tenant, "device", id.DeviceID, "id", n.Id, "level", n.Level, "text", n.Text)
	}
	return noteRows(fresh, h.TimeUs, report.At), err
}

// details are classes that a sensor counts when a detail of an event is
// missing (a hash, what a process was called). The event itself is there.
var details = []string{"hash.", "cache.", "proc."}

// lostEvents leaves out classes that count missing details.
func lostEvents(lost map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for class, n := range lost {
		if !slices.ContainsFunc(details, func(d string) bool { return strings.HasPrefix(class, d) }) {
			out[class] = n
		}
	}
	return out
}

// Received implements gateway.Registry.
func (r *registry) Received(id pki.Identity, at time.Time, gap uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	devices := r.heard[id.Tenant]
	if devices == nil {
		devices = map[string]heard{}
		r.heard[id.Tenant] = devices
	}
	devices[id.DeviceID] = heard{at, devices[id.DeviceID].gap + gap}
}

// Clash implements gateway.Registry.
func (r *registry) Clash(ctx context.Context, id pki.Identity) error {
	return r.db.SetIdentityClash(ctx, id.Tenant, id.DeviceID, true)
}

// run writes what Received gathered, until ctx ends.
func (r *registry) run(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			r.flush(context.WithoutCancel(ctx))
			return nil
		case <-t.C:
			r.flush(ctx)
		}
	}
}

func (r *registry) flush(ctx context.Context) {
	r.mu.Lock()
	gathered := r.heard
	r.heard = map[string]map[string]heard{}
	r.mu.Unlock()
	for tenant, devices := range gathered {
		var touches []state.DeviceTouch
		for id, h := range devices {
			touches = append(touches, state.DeviceTouch{DeviceID: id, Telemetry: h.at})
			if h.gap == 0 {
				continue
			}
			if err := r.db.AddDeviceLost(ctx, tenant, id, map[string]int64{"batches": int64(h.gap)}); err != nil {
				r.log.Error("missing batches are not recorded", "tenant", tenant, "device", id, "batches", h.gap, "error", err)
			}
		}
		if err := r.db.TouchDevices(ctx, tenant, touches); err != nil {
			r.log.Error("times of devices are not recorded", "tenant", tenant, "error", err)
		}
		for _, touch := range touches {
			r.notify.timeline(tenant, touch.DeviceID)
			r.firstDevice(ctx, tenant, touch.DeviceID)
		}
	}
}

// firstDevice completes the set-up step when a device's events arrive.
func (r *registry) firstDevice(ctx context.Context, tenant, id string) {
	if r.notify.sensorDone(tenant) {
		return
	}
	d, err := r.db.Device(ctx, tenant, id, r.now(), picket.HealthThresholds{})
	if err != nil {
		r.log.Error("set-up step", "error", err)
		return
	}
	first, err := r.db.CompleteSetupStep(ctx, tenant, state.StepSensor, state.SetupStep{At: r.now(), DeviceID: id, DeviceName: d.Name})
	if err != nil {
		r.log.Error("set-up step", "error", err)
		return
	}
	r.notify.markSensorDone(tenant)
	if first {
		r.notify.setup(tenant)
	}
}

// auditor writes the gateway's entries into the audit log, and drops repeats
// within a second so that a rogue client cannot fill it.
type auditor struct {
	db  *state.DB
	log *slog.Logger

	mu   sync.Mutex
	last []string
	at   time.Time
}

// auditsPerSecond bounds what the gateway adds for one server.
const auditsPerSecond = 50

// Audit implements gateway.Auditor.
func (a *auditor) Audit(ctx context.Context, tenant string, e picket.AuditEntry) {
	key := tenant + " " + e.Action + " " + e.Target + " " + e.Address + " " + e.Detail["reason"]
	a.mu.Lock()
	if time.Since(a.at) > time.Second {
		a.at, a.last = time.Now(), nil
	}
	skip := len(a.last) >= auditsPerSecond || slices.Contains(a.last, key)
	if !skip {
		a.last = append(a.last, key)
	}
	a.mu.Unlock()
	if skip {
		return
	}
	e.Time = time.Now()
	if _, err := a.db.AppendAudit(ctx, tenant, e); err != nil {
		a.log.Error("audit entry is not written", "tenant", tenant, "action", e.Action, "error", err)
	}
}

// notifier tells browsers, through the bus, that something changed.
type notifier struct {
	publish func(subject string, data []byte) error
	log     *slog.Logger

	mu   sync.Mutex
	done map[string]bool // tenants whose first sensor was seen
}

// change is one notification.
type change struct {
	Event    string `json:"event"`
	ID       string `json:"id,omitempty"`
	DeviceID string `json:"deviceId,omitempty"`
}

// changeSubject is where the changes of a tenant are told.
func changeSubject(tenant string) string { return "ui." + tenant }

func (n *notifier) tell(tenant string, c change) {
	data, err := json.Marshal(c)
	if err == nil {
		err = n.publish(changeSubject(tenant), data)
	}
	if err != nil {
		n.log.Warn("browsers are not told of a change", "error", fmt.Sprint(err))
	}
}

func (n *notifier) device(tenant, id string) { n.tell(tenant, change{Event: "device", ID: id}) }
func (n *notifier) timeline(tenant, id string) {
	n.tell(tenant, change{Event: "timeline", DeviceID: id})
}
func (n *notifier) setup(tenant string) { n.tell(tenant, change{Event: "setup"}) }
func (n *notifier) alert(tenant, id, device string) {
	n.tell(tenant, change{Event: "alert", ID: id, DeviceID: device})
}

func (n *notifier) sensorDone(tenant string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done[tenant]
}

func (n *notifier) markSensorDone(tenant string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.done[tenant] = true
}
