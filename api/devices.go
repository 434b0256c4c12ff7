// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/store"
)

// Devices reads and changes devices; *state.DB satisfies it.
type Devices interface {
	Device(ctx context.Context, tenant, id string, now time.Time, t picket.HealthThresholds) (state.Device, error)
	Devices(ctx context.Context, tenant string, q state.DeviceQuery, now time.Time) (state.DevicePage, error)
	HealthCounts(ctx context.Context, tenant string, now time.Time, t picket.HealthThresholds) (map[picket.HealthState]int64, error)
	RevokeDevice(ctx context.Context, tenant, id, reason string, now time.Time) ([]string, error)
	SetDeviceTags(ctx context.Context, tenant, id string, tags []string) error
	SetDeviceGroup(ctx context.Context, tenant, id, group string) error
}

// Device is one enrolled endpoint.
type Device struct {
	ID             string           `json:"id"`
	Name           string           `json:"name"`
	Group          string           `json:"group"`
	Tags           []string         `json:"tags"`
	OSPlatform     string           `json:"osPlatform"`
	OSDistribution string           `json:"osDistribution"`
	OSVersion      string           `json:"osVersion"`
	OSArchitecture string           `json:"osArchitecture"`
	KernelVersion  string           `json:"kernelVersion"`
	SensorVersion  string           `json:"sensorVersion"`
	InternalIP     string           `json:"internalIp"`
	ExternalIP     string           `json:"externalIp"`
	FirstSeen      time.Time        `json:"firstSeen"`
	LastSeen       *time.Time       `json:"lastSeen" doc:"Null: never since enrolment."`
	LastHeartbeat  *time.Time       `json:"lastHeartbeat"`
	LastTelemetry  *time.Time       `json:"lastTelemetry"`
	Health         string           `json:"health" enum:"Active,Inactive,NoSensorData,ImpairedCommunication,NoSensorDataImpairedCommunication"`
	HealthReason   string           `json:"healthReason" doc:"Why, in a sentence."`
	Risk           string           `json:"risk" enum:"None,Low,Medium,High"`
	ActiveAlerts   SeverityCounts   `json:"activeAlerts"`
	Rung           string           `json:"rung"`
	Hooks          []picket.Hook    `json:"hooks"`
	Lost           map[string]int64 `json:"lost" doc:"Events lost since enrolment, by class."`

	ConnectionState  string     `json:"connectionState" enum:"Connected,NeverConnected,Asleep,ShutDown,SensorStopped,Uninstalled,NetworkCut,HostGone"`
	ConnectionReason string     `json:"connectionReason" doc:"What that means, in a sentence."`
	LastSilence      *Silence   `json:"lastSilence" doc:"The last notable time in which nothing was heard of the device. Null: none."`
	ClockChanged     *time.Time `json:"clockChanged" doc:"When the clock of the host was last set by more than two seconds. Null: never that is known."`

	IdentityClash bool `json:"identityClash" doc:"Two hosts use this identity."`
	Offboarded    bool `json:"offboarded"`
}

// SeverityCounts are numbers of alerts.
type SeverityCounts struct {
	High          int64 `json:"high"`
	Medium        int64 `json:"medium"`
	Low           int64 `json:"low"`
	Informational int64 `json:"informational"`
}

// User is an account that used a device.
type User struct {
	Account      string    `json:"account"`
	Domain       string    `json:"domain"`
	LogonTypes   []string  `json:"logonTypes"`
	FirstSeen    time.Time `json:"firstSeen"`
	LastSeen     time.Time `json:"lastSeen"`
	DaysSeen     int       `json:"daysSeen"`
	IsLocalAdmin bool      `json:"isLocalAdmin"`
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// list makes nil an empty list, which JSON tells apart.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func (s *server) device(d state.Device) Device {
	lost := d.Lost
	if lost == nil {
		lost = map[string]int64{}
	}
	contact := d.Contact(s.Now())
	connection := contact.State()
	return Device{
		ConnectionState: string(connection), ConnectionReason: connectionText(connection, contact.Silent),
		LastSilence: silenceOf(d.Silence), ClockChanged: moment(d.ClockChanged),
		ID: d.ID, Name: d.Name, Group: d.Group, Tags: list(d.Tags), OSPlatform: d.OSPlatform, OSDistribution: d.OSDistribution, OSVersion: d.OSVersion,
		OSArchitecture: d.OSArchitecture, KernelVersion: d.KernelVersion, SensorVersion: d.SensorVersion, InternalIP: d.InternalIP, ExternalIP: d.ExternalIP,
		FirstSeen: d.FirstSeen.UTC(), LastSeen: moment(d.LastSeen()), LastHeartbeat: moment(d.LastHeartbeat), LastTelemetry: moment(d.LastTelemetry),
		Health: string(d.Health), HealthReason: healthReason(d, s.Now()), Risk: string(d.Risk),
		ActiveAlerts: SeverityCounts{d.Active.High, d.Active.Medium, d.Active.Low, d.Active.Informational},
		Rung:         d.Rung, Hooks: list(d.Hooks), Lost: lost, IdentityClash: d.IdentityClash, Offboarded: d.Offboarded,
	}
}

