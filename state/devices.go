// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// Limits of what a sensor may say about itself. More is cut off.
const (
	maxFact    = 255
	maxHooks   = 64
	maxClasses = 64 // classes of lost events
	maxTags    = 50
	maxTag     = 100
)

type deviceRow struct {
	bun.BaseModel  `bun:"table:devices"`
	Tenant         string `bun:"tenant,pk"`
	ID             string `bun:"id,pk"`
	Name           string
	DeviceGroup    string
	OSPlatform     string `bun:"os_platform"`
	OSDistribution string `bun:"os_distribution"`
	OSVersion      string `bun:"os_version"`
	OSArchitecture string `bun:"os_architecture"`
	KernelVersion  string
	SensorVersion  string
	InternalIP     string `bun:"internal_ip"`
	InternalIPKey  string `bun:"internal_ip_key"`
	ExternalIP     string `bun:"external_ip"`
	FirstSeen      int64
	LastHeartbeat  int64
	LastTelemetry  int64
	Offboarded     bool
	IdentityClash  bool
	BootID         string
	MachineID      string
	HardwareUUID   string `bun:"hardware_uuid"`
	Rung           string
	Hooks          string
	HooksMissing   bool
	Lost           string
	Run            string
	RunLost        string
	Live           bool
	Farewell       string
	LeftAt         int64
	ContactRun     string
	ContactBoot    string
	Suspended      int64
	SilenceFrom    int64
	SilenceTo      int64
	SilenceReason  string
	ClockChanged   int64
	NoteRun        string
	NoteNumber     int64
}

func (r *deviceRow) device() (picket.Device, error) {
	d := picket.Device{
		ID: r.ID, Tenant: r.Tenant, Name: r.Name, Group: r.DeviceGroup,
		OSPlatform: r.OSPlatform, OSDistribution: r.OSDistribution, OSVersion: r.OSVersion, OSArchitecture: r.OSArchitecture,
		KernelVersion: r.KernelVersion, SensorVersion: r.SensorVersion, InternalIP: r.InternalIP, ExternalIP: r.ExternalIP,
		FirstSeen: at(r.FirstSeen), LastHeartbeat: at(r.LastHeartbeat), LastTelemetry: at(r.LastTelemetry),
		Offboarded: r.Offboarded, IdentityClash: r.IdentityClash, BootID: r.BootID, Rung: r.Rung,
		Live: r.Live, Farewell: picket.Farewell(r.Farewell), LeftAt: at(r.LeftAt), ClockChanged: at(r.ClockChanged),
		Silence: picket.Silence{From: at(r.SilenceFrom), To: at(r.SilenceTo), Reason: picket.ConnectionState(r.SilenceReason)},
	}
	if err := json.Unmarshal([]byte(r.Hooks), &d.Hooks); err != nil {
		return d, fmt.Errorf("hooks of device %s: %v: %w", r.ID, err, picket.Internal)
	}
	if err := json.Unmarshal([]byte(r.Lost), &d.Lost); err != nil {
		return d, fmt.Errorf("lost counters of device %s: %v: %w", r.ID, err, picket.Internal)
	}
	return d, nil
}

// HostIdentity is what tells one host from another when both present the same
// device identity. The sensor claims it.
type HostIdentity struct {
	MachineID    string
	HardwareUUID string
}

// DeviceFacts are a sensor's claims about its host. Empty fields leave what
// is known.
type DeviceFacts struct {
	Name           string
	OSPlatform     string
	OSDistribution string
	OSVersion      string
	OSArchitecture string
	KernelVersion  string
	SensorVersion  string
	InternalIP     string
	ExternalIP     string // seen by the gateway, not claimed
	BootID         string
	Identity       HostIdentity
}

// apply puts facts into a row, within the limits.
func (f DeviceFacts) apply(r *deviceRow) {
	for _, x := range []struct {
		to   *string
		from string
	}{
		{&r.Name, strings.ToLower(f.Name)}, {&r.OSPlatform, f.OSPlatform}, {&r.OSDistribution, f.OSDistribution},
		{&r.OSVersion, f.OSVersion}, {&r.OSArchitecture, f.OSArchitecture}, {&r.KernelVersion, f.KernelVersion},
		{&r.SensorVersion, f.SensorVersion}, {&r.InternalIP, f.InternalIP}, {&r.ExternalIP, f.ExternalIP},
		{&r.BootID, f.BootID}, {&r.MachineID, f.Identity.MachineID}, {&r.HardwareUUID, f.Identity.HardwareUUID},
	} {
		if v := oneLine(x.from, maxFact); v != "" {
			*x.to = v
		}
	}
	r.InternalIPKey = addressKey(r.InternalIP)
}

