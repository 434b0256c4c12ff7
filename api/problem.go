// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
)

var errDenied = fmt.Errorf("your role does not allow this: %w", picket.Denied)

// Problem is an error answer (RFC 9457).
type Problem struct {
	Title      string `json:"title"`
	Status     int    `json:"status"`
	Detail     string `json:"detail"`
	RequestID  string `json:"requestId"`
	retryAfter string
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	if p.retryAfter == "" {
		return nil
	}
	return http.Header{"Retry-After": {p.retryAfter}}
}

// statuses are the status codes of error kinds.
var statuses = []struct {
	kind   error
	status int
}{
	{picket.NotFound, http.StatusNotFound}, {picket.Invalid, http.StatusBadRequest}, {picket.Denied, http.StatusForbidden},
	{picket.Conflict, http.StatusConflict}, {picket.TooLarge, http.StatusRequestEntityTooLarge},
	{picket.Unavailable, http.StatusServiceUnavailable}, {picket.Canceled, http.StatusRequestTimeout},
}

// problem translates an error. Details of internal errors stay in the log.
func (s *server) problem(ctx context.Context, err error) *Problem {
	id, _ := ctx.Value(requestIDKey).(string)
	p := &Problem{Status: http.StatusInternalServerError, Detail: "internal error", RequestID: id}
	var limit *auth.LimitError
	switch {
	case errors.As(err, &limit):
		p.Status, p.Detail, p.retryAfter = http.StatusTooManyRequests, err.Error(), fmt.Sprint(int(limit.RetryAfter.Seconds())+1)
	case errors.Is(err, auth.ErrUnauthenticated):
		p.Status, p.Detail = http.StatusUnauthorized, "sign in first"
	default:
		for _, x := range statuses {
			if picket.Kind(err) == x.kind {
				p.Status, p.Detail = x.status, err.Error()
			}
		}
	}
	if p.Status == http.StatusInternalServerError {
		s.Log.Error("internal error", "request", id, "error", err)
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// fail is problem as the error of a handler; nil stays nil.
func (s *server) fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return s.problem(ctx, err)
}

// refusal is a refusal that the router made itself, such as a failed
// validation, with the id of its request.
type refusal struct {
	*huma.ErrorModel
	RequestID string `json:"requestId"`
}

// identify is a transformer that adds the id of the request to refusals.
func identify(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	id, _ := ctx.Context().Value(requestIDKey).(string)
	return &refusal{m, id}, nil
}

var _ huma.StatusError = (*Problem)(nil)