// healthReason explains a health state.
func healthReason(d state.Device, now time.Time) string {
	var off []string
	for _, h := range d.Hooks {
		if !h.Attached {
			off = append(off, h.Kind)
		}
	}
	switch d.Health {
	case picket.Active:
		return "Heartbeats and events arrive."
	case picket.Inactive:
		if d.LastSeen().IsZero() {
			return "The sensor has not reported since it was enrolled."
		}
		return fmt.Sprintf("Nothing was heard for %d days.", int(now.Sub(d.LastSeen()).Hours()/24))
	case picket.ImpairedCommunication:
		return "Events arrive, but the command channel is silent: commands may not reach the device. Run picket-sensor connectivity on it."
	}
	silent := ""
	if d.Health == picket.NoSensorDataImpaired {
		if now.Sub(d.LastTelemetry) > picket.DefaultHealthThresholds.NoTelemetry {
			return "For a day neither heartbeats nor events have arrived."
		}
		silent = " The command channel is silent: commands may not reach the device."
	}
	if len(off) > 0 {
		return "The sensor reports, but does not collect: " + strings.Join(off, ", ") + "." + silent
	}
	return "The sensor reports, but no events have arrived for a day."
}

// Periods that lists can be limited to.
var periods = map[string]time.Duration{"1d": 24 * time.Hour, "3d": 72 * time.Hour, "7d": 168 * time.Hour, "30d": 720 * time.Hour, "180d": 4320 * time.Hour}

func (s *server) since(period string) time.Time {
	if d, ok := periods[period]; ok {
		return s.Now().Add(-d)
	}
	return time.Time{}
}

type devicesInput struct {
	Q      string   `query:"q" maxLength:"200" doc:"Anywhere in name, id, addresses or tags."`
	OS     string   `query:"os" maxLength:"64"`
	Health []string `query:"health" doc:"Health states."`
	Risk   []string `query:"risk" doc:"Risk levels."`
	Group  string   `query:"group" maxLength:"128"`
	Tag    string   `query:"tag" maxLength:"128"`
	Period string   `query:"period" enum:"1d,3d,7d,30d,180d" doc:"Heard of within this time."`
	Sort   string   `query:"sort" maxLength:"32" doc:"name, health, risk, os, group, firstSeen, lastSeen, internalIp, activeAlerts; a minus before: descending."`
	Cursor string   `query:"cursor" maxLength:"512"`
	Limit  int      `query:"limit" minimum:"0" maximum:"1000"`
}

// Page is one part of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next" doc:"Cursor of the next part; empty: this is the last."`
	Total int64  `json:"total"`
}

type body[T any] struct{ Body T }

// ByID names one resource.
type ByID struct {
	ID string `path:"id" maxLength:"64"`
}

func (s *server) deviceRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/devices", "list-devices", "List devices", auth.ViewData), s.listDevices)
	huma.Register(api, op(http.MethodGet, "/devices.csv", "export-devices", "All devices as CSV", auth.ViewData), s.exportDevices)
	huma.Register(api, op(http.MethodGet, "/devices/{id}", "get-device", "One device", auth.ViewData), s.getDevice)
	huma.Register(api, op(http.MethodPatch, "/devices/{id}", "update-device", "Change tags or group of a device", auth.ManageDevices), s.updateDevice)
	huma.Register(api, op(http.MethodGet, "/devices/{id}/users", "list-device-users", "Accounts that used a device in 30 days", auth.ViewData), s.deviceUsers)
	huma.Register(api, op(http.MethodPost, "/devices/{id}/revoke", "revoke-device", "Revoke the identity of a device", auth.ManageDevices), s.revokeDevice)
}

func (in *devicesInput) query(s *server) state.DeviceQuery {
	q := state.DeviceQuery{Text: in.Q, OS: in.OS, Group: in.Group, Tag: in.Tag, SeenSince: s.since(in.Period), Sort: in.Sort, Cursor: in.Cursor, Limit: in.Limit}
	for _, h := range in.Health {
		q.Health = append(q.Health, picket.HealthState(h))
	}
	for _, r := range in.Risk {
		q.Risk = append(q.Risk, picket.RiskLevel(r))
	}
	return q
}