// addressKey spells an address so that text order is the order of addresses,
// IPv4 before IPv6; what is no address comes last.
func addressKey(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return "~" + s
	}
	b := a.As16()
	prefix := "6"
	if a.Is4() || a.Is4In6() {
		prefix = "4"
	}
	return fmt.Sprintf("%s%x", prefix, b)
}

// CreateDevice adds a device at its enrolment. Its id was made by the server
// (NewDeviceID); an id that is there already is a Conflict.
func (db *DB) CreateDevice(ctx context.Context, tenant string, d picket.Device, host HostIdentity) error {
	return db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		return db.createDevice(ctx, tx, tenant, d, host)
	})
}

func (db *DB) createDevice(ctx context.Context, tx bun.Tx, tenant string, d picket.Device, host HostIdentity) error {
	if !picket.ValidDeviceID(d.ID) {
		return fmt.Errorf("device id %.50q: %w", d.ID, picket.Invalid)
	}
	row := &deviceRow{
		Tenant: tenant, ID: d.ID, DeviceGroup: oneLine(d.Group, maxName), FirstSeen: micros(d.FirstSeen),
		LastHeartbeat: micros(d.LastHeartbeat), LastTelemetry: micros(d.LastTelemetry),
		Rung: oneLine(d.Rung, maxFact), Lost: "{}", RunLost: "{}",
	}
	DeviceFacts{
		Name: d.Name, OSPlatform: d.OSPlatform, OSDistribution: d.OSDistribution, OSVersion: d.OSVersion,
		OSArchitecture: d.OSArchitecture, KernelVersion: d.KernelVersion, SensorVersion: d.SensorVersion,
		InternalIP: d.InternalIP, ExternalIP: d.ExternalIP, BootID: d.BootID, Identity: host,
	}.apply(row)
	if err := row.setHooks(d.Hooks); err != nil {
		return err
	}
	if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
		return fmt.Errorf("create device %s: %w", d.ID, fault(err))
	}
	return nil
}

// setHooks puts the hooks into a row, within the limits.
func (r *deviceRow) setHooks(hooks []picket.Hook) error {
	kept := make([]picket.Hook, 0, min(len(hooks), maxHooks))
	r.HooksMissing = false
	for _, h := range hooks[:min(len(hooks), maxHooks)] {
		kept = append(kept, picket.Hook{
			Kind: oneLine(h.Kind, maxFact), Rung: oneLine(h.Rung, maxFact), Attached: h.Attached,
			BlindSpot: oneLine(h.BlindSpot, 1000), Error: oneLine(h.Error, 1000),
		})
		r.HooksMissing = r.HooksMissing || !h.Attached
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("hooks: %v: %w", err, picket.Internal)
	}
	r.Hooks = string(b)
	return nil
}

// updateDevice changes the named columns of one device under lock; without
// columns it only locks it.
func (db *DB) updateDevice(ctx context.Context, tx bun.Tx, tenant, id string, change func(*deviceRow) error, columns ...string) error {
	var row deviceRow
	if err := db.lock(tx.NewSelect().Model(&row).Where("tenant = ?", tenant).Where("id = ?", id)).Scan(ctx); err != nil {
		return err
	}
	if err := change(&row); err != nil || len(columns) == 0 {
		return err
	}
	_, err := tx.NewUpdate().Model(&row).Column(columns...).Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
	return err
}

// UpdateDeviceFacts records what a sensor says about its host.
func (db *DB) UpdateDeviceFacts(ctx context.Context, tenant, id string, f DeviceFacts) error {
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		return db.updateDevice(ctx, tx, tenant, id, func(r *deviceRow) error { f.apply(r); return nil },
			"name", "os_platform", "os_distribution", "os_version", "os_architecture", "kernel_version", "sensor_version",
			"internal_ip", "internal_ip_key", "external_ip", "boot_id", "machine_id", "hardware_uuid")
	})
	if err != nil {
		return fmt.Errorf("update facts of device %s: %w", id, err)
	}
	return nil
}

