// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"testing"
)

func TestSensorPolicy(t *testing.T) {
	w := newWorld(t)
	b := w.admin()
	var p SensorPolicy
	b.want(200, http.MethodGet, portal+"/sensor-policy", nil, &p)
	if p.Version != 0 || len(p.Policy) != 0 {
		t.Errorf("before the first: %+v", p)
	}
	change := func(version int, policy map[string]any) map[string]any {
		return map[string]any{"version": version, "policy": policy}
	}
	b.want(400, http.MethodPut, portal+"/sensor-policy", change(0, map[string]any{"nonsense": 1}), nil)
	b.want(200, http.MethodPut, portal+"/sensor-policy", change(0, map[string]any{"healthSeconds": 20}), &p)
	if p.Version != 1 || p.Policy["healthSeconds"] != 20.0 {
		t.Errorf("after the change: %+v", p)
	}
	b.want(409, http.MethodPut, portal+"/sensor-policy", change(0, map[string]any{}), nil) // made from an older one
	if len(w.policies) != 1 || w.policies[0] != "default" {
		t.Errorf("sent to %v", w.policies)
	}
}
