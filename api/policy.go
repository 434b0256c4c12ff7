// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/state"
)

// SensorPolicies keeps what the sensors of a tenant shall do; *state.DB
// satisfies it.
type SensorPolicies interface {
	SensorPolicy(ctx context.Context, tenant string) (state.SensorPolicy, error)
	SetSensorPolicy(ctx context.Context, tenant string, policy []byte, read uint64) (uint64, error)
}

// SensorPolicy is the policy of a tenant's sensors. Its keys are described in
// docs/picket-sensor.md.
type SensorPolicy struct {
	Version uint64         `json:"version" doc:"0 until a policy is set. A change must name the version that it was made from."`
	Policy  map[string]any `json:"policy" doc:"An empty one means the defaults."`
}

func (s *server) policyRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/sensor-policy", "get-sensor-policy", "What the sensors collect, leave out, hide and may take", auth.ViewData), s.getPolicy)
	huma.Register(api, op(http.MethodPut, "/sensor-policy", "put-sensor-policy", "Change what the sensors collect, leave out, hide and may take", auth.ManageSettings), s.putPolicy)
}

func (s *server) getPolicy(ctx context.Context, _ *struct{}) (*body[SensorPolicy], error) {
	p, err := s.Policies.SensorPolicy(ctx, who(ctx).Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := SensorPolicy{Version: p.Version, Policy: map[string]any{}}
	if len(p.JSON) > 0 {
		if err := json.Unmarshal(p.JSON, &out.Policy); err != nil {
			return nil, s.fail(ctx, fmt.Errorf("sensor policy: %v: %w", err, picket.Internal))
		}
	}
	return &body[SensorPolicy]{out}, nil
}

type policyInput struct {
	Body SensorPolicy
}

// putPolicy checks a policy as sensors do, keeps it, and has connected sensors
// get it at once.
func (s *server) putPolicy(ctx context.Context, in *policyInput) (*body[SensorPolicy], error) {
	tenant := who(ctx).Tenant
	text, err := json.Marshal(in.Body.Policy)
	if err == nil {
		err = s.CheckPolicy(text)
	}
	if err == nil {
		_, err = s.Policies.SetSensorPolicy(ctx, tenant, text, in.Body.Version)
	}
	s.changed(ctx, "policy.update", tenant, err, map[string]string{"from": strconv.FormatUint(in.Body.Version, 10)})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	s.PolicyChanged(tenant)
	return s.getPolicy(ctx, nil)
}