func (s *server) listDevices(ctx context.Context, in *devicesInput) (*body[Page[Device]], error) {
	page, err := s.Devices.Devices(ctx, who(ctx).Tenant, in.query(s), s.Now())
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := &body[Page[Device]]{Page[Device]{Items: []Device{}, Next: page.Next, Total: page.Total}}
	for _, d := range page.Items {
		out.Body.Items = append(out.Body.Items, s.device(d))
	}
	return out, nil
}

func (s *server) findDevice(ctx context.Context, id string) (state.Device, error) {
	return s.Devices.Device(ctx, who(ctx).Tenant, id, s.Now(), picket.HealthThresholds{})
}

func (s *server) getDevice(ctx context.Context, in *ByID) (*body[Device], error) {
	d, err := s.findDevice(ctx, in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &body[Device]{s.device(d)}, nil
}

type updateDeviceInput struct {
	ByID
	Body struct {
		Tags  *[]string `json:"tags,omitempty" maxItems:"50"`
		Group *string   `json:"group,omitempty" maxLength:"128"`
	}
}

func (s *server) updateDevice(ctx context.Context, in *updateDeviceInput) (*body[Device], error) {
	tenant := who(ctx).Tenant
	if t := in.Body.Tags; t != nil {
		err := s.Devices.SetDeviceTags(ctx, tenant, in.ID, *t)
		s.changed(ctx, "device.tags", in.ID, err, map[string]string{"tags": strings.Join(*t, ", ")})
		if err != nil {
			return nil, s.fail(ctx, err)
		}
	}
	if g := in.Body.Group; g != nil {
		err := s.Devices.SetDeviceGroup(ctx, tenant, in.ID, *g)
		s.changed(ctx, "device.group", in.ID, err, map[string]string{"group": *g})
		if err != nil {
			return nil, s.fail(ctx, err)
		}
	}
	s.Hub.Send(tenant, Change{Event: "device", ID: in.ID})
	return s.getDevice(ctx, &in.ByID)
}

func (s *server) deviceUsers(ctx context.Context, in *ByID) (*body[[]User], error) {
	if _, err := s.findDevice(ctx, in.ID); err != nil {
		return nil, s.fail(ctx, err)
	}
	ev, err := s.Events(who(ctx).Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	found, err := store.LoggedOnUsers(ctx, ev, in.ID, s.Now().AddDate(0, 0, -30))
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := &body[[]User]{[]User{}}
	for _, u := range found {
		out.Body = append(out.Body, User{u.Account, u.Domain, list(u.LogonTypes), u.FirstSeen, u.LastSeen, u.DaysSeen, u.LocalAdmin})
	}
	return out, nil
}

type revokeInput struct {
	ByID
	Body struct {
		Reason string `json:"reason" maxLength:"500"`
	}
}

func (s *server) revokeDevice(ctx context.Context, in *revokeInput) (*struct{}, error) {
	tenant := who(ctx).Tenant
	_, err := s.Devices.RevokeDevice(ctx, tenant, in.ID, in.Body.Reason, s.Now())
	s.changed(ctx, "device.revoke", in.ID, err, map[string]string{"reason": in.Body.Reason})
	if err == nil {
		s.RevokeDevice(tenant, in.ID)
		s.Hub.Send(tenant, Change{Event: "device", ID: in.ID})
	}
	return nil, s.fail(ctx, err)
}

func (s *server) exportDevices(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
	tenant := who(ctx).Tenant
	s.audit(ctx, "devices.export", "", picket.AuditSuccess, nil)
	return csvAnswer("devices.csv", func(w *csv.Writer) error {
		if err := w.Write([]string{"id", "name", "group", "tags", "os", "osVersion", "sensorVersion", "internalIp", "externalIp", "firstSeen", "lastSeen", "health", "connection", "risk", "high", "medium", "low", "informational"}); err != nil {
			return err
		}
		q := state.DeviceQuery{Limit: 500}
		for {
			page, err := s.Devices.Devices(ctx, tenant, q, s.Now())
			if err != nil {
				return err
			}
			for _, d := range page.Items {
				row := []string{d.ID, d.Name, d.Group, strings.Join(d.Tags, " "), d.OSDistribution, d.OSVersion, d.SensorVersion, d.InternalIP, d.ExternalIP, stamp(d.FirstSeen), stamp(d.LastSeen()), string(d.Health), string(d.Contact(s.Now()).State()), string(d.Risk),
					fmt.Sprint(d.Active.High), fmt.Sprint(d.Active.Medium), fmt.Sprint(d.Active.Low), fmt.Sprint(d.Active.Informational)}
				if err := w.Write(safe(row)); err != nil {
					return err
				}
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				return nil
			}
		}
	}, s.Log), nil
}
