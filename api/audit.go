// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/state"
)

// AuditPage is one part of the audit log, newest first.
type AuditPage struct {
	Items []picket.AuditEntry `json:"items"`
	Next  int64               `json:"next" doc:"Value of before for the next part; 0: this is the last."`
}

type auditInput struct {
	Before int64  `query:"before" minimum:"0"`
	Actor  string `query:"actor" maxLength:"64"`
	Action string `query:"action" maxLength:"64"`
	Limit  int    `query:"limit" minimum:"0" maximum:"1000"`
}

func (s *server) auditRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/audit", "list-audit", "Audit log", auth.ReadAudit), s.listAudit)
}

func (s *server) listAudit(ctx context.Context, in *auditInput) (*body[AuditPage], error) {
	page, err := s.Audit.Audit(ctx, who(ctx).Tenant, state.AuditQuery{Before: in.Before, Actor: in.Actor, Action: in.Action, Limit: in.Limit})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if in.Before == 0 {
		s.audit(ctx, "audit.read", "", picket.AuditSuccess, nil)
	}
	return &body[AuditPage]{AuditPage{list(page.Items), page.Next}}, nil
}