// DeviceHealth is one report of a sensor about itself.
type DeviceHealth struct {
	DeviceID   string
	At         time.Time // of the server
	Run        uint64    // random per run of the sensor
	Rung       string
	Hooks      []picket.Hook
	KeepHooks  bool              // Hooks says nothing: those of the report before still hold
	Lost       map[string]uint64 // events lost since that run began, by class
	InternalIP string

	Suspended    time.Duration // that the host has slept in this boot
	ClockChanged time.Time     // when its clock was set, by the server's; zero: not in this run
}

// RecordHealth stores reports of any number of devices in one transaction:
// heartbeat, hooks and lost events. Counters of a sensor start at zero with
// each run; what is kept is the sum since enrolment, and a report that comes
// twice counts once. It returns how many of the devices are known.
func (db *DB) RecordHealth(ctx context.Context, tenant string, reports []DeviceHealth) (int, error) {
	known := 0
	reports = slices.Clone(reports)
	slices.SortStableFunc(reports, func(a, b DeviceHealth) int { return strings.Compare(a.DeviceID, b.DeviceID) })
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		known = 0
		for _, h := range reports {
			err := db.updateDevice(ctx, tx, tenant, h.DeviceID, h.apply,
				"last_heartbeat", "rung", "hooks", "hooks_missing", "lost", "run", "run_lost", "internal_ip", "internal_ip_key",
				"suspended", "clock_changed")
			switch {
			case err == nil:
				known++
			case picket.Kind(fault(err)) != picket.NotFound:
				return fmt.Errorf("device %s: %w", h.DeviceID, err)
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("record health: %w", err)
	}
	return known, nil
}

// apply puts a report into a row.
func (h DeviceHealth) apply(r *deviceRow) error {
	r.LastHeartbeat = max(r.LastHeartbeat, micros(h.At))
	r.Rung = oneLine(h.Rung, maxFact)
	DeviceFacts{InternalIP: h.InternalIP}.apply(r)
	r.Suspended, r.ClockChanged = max(r.Suspended, h.Suspended.Microseconds()), max(r.ClockChanged, micros(h.ClockChanged))
	if !h.KeepHooks {
		if err := r.setHooks(h.Hooks); err != nil {
			return err
		}
	}
	var before map[string]uint64
	run := strconv.FormatUint(h.Run, 10)
	if run == r.Run {
		if err := json.Unmarshal([]byte(r.RunLost), &before); err != nil {
			return fmt.Errorf("lost counters: %v: %w", err, picket.Internal)
		}
	}
	total := make(map[string]int64)
	now := make(map[string]uint64)
	for class, n := range h.Lost {
		class = oneLine(class, maxFact)
		if len(now) >= maxClasses || n > math.MaxInt64 {
			continue
		}
		now[class] = max(n, before[class])
		total[class] = int64(now[class] - before[class])
	}
	for class, n := range before { // a class that a report leaves out has not gone back to zero
		if _, ok := now[class]; !ok && len(now) < maxClasses {
			now[class] = n
		}
	}
	b, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("lost counters: %v: %w", err, picket.Internal)
	}
	r.Run, r.RunLost = run, string(b)
	return r.addLost(total)
}

// addLost adds to the sums since enrolment.
func (r *deviceRow) addLost(more map[string]int64) error {
	lost := map[string]int64{}
	if err := json.Unmarshal([]byte(r.Lost), &lost); err != nil {
		return fmt.Errorf("lost counters: %v: %w", err, picket.Internal)
	}
	for class, n := range more {
		class = oneLine(class, maxFact)
		if _, ok := lost[class]; n <= 0 || (!ok && len(lost) >= 2*maxClasses) {
			continue
		}
		if lost[class] > math.MaxInt64-n {
			n = math.MaxInt64 - lost[class]
		}
		lost[class] += n
	}
	b, err := json.Marshal(lost)
	if err != nil {
		return fmt.Errorf("lost counters: %v: %w", err, picket.Internal)
	}
	r.Lost = string(b)
	return nil
}

// AddDeviceLost adds events that the server found missing, by class.
func (db *DB) AddDeviceLost(ctx context.Context, tenant, id string, lost map[string]int64) error {
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		return db.updateDevice(ctx, tx, tenant, id, func(r *deviceRow) error { return r.addLost(lost) }, "lost")
	})
	if err != nil {
		return fmt.Errorf("add lost events of device %s: %w", id, err)
	}
	return nil
}

