// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/state"
	"github.com/picket-edr/picket/store"
)

// Marks tells which events and processes of a device alerts are about;
// *state.DB satisfies it.
type Marks interface {
	AlertsOfEvents(ctx context.Context, tenant, deviceID string, events []state.EventRef) (map[state.EventRef][]state.AlertRef, error)
	AlertsOfProcesses(ctx context.Context, tenant, deviceID string, guids []string) (map[string][]state.AlertRef, error)
	Detections(ctx context.Context, tenant, deviceID string, from, to time.Time, limit int) ([]state.Detection, error)
}

// TimelineEvent is one event of a device as a person reads it.
type TimelineEvent struct {
	Time        time.Time         `json:"time"`
	Table       string            `json:"table"`
	ActionType  string            `json:"actionType"`
	ReportID    int64             `json:"reportId"`
	BootID      string            `json:"bootId"`
	Title       string            `json:"title" doc:"What happened, in a sentence."`
	Chain       []string          `json:"chain" doc:"Names of the processes behind it, oldest first."`
	User        string            `json:"user"`
	ProcessGUID string            `json:"processGuid"`
	AlertIDs    []string          `json:"alertIds"`
	Severity    string            `json:"severity" doc:"Of the gravest alert; empty: none."`
	Fields      map[string]string `json:"fields" doc:"Every column that has a value."`
}

// Gap is events that are known to be missing.
type Gap struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Lost  int64     `json:"lost" doc:"How many; 0: not known."`
	Class string    `json:"class" doc:"What was lost and where: ring.file, spool.low, batches, ...; blind: the sensor did not run."`
}

func gapsOf(all []store.Loss) []Gap {
	out := []Gap{}
	for _, l := range all {
		out = append(out, Gap{l.From, l.To, l.Count, l.Class})
	}
	return out
}

// Timeline is one part of a device's history.
type Timeline struct {
	Items []TimelineEvent `json:"items"`
	Next  string          `json:"next"`
	Gaps  []Gap           `json:"gaps" doc:"Events known to be missing in the time that the items span, by class and second."`
}

type timelineInput struct {
	ByID
	From   time.Time `query:"from"`
	To     time.Time `query:"to"`
	Cursor string    `query:"cursor" maxLength:"128"`
	Order  string    `query:"order" enum:"desc,asc" default:"desc"`
	Level  string    `query:"level" enum:"detections,behaviors,verbose" default:"verbose"`
	Types  []string  `query:"types" doc:"process, file, network, dns, logon, image, registry, sensor, other; alert stands for events with alerts."`
	Q      string    `query:"q" maxLength:"500" doc:"Text, or type:value with hash, file, ext, path, cmd, user, ip, url."`
	User   string    `query:"user" maxLength:"128"`
	Limit  int       `query:"limit" minimum:"0" maximum:"1000"`
}

// maxDetections bounds the events with alerts that one page looks through.
const maxDetections = 1000

func (s *server) timelineRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/devices/{id}/timeline", "get-timeline", "Events of a device", auth.ViewData), s.timeline)
	huma.Register(api, op(http.MethodGet, "/devices/{id}/losses", "list-losses", "Events of a device known to be missing, by class and second, at most seven days", auth.ViewData), s.losses)
	huma.Register(api, op(http.MethodGet, "/devices/{id}/timeline.csv", "export-timeline", "Events of a device as CSV, at most seven days", auth.ViewData), s.exportTimeline)
}

// query makes the store's query. None is true when nothing can match.
func (s *server) timelineQuery(ctx context.Context, in *timelineInput) (q store.TimelineQuery, none bool, err error) {
	q = store.TimelineQuery{DeviceID: in.ID, From: in.From, To: in.To, Cursor: in.Cursor, Asc: in.Order == "asc", Search: in.Q, User: in.User, Limit: in.Limit, Level: store.LevelVerbose}
	detections := in.Level == "detections"
	if in.Level == "behaviors" {
		q.Level = store.LevelBehaviors
	}
	for _, t := range in.Types {
		if t == "alert" {
			detections = true
		} else {
			q.Types = append(q.Types, t)
		}
	}
	if !detections {
		return q, false, nil
	}
	to := in.To
	if to.IsZero() {
		to = s.Now().Add(time.Hour)
	}
	found, err := s.Marks.Detections(ctx, who(ctx).Tenant, in.ID, in.From, to, maxDetections)
	q.Level, q.Reports = store.LevelVerbose, []store.Report{}
	for _, d := range found {
		q.Reports = append(q.Reports, store.Report{BootID: d.BootID, ReportID: d.ReportID})
	}
	return q, len(found) == 0, err
}

