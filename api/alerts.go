// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/store"
)

// Alerts reads and changes the queue; *state.DB satisfies it.
type Alerts interface {
	Alert(ctx context.Context, tenant, id string) (state.Alert, error)
	Alerts(ctx context.Context, tenant string, q state.AlertQuery) (state.AlertPage, error)
	UpdateAlert(ctx context.Context, tenant, id string, u state.AlertUpdate, by string, now time.Time) (state.Alert, error)
	UpdateAlerts(ctx context.Context, tenant string, ids []string, u state.AlertUpdate, by string, now time.Time) error
	ActiveAlerts(ctx context.Context, tenant, deviceID string) (picket.AlertCounts, error)
}

// Alert is one finding on one device.
type Alert struct {
	ID              string            `json:"id"`
	Title           string            `json:"title"`
	Description     string            `json:"description"`
	Recommended     string            `json:"recommended"`
	Severity        string            `json:"severity" enum:"Informational,Low,Medium,High"`
	Category        string            `json:"category"`
	Techniques      []string          `json:"techniques" doc:"ATT&CK ids."`
	RuleID          string            `json:"ruleId"`
	RuleAuthor      string            `json:"ruleAuthor"`
	DetectionSource string            `json:"detectionSource"`
	Status          string            `json:"status" enum:"New,InProgress,Resolved"`
	Classification  string            `json:"classification"`
	Determination   string            `json:"determination"`
	AssignedTo      string            `json:"assignedTo"`
	DeviceID        string            `json:"deviceId"`
	DeviceName      string            `json:"deviceName"`
	User            string            `json:"user"`
	FirstActivity   time.Time         `json:"firstActivity"`
	LastActivity    time.Time         `json:"lastActivity"`
	Created         time.Time         `json:"created"`
	Updated         time.Time         `json:"updated"`
	Count           int64             `json:"count" doc:"Events folded into this alert."`
	ProcessGUID     string            `json:"processGuid"`
	EvidenceLost    int64             `json:"evidenceLost" doc:"Events known to be missing around this alert."`
	Losses          []Gap             `json:"losses" doc:"What is known to be missing from one minute before the first event to the last. Lists leave it out."`
	LossesUnknown   bool              `json:"lossesUnknown" doc:"The event store could not be asked what is missing."`
	Revision        int64             `json:"revision" doc:"To send back with a change, so that two people do not overwrite each other."`
	Evidence        []picket.Evidence `json:"evidence"`
	Comments        []picket.Comment  `json:"comments"`
}

func alertOf(a state.Alert) Alert {
	return Alert{
		ID: a.ID, Title: a.Title, Description: a.Description, Recommended: a.Recommended, Severity: string(a.Severity), Category: a.Category,
		Techniques: list(a.Techniques), RuleID: a.RuleID, RuleAuthor: a.RuleAuthor, DetectionSource: a.DetectionSource, Status: string(a.Status),
		Classification: string(a.Classification), Determination: a.Determination, AssignedTo: a.AssignedTo, DeviceID: a.DeviceID, DeviceName: a.DeviceName,
		User: a.User, FirstActivity: a.FirstActivity.UTC(), LastActivity: a.LastActivity.UTC(), Created: a.Created.UTC(), Updated: a.Updated.UTC(),
		Count: a.Count, ProcessGUID: a.ProcessGUID, EvidenceLost: a.EvidenceLost, Losses: []Gap{}, Revision: a.Revision, Evidence: list(a.Evidence), Comments: list(a.Comments),
	}
}

// AlertFilter chooses alerts.
type AlertFilter struct {
	Status   []string `query:"status" doc:"New, InProgress, Resolved."`
	Severity []string `query:"severity"`
	Category []string `query:"category"`
	Source   []string `query:"source"`
	Device   string   `query:"device" maxLength:"64"`
	User     string   `query:"user" maxLength:"128"`
	Assigned string   `query:"assigned" maxLength:"64" doc:"A user, me, or none."`
	Q        string   `query:"q" maxLength:"200"`
	Period   string   `query:"period" enum:"1d,3d,7d,30d,180d"`
	Sort     string   `query:"sort" maxLength:"32"`
	Cursor   string   `query:"cursor" maxLength:"512"`
	Limit    int      `query:"limit" minimum:"0" maximum:"1000"`
}

// AlertChange is what a person changes; what is absent stays.
type AlertChange struct {
	Status         *string `json:"status,omitempty" enum:"New,InProgress,Resolved"`
	Classification *string `json:"classification,omitempty" enum:",TruePositive,FalsePositive"`
	Determination  *string `json:"determination,omitempty" maxLength:"64"`
	AssignedTo     *string `json:"assignedTo,omitempty" maxLength:"64"`
	Comment        string  `json:"comment,omitempty" maxLength:"4000"`
	Revision       int64   `json:"revision,omitempty" doc:"That the person saw; absent: change whatever is there."`
}

func (c AlertChange) update() state.AlertUpdate {
	u := state.AlertUpdate{Determination: c.Determination, AssignedTo: c.AssignedTo, Comment: c.Comment, Revision: c.Revision}
	if c.Status != nil {
		st := picket.AlertStatus(*c.Status)
		u.Status = &st
	}
	if c.Classification != nil {
		cl := picket.Classification(*c.Classification)
		u.Classification = &cl
	}
	return u
}

