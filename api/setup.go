// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/state"
)

// Setup reads and changes the settings of a tenant; *state.DB satisfies it.
type Setup interface {
	Tenant(ctx context.Context, id string) (picket.Tenant, error)
	UpdateTenant(ctx context.Context, id string, u state.TenantUpdate) (picket.Tenant, error)
	SetupSteps(ctx context.Context, tenant string) (map[string]state.SetupStep, error)
}

// SetupState is how far the first-run set-up is.
type SetupState struct {
	Done          bool   `json:"done"`
	Organisation  string `json:"organisation"`
	RetentionDays int    `json:"retentionDays" minimum:"30" maximum:"180"`
	Steps         struct {
		Sensor        SetupStep `json:"sensor"`
		DetectionTest SetupStep `json:"detectionTest"`
	} `json:"steps"`
	DetectionTest struct {
		Command string `json:"command" doc:"To paste into a terminal of a device."`
	} `json:"detectionTest"`
}

// SetupStep is one step that completes by itself.
type SetupStep struct {
	Complete   bool       `json:"complete"`
	At         *time.Time `json:"at"`
	DeviceID   string     `json:"deviceId"`
	DeviceName string     `json:"deviceName"`
	AlertID    string     `json:"alertId"`
}

func (s *server) setupRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/setup", "get-setup", "State of the first-run set-up, and the organisation's settings", auth.ViewData), s.getSetup)
	huma.Register(api, op(http.MethodPut, "/setup", "put-setup", "Change the organisation's settings", auth.ManageSettings), s.putSetup)
}

func (s *server) getSetup(ctx context.Context, _ *struct{}) (*body[SetupState], error) {
	tenant := who(ctx).Tenant
	t, err := s.Setup.Tenant(ctx, tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	steps, err := s.Setup.SetupSteps(ctx, tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := &body[SetupState]{SetupState{Done: t.SetupDone, Organisation: t.Name, RetentionDays: int(t.Retention / (24 * time.Hour))}}
	out.Body.DetectionTest.Command = s.DetectionTest
	for name, to := range map[string]*SetupStep{state.StepSensor: &out.Body.Steps.Sensor, state.StepDetectionTest: &out.Body.Steps.DetectionTest} {
		if x, ok := steps[name]; ok {
			*to = SetupStep{true, moment(x.At), x.DeviceID, x.DeviceName, x.AlertID}
		}
	}
	return out, nil
}

type setupInput struct {
	Body struct {
		Organisation  *string `json:"organisation,omitempty" minLength:"1" maxLength:"200"`
		RetentionDays *int    `json:"retentionDays,omitempty" minimum:"30" maximum:"180"`
		Done          *bool   `json:"done,omitempty"`
	}
}

func (s *server) putSetup(ctx context.Context, in *setupInput) (*body[SetupState], error) {
	tenant := who(ctx).Tenant
	u := state.TenantUpdate{Name: in.Body.Organisation, SetupDone: in.Body.Done}
	detail := map[string]string{}
	if n := in.Body.Organisation; n != nil {
		detail["organisation"] = *n
	}
	if d := in.Body.RetentionDays; d != nil {
		r := time.Duration(*d) * 24 * time.Hour
		u.Retention, detail["retentionDays"] = &r, fmt.Sprint(*d)
	}
	_, err := s.Setup.UpdateTenant(ctx, tenant, u)
	s.changed(ctx, "settings.update", tenant, err, detail)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	s.Hub.Send(tenant, Change{Event: "setup"})
	return s.getSetup(ctx, nil)
}