func (s *server) timeline(ctx context.Context, in *timelineInput) (*body[Timeline], error) {
	if _, err := s.findDevice(ctx, in.ID); err != nil {
		return nil, s.fail(ctx, err)
	}
	out := &body[Timeline]{Timeline{Items: []TimelineEvent{}, Gaps: []Gap{}}}
	ev, err := s.Events(who(ctx).Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	q, none, err := s.timelineQuery(ctx, in)
	if err != nil || none {
		return out, s.fail(ctx, err)
	}
	page, err := store.Timeline(ctx, ev, q)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if out.Body.Items, err = s.describeItems(ctx, in.ID, page.Items); err != nil {
		return nil, s.fail(ctx, err)
	}
	out.Body.Next = page.Next
	if len(page.Items) > 0 {
		first, last := page.Items[0].Time, page.Items[len(page.Items)-1].Time
		if first.After(last) {
			first, last = last, first
		}
		if in.Cursor == "" && in.Order != "asc" && in.To.IsZero() {
			last = s.Now()
		}
		losses, err := store.Losses(ctx, ev, in.ID, first, last.Add(time.Second))
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		out.Body.Gaps = gapsOf(losses)
	}
	return out, nil
}

type lossesInput struct {
	ByID
	From time.Time `query:"from"`
	To   time.Time `query:"to"`
}

func (s *server) losses(ctx context.Context, in *lossesInput) (*body[[]Gap], error) {
	if _, err := s.findDevice(ctx, in.ID); err != nil {
		return nil, s.fail(ctx, err)
	}
	if in.To.IsZero() {
		in.To = s.Now()
	}
	if in.From.IsZero() {
		in.From = in.To.Add(-24 * time.Hour)
	}
	if in.To.Sub(in.From) > maxExport || in.To.Before(in.From) {
		return nil, s.fail(ctx, fmt.Errorf("losses are told for at most seven days: %w", picket.Invalid))
	}
	ev, err := s.Events(who(ctx).Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	found, err := store.Losses(ctx, ev, in.ID, in.From, in.To)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &body[[]Gap]{gapsOf(found)}, nil
}

// describeItems turns rows into what a person reads, with their alerts.
func (s *server) describeItems(ctx context.Context, device string, items []store.Item) ([]TimelineEvent, error) {
	refs := make([]state.EventRef, 0, len(items))
	for _, it := range items {
		refs = append(refs, state.EventRef{BootID: it.BootID, ReportID: it.ReportID})
	}
	marks, err := s.Marks.AlertsOfEvents(ctx, who(ctx).Tenant, device, refs)
	if err != nil {
		return nil, err
	}
	out := make([]TimelineEvent, 0, len(items))
	for i, it := range items {
		e := describe(it)
		gravest := picket.Severity("")
		for _, m := range marks[refs[i]] {
			e.AlertIDs = append(e.AlertIDs, m.ID)
			if m.Severity.Rank() > gravest.Rank() {
				gravest = m.Severity
			}
		}
		e.Severity = string(gravest)
		out = append(out, e)
	}
	return out, nil
}

// maxExport is the longest time that one timeline export may span.
const maxExport = 7 * 24 * time.Hour

func (s *server) exportTimeline(ctx context.Context, in *timelineInput) (*huma.StreamResponse, error) {
	d, err := s.findDevice(ctx, in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if in.To.IsZero() {
		in.To = s.Now()
	}
	if in.From.IsZero() {
		in.From = in.To.Add(-maxExport)
	}
	if in.To.Sub(in.From) > maxExport || in.To.Before(in.From) {
		return nil, s.fail(ctx, fmt.Errorf("an export spans at most seven days: %w", picket.Invalid))
	}
	ev, err := s.Events(who(ctx).Tenant)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	q, none, err := s.timelineQuery(ctx, in)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	q.Limit, q.Cursor = 1000, ""
	s.audit(ctx, "timeline.export", in.ID, picket.AuditSuccess, map[string]string{"from": stamp(in.From), "to": stamp(in.To)})
	return csvAnswer(d.Name+"-timeline.csv", func(w *csv.Writer) error {
		if err := w.Write([]string{"time", "table", "action", "event", "user", "process", "processGuid", "alerts", "fields"}); err != nil || none {
			return err
		}
		for {
			page, err := store.Timeline(ctx, ev, q)
			if err != nil {
				return err
			}
			items, err := s.describeItems(ctx, in.ID, page.Items)
			if err != nil {
				return err
			}
			for _, e := range items {
				if err := w.Write(safe(timelineRow(e))); err != nil {
					return err
				}
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				return nil
			}
		}
	}, s.Log), nil
}

func timelineRow(e TimelineEvent) []string {
	keys := make([]string, 0, len(e.Fields))
	for k := range e.Fields {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fields := ""
	for _, k := range keys {
		fields += k + "=" + strconv.Quote(e.Fields[k]) + " "
	}
	process := ""
	if n := len(e.Chain); n > 0 {
		process = e.Chain[n-1]
	}
	return []string{stamp(e.Time), e.Table, e.ActionType, e.Title, e.User, process, e.ProcessGUID, fmt.Sprint(len(e.AlertIDs)), fields}
}