// DeviceTouch says when a device was last heard of; zero leaves a channel as
// it is.
type DeviceTouch struct {
	DeviceID  string
	Heartbeat time.Time
	Telemetry time.Time
}

// TouchDevices moves the times of many devices forward by one statement per
// 500 of them. Times never move back; unknown devices are left out.
func (db *DB) TouchDevices(ctx context.Context, tenant string, touches []DeviceTouch) error {
	latest := map[string]DeviceTouch{} // one row of VALUES a device
	for _, t := range touches {
		l := latest[t.DeviceID]
		l.DeviceID = t.DeviceID
		if t.Heartbeat.After(l.Heartbeat) {
			l.Heartbeat = t.Heartbeat
		}
		if t.Telemetry.After(l.Telemetry) {
			l.Telemetry = t.Telemetry
		}
		latest[t.DeviceID] = l
	}
	touches = touches[:0:0]
	for _, l := range latest {
		touches = append(touches, l)
	}
	slices.SortFunc(touches, func(a, b DeviceTouch) int { return strings.Compare(a.DeviceID, b.DeviceID) })
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		for part := range slices.Chunk(touches, 500) {
			var args []any
			for _, t := range part {
				args = append(args, t.DeviceID, micros(t.Heartbeat), micros(t.Telemetry))
			}
			values := strings.TrimSuffix(strings.Repeat("(?, ?, ?), ", len(part)), ", ")
			_, err := tx.NewRaw(`UPDATE devices SET
				last_heartbeat = CASE WHEN v.column2 > last_heartbeat THEN v.column2 ELSE last_heartbeat END,
				last_telemetry = CASE WHEN v.column3 > last_telemetry THEN v.column3 ELSE last_telemetry END
				FROM (VALUES `+values+`) AS v WHERE devices.id = v.column1 AND devices.tenant = ?`, append(args, tenant)...).Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("touch devices: %w", err)
	}
	return nil
}

// SetIdentityClash marks or clears that two hosts present one identity.
func (db *DB) SetIdentityClash(ctx context.Context, tenant, id string, clash bool) error {
	res, err := db.w.NewUpdate().Table("devices").Set("identity_clash = ?", clash).
		Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
	return changedOne("mark identity of device "+id, res, err)
}

// SetDeviceGroup moves a device to another group.
func (db *DB) SetDeviceGroup(ctx context.Context, tenant, id, group string) error {
	res, err := db.w.NewUpdate().Table("devices").Set("device_group = ?", oneLine(group, maxName)).
		Where("tenant = ?", tenant).Where("id = ?", id).Exec(ctx)
	return changedOne("move device "+id, res, err)
}

// SetDeviceTags replaces the tags of a device.
func (db *DB) SetDeviceTags(ctx context.Context, tenant, id string, tags []string) error {
	type tagRow struct {
		bun.BaseModel `bun:"table:device_tags"`
		Tenant        string
		DeviceID      string
		Tag           string
	}
	seen := map[string]bool{}
	var rows []tagRow
	for _, t := range tags {
		tag := oneLine(t, maxTag)
		if tag == "" || tag != strings.TrimSpace(t) {
			return fmt.Errorf("tag %.50q: use 1 to %d printable characters: %w", t, maxTag, picket.Invalid)
		}
		if !seen[tag] {
			seen[tag] = true
			rows = append(rows, tagRow{Tenant: tenant, DeviceID: id, Tag: tag})
		}
	}
	if len(rows) > maxTags {
		return fmt.Errorf("%d tags: a device has at most %d: %w", len(rows), maxTags, picket.Invalid)
	}
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := db.updateDevice(ctx, tx, tenant, id, func(*deviceRow) error { return nil }); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Table("device_tags").Where("tenant = ?", tenant).Where("device_id = ?", id).Exec(ctx); err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		_, err := tx.NewInsert().Model(&rows).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("set tags of device %s: %w", id, err)
	}
	return nil
}

// DevicesOfHost lists the ids of the devices whose sensor claimed to run on a
// host, to notice clones and reinstallations.
func (db *DB) DevicesOfHost(ctx context.Context, tenant, machineID string) ([]string, error) {
	var ids []string
	err := db.r.NewSelect().Table("devices").Column("id").Where("tenant = ?", tenant).
		Where("machine_id = ?", oneLine(machineID, maxFact)).OrderExpr("first_seen, id").Limit(MaxLimit).Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("devices of host: %w", fault(err))
	}
	return ids, nil
}
