// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
)

// RoleState is the state of one part of the server.
type RoleState struct {
	Name   string `json:"name"`
	State  string `json:"state" enum:"ok,failed"`
	Detail string `json:"detail"`
}

// SensorCounts are numbers of devices by sensor health.
type SensorCounts struct {
	Active                            int64          `json:"active"`
	Inactive                          int64          `json:"inactive"`
	NoSensorData                      int64          `json:"noSensorData"`
	ImpairedCommunication             int64          `json:"impairedCommunication"`
	NoSensorDataImpairedCommunication int64          `json:"noSensorDataImpairedCommunication"`
	ActiveAlerts                      SeverityCounts `json:"activeAlerts" doc:"Of all devices."`
}

func (s *server) healthRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/health/sensors", "get-sensor-health", "Devices by sensor health", auth.ViewData), s.sensorHealth)
	huma.Register(api, op(http.MethodGet, "/health/service", "get-service-health", "State of the server's parts", auth.ViewData), s.serviceHealth)
}

func (s *server) sensorHealth(ctx context.Context, _ *struct{}) (*body[SensorCounts], error) {
	tenant := who(ctx).Tenant
	n, err := s.Devices.HealthCounts(ctx, tenant, s.Now(), picket.HealthThresholds{})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	a, err := s.Alerts.ActiveAlerts(ctx, tenant, "")
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &body[SensorCounts]{SensorCounts{
		n[picket.Active], n[picket.Inactive], n[picket.NoSensorData], n[picket.ImpairedCommunication], n[picket.NoSensorDataImpaired],
		SeverityCounts{a.High, a.Medium, a.Low, a.Informational},
	}}, nil
}

func (s *server) serviceHealth(ctx context.Context, _ *struct{}) (*body[[]RoleState], error) {
	return &body[[]RoleState]{list(s.Roles(ctx))}, nil
}

// healthz says that the process answers.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "ok", "version": picket.Version})
}

// readyz says whether all parts work.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	roles := s.Roles(r.Context())
	for _, x := range roles {
		if x.State != "ok" {
			status = http.StatusServiceUnavailable
		}
	}
	answer(w, status, map[string]any{"roles": roles})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
