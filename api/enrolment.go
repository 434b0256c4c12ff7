// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/state"
)

// EnrolmentTokens keeps the tokens that admit devices; *state.DB satisfies it.
type EnrolmentTokens interface {
	CreateEnrolmentToken(ctx context.Context, tenant string, t state.NewEnrolmentToken, now time.Time) (state.EnrolmentToken, error)
	EnrolmentTokens(ctx context.Context, tenant string) ([]state.EnrolmentToken, error)
	RevokeEnrolmentToken(ctx context.Context, tenant, id string, now time.Time) error
}

// EnrolmentToken is one token as listed; its secret is not kept.
type EnrolmentToken struct {
	ID        string     `json:"id"`
	Group     string     `json:"group"`
	Uses      int64      `json:"uses" doc:"Devices that may enrol."`
	Used      int64      `json:"used"`
	Created   time.Time  `json:"created"`
	CreatedBy string     `json:"createdBy"`
	Expires   time.Time  `json:"expires"`
	Revoked   *time.Time `json:"revoked"`
}

// NewEnrolmentToken is a token just made. Its text is shown this once.
type NewEnrolmentToken struct {
	ID             string    `json:"id"`
	Token          string    `json:"token"`
	InstallCommand string    `json:"installCommand" doc:"To paste into a root shell of the host to enrol."`
	Expires        time.Time `json:"expires"`
}

func (s *server) enrolmentRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/enrolment-tokens", "list-enrolment-tokens", "List enrolment tokens", auth.ManageEnrolment), s.listTokens)
	huma.Register(api, op(http.MethodPost, "/enrolment-tokens", "create-enrolment-token", "Make an enrolment token", auth.ManageEnrolment), s.createToken)
	huma.Register(api, op(http.MethodDelete, "/enrolment-tokens/{id}", "revoke-enrolment-token", "Revoke an enrolment token", auth.ManageEnrolment), s.revokeToken)
	huma.Register(api, op(http.MethodGet, "/downloads/sensor", "download-sensor", "The sensor for Linux", open), s.downloadSensor)
}

func (s *server) listTokens(ctx context.Context, _ *struct{}) (*body[[]EnrolmentToken], error) {
	found, err := s.Tokens.EnrolmentTokens(ctx, who(ctx).Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := &body[[]EnrolmentToken]{[]EnrolmentToken{}}
	for _, t := range found {
		out.Body = append(out.Body, EnrolmentToken{t.ID, t.Group, t.UsesAllowed, t.Uses, t.Created.UTC(), t.CreatedBy, t.Expires.UTC(), moment(t.Revoked)})
	}
	return out, nil
}

type createTokenInput struct {
	Body struct {
		Group string `json:"group,omitempty" maxLength:"128"`
		Uses  int64  `json:"uses,omitempty" minimum:"1" maximum:"100000" default:"1"`
		Hours int    `json:"hours,omitempty" minimum:"1" maximum:"8760" default:"24"`
	}
}

func (s *server) createToken(ctx context.Context, in *createTokenInput) (*body[NewEnrolmentToken], error) {
	p := who(ctx)
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, s.fail(ctx, err)
	}
	n := state.NewEnrolmentToken{Group: in.Body.Group, Uses: max(in.Body.Uses, 1), Expires: s.Now().Add(time.Duration(max(in.Body.Hours, 1)) * time.Hour), CreatedBy: p.User, SecretHash: state.HashSecret(secret[:])}
	t, err := s.Tokens.CreateEnrolmentToken(ctx, p.Tenant, n, s.Now())
	s.changed(ctx, "enrolment-token.create", t.ID, err, map[string]string{"group": n.Group, "uses": fmt.Sprint(n.Uses), "expires": stamp(n.Expires)})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	text := s.TokenText(p.Tenant, secret)
	return &body[NewEnrolmentToken]{NewEnrolmentToken{t.ID, text, s.installCommand(text), t.Expires.UTC()}}, nil
}

// installCommand downloads the sensor from this server and installs it. The
// token pins the gateway, so that only the download depends on this URL.
func (s *server) installCommand(token string) string {
	return fmt.Sprintf("curl -fsSL -o /tmp/picket-sensor \"%s%s/downloads/sensor?arch=$(dpkg --print-architecture)\" && chmod +x /tmp/picket-sensor && /tmp/picket-sensor install --server %s --token %s", s.PortalURL, base, s.Gateway, token)
}

func (s *server) revokeToken(ctx context.Context, in *ByID) (*struct{}, error) {
	err := s.Tokens.RevokeEnrolmentToken(ctx, who(ctx).Tenant, in.ID, s.Now())
	s.changed(ctx, "enrolment-token.revoke", in.ID, err, nil)
	return nil, s.fail(ctx, err)
}

type downloadInput struct {
	Arch string `query:"arch" enum:"amd64,arm64" default:"amd64"`
}

// downloadSensor needs no sign-in: the program is public, and hosts that
// install it have no account.
func (s *server) downloadSensor(ctx context.Context, in *downloadInput) (*huma.StreamResponse, error) {
	f, err := os.Open(filepath.Join(s.SensorDir, "picket-sensor-linux-"+in.Arch))
	if err != nil {
		return nil, s.fail(ctx, fmt.Errorf("this server has no sensor for linux/%s: %w", in.Arch, picket.NotFound))
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, s.fail(ctx, err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer f.Close()
		ctx.SetHeader("Content-Type", "application/octet-stream")
		ctx.SetHeader("Content-Disposition", `attachment; filename="picket-sensor"`)
		ctx.SetHeader("Content-Length", fmt.Sprint(info.Size()))
		if _, err := io.Copy(patient(ctx), f); err != nil {
			s.Log.Debug("download of the sensor ended early", "error", err)
		}
	}}, nil
}
