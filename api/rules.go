// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket/auth"
)

// Rule is one detection rule as listed.
type Rule struct {
	ID          string   `json:"id"`
	Title       string   `json:"title"`
	Level       string   `json:"level"`
	Severity    string   `json:"severity"`
	Category    string   `json:"category"`
	Techniques  []string `json:"techniques"`
	Enabled     bool     `json:"enabled"`
	Author      string   `json:"author"`
	Description string   `json:"description"`
}

func (s *server) ruleRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/rules", "list-rules", "Detection rules", auth.ViewData), func(context.Context, *struct{}) (*body[[]Rule], error) {
		return &body[[]Rule]{list(s.Rules)}, nil
	})
}