// detail is what the audit log keeps of a change.
func (c AlertChange) detail() map[string]string {
	d := map[string]string{}
	for name, v := range map[string]*string{"status": c.Status, "classification": c.Classification, "determination": c.Determination, "assignedTo": c.AssignedTo} {
		if v != nil {
			d[name] = *v
		}
	}
	if c.Comment != "" {
		d["comment"] = c.Comment
	}
	return d
}

func (s *server) alertRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/alerts", "list-alerts", "List alerts", auth.ViewData), s.listAlerts)
	huma.Register(api, op(http.MethodGet, "/alerts/{id}", "get-alert", "One alert with evidence and history", auth.ViewData), s.getAlert)
	huma.Register(api, op(http.MethodPatch, "/alerts/{id}", "update-alert", "Change an alert", auth.ManageAlerts), s.updateAlert)
	huma.Register(api, op(http.MethodPost, "/alerts/batch", "update-alerts", "Change several alerts, all or none", auth.ManageAlerts), s.updateAlerts)
	huma.Register(api, op(http.MethodGet, "/devices/{id}/alerts", "list-device-alerts", "Alerts of a device", auth.ViewData), s.deviceAlerts)
}

func (in *AlertFilter) query(ctx context.Context, s *server) state.AlertQuery {
	q := state.AlertQuery{Text: in.Q, Category: in.Category, Source: in.Source, DeviceID: in.Device, User: in.User, ActiveSince: s.since(in.Period), Sort: in.Sort, Cursor: in.Cursor, Limit: in.Limit}
	for _, x := range in.Status {
		q.Status = append(q.Status, picket.AlertStatus(x))
	}
	for _, x := range in.Severity {
		q.Severity = append(q.Severity, picket.Severity(x))
	}
	if in.Assigned != "" {
		a := in.Assigned
		switch a {
		case "me":
			a = who(ctx).User
		case "none":
			a = ""
		}
		q.AssignedTo = &a
	}
	return q
}

func (s *server) alertPage(ctx context.Context, q state.AlertQuery) (*body[Page[Alert]], error) {
	page, err := s.Alerts.Alerts(ctx, who(ctx).Tenant, q)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := &body[Page[Alert]]{Page[Alert]{Items: []Alert{}, Next: page.Next, Total: page.Total}}
	for _, a := range page.Items {
		out.Body.Items = append(out.Body.Items, alertOf(a))
	}
	return out, nil
}

func (s *server) listAlerts(ctx context.Context, in *AlertFilter) (*body[Page[Alert]], error) {
	return s.alertPage(ctx, in.query(ctx, s))
}

func (s *server) deviceAlerts(ctx context.Context, in *struct {
	ByID
	AlertFilter
}) (*body[Page[Alert]], error) {
	if _, err := s.findDevice(ctx, in.ID); err != nil {
		return nil, s.fail(ctx, err)
	}
	q := in.query(ctx, s)
	q.DeviceID = in.ID
	return s.alertPage(ctx, q)
}

func (s *server) getAlert(ctx context.Context, in *ByID) (*body[Alert], error) {
	a, err := s.Alerts.Alert(ctx, who(ctx).Tenant, in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := &body[Alert]{alertOf(a)}
	out.Body.Losses, err = s.alertLosses(ctx, a)
	if err != nil {
		s.Log.WarnContext(ctx, "losses around an alert are not known", "alert", a.ID, "error", err)
		out.Body.LossesUnknown = true
	}
	return out, nil
}

// lossLead is how long before the first event of an alert a loss matters to it.
const lossLead = time.Minute

// alertLosses returns what is known to be missing of the events around an alert.
func (s *server) alertLosses(ctx context.Context, a state.Alert) ([]Gap, error) {
	ev, err := s.Events(who(ctx).Tenant)
	if err != nil {
		return []Gap{}, err
	}
	found, err := store.Losses(ctx, ev, a.DeviceID, a.FirstActivity.Add(-lossLead), a.LastActivity.Add(time.Microsecond))
	return gapsOf(store.MergeLosses(found)), err
}

func (s *server) updateAlert(ctx context.Context, in *struct {
	ByID
	Body AlertChange
}) (*body[Alert], error) {
	p := who(ctx)
	a, err := s.Alerts.UpdateAlert(ctx, p.Tenant, in.ID, in.Body.update(), p.User, s.Now())
	s.changed(ctx, "alert.update", in.ID, err, in.Body.detail())
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	s.Hub.Send(p.Tenant, Change{Event: "alert", ID: in.ID, DeviceID: a.DeviceID})
	return &body[Alert]{alertOf(a)}, nil
}

type batchInput struct {
	Body struct {
		IDs []string `json:"ids" minItems:"1" maxItems:"500"`
		AlertChange
	}
}

func (s *server) updateAlerts(ctx context.Context, in *batchInput) (*struct{}, error) {
	p := who(ctx)
	err := s.Alerts.UpdateAlerts(ctx, p.Tenant, in.Body.IDs, in.Body.update(), p.User, s.Now())
	s.changed(ctx, "alert.update", strings.Join(in.Body.IDs, " "), err, in.Body.detail())
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	for _, id := range in.Body.IDs {
		s.Hub.Send(p.Tenant, Change{Event: "alert", ID: id})
	}
	return nil, nil
}
