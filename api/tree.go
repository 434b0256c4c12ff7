// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/auth"
	"github.com/picket-edr/picket/store"
)

// ProcessTree is the processes around one, parents before children.
type ProcessTree struct {
	Focus     string        `json:"focus"`
	Nodes     []ProcessNode `json:"nodes"`
	Truncated bool          `json:"truncated" doc:"There are more processes than shown."`
}

// ProcessNode is one process of a tree.
type ProcessNode struct {
	GUID        string      `json:"guid"`
	ParentGUID  string      `json:"parentGuid"`
	FileName    string      `json:"fileName"`
	FolderPath  string      `json:"folderPath"`
	CommandLine string      `json:"commandLine"`
	PID         int64       `json:"pid"`
	User        string      `json:"user"`
	Start       *time.Time  `json:"start"`
	End         *time.Time  `json:"end"`
	ExitCode    string      `json:"exitCode"`
	SHA1        string      `json:"sha1"`
	SHA256      string      `json:"sha256"`
	MD5         string      `json:"md5"`
	ContainerID string      `json:"containerId"`
	Snapshot    bool        `json:"snapshot" doc:"Was running when the sensor started."`
	AlertIDs    []string    `json:"alertIds"`
	Events      []NodeEvent `json:"events"`
	MoreEvents  int         `json:"moreEvents"`
}

// NodeEvent is something that a process of a tree did.
type NodeEvent struct {
	Time   time.Time         `json:"time"`
	Kind   string            `json:"kind" enum:"file,network,dns,logon,registry,image,other"`
	Label  string            `json:"label"`
	Fields map[string]string `json:"fields"`
}

type treeInput struct {
	ByID
	GUID string `path:"guid" maxLength:"64"`
}

func (s *server) treeRoutes(api huma.API) {
	huma.Register(api, op(http.MethodGet, "/devices/{id}/processes/{guid}/tree", "get-process-tree", "Processes around one", auth.ViewData), s.processTree)
	huma.Register(api, op(http.MethodGet, "/alerts/{id}/tree", "get-alert-tree", "Processes around the one that caused an alert", auth.ViewData), s.alertTree)
}

func (s *server) processTree(ctx context.Context, in *treeInput) (*body[ProcessTree], error) {
	if _, err := s.findDevice(ctx, in.ID); err != nil {
		return nil, s.fail(ctx, err)
	}
	t, err := s.tree(ctx, in.ID, in.GUID)
	return &body[ProcessTree]{t}, s.fail(ctx, err)
}

func (s *server) alertTree(ctx context.Context, in *ByID) (*body[ProcessTree], error) {
	a, err := s.Alerts.Alert(ctx, who(ctx).Tenant, in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if a.ProcessGUID == "" {
		return nil, s.fail(ctx, fmt.Errorf("this alert is not about a process: %w", picket.NotFound))
	}
	t, err := s.tree(ctx, a.DeviceID, a.ProcessGUID)
	if errors.Is(err, picket.NotFound) {
		t, err = evidenceTree(&a.Alert), nil
	}
	return &body[ProcessTree]{t}, s.fail(ctx, err)
}

func (s *server) tree(ctx context.Context, device, guid string) (ProcessTree, error) {
	tenant := who(ctx).Tenant
	ev, err := s.Events(tenant)
	if err != nil {
		return ProcessTree{}, err
	}
	t, err := store.ProcessTree(ctx, ev, store.TreeQuery{DeviceID: device, Focus: guid})
	if err != nil {
		return ProcessTree{}, err
	}
	var guids []string
	for _, n := range t.Nodes {
		guids = append(guids, n.GUID)
	}
	marks, err := s.Marks.AlertsOfProcesses(ctx, tenant, device, guids)
	if err != nil {
		return ProcessTree{}, err
	}
	out := ProcessTree{Focus: t.Focus, Truncated: t.Truncated, Nodes: []ProcessNode{}}
	for _, n := range t.Nodes {
		x := ProcessNode{
			GUID: n.GUID, ParentGUID: n.ParentGUID, FileName: n.FileName, FolderPath: n.FolderPath, CommandLine: n.CommandLine, PID: n.PID, User: n.User,
			Start: moment(n.Start), End: moment(n.End), ExitCode: n.ExitCode, SHA1: n.SHA1, SHA256: n.SHA256, MD5: n.MD5, ContainerID: n.ContainerID,
			Snapshot: n.Snapshot, AlertIDs: []string{}, Events: []NodeEvent{}, MoreEvents: n.MoreEvents,
		}
		for _, m := range marks[n.GUID] {
			x.AlertIDs = append(x.AlertIDs, m.ID)
		}
		for _, it := range n.Events {
			x.Events = append(x.Events, NodeEvent{Time: it.Time, Kind: kind(it), Label: sentence(it), Fields: it.Fields})
		}
		out.Nodes = append(out.Nodes, x)
	}
	return out, nil
}

// kind names the sort of an event for its glyph.
func kind(it store.Item) string {
	switch {
	case it.Table == "DeviceFileEvents":
		return "file"
	case it.Table == "DeviceNetworkEvents":
		return "network"
	case it.Table == "DeviceLogonEvents":
		return "logon"
	case it.Table == "DeviceRegistryEvents":
		return "registry"
	case it.Table == "DeviceImageLoadEvents":
		return "image"
	case strings.HasPrefix(it.Fields["ActionType"], "Dns"):
		return "dns"
	}
	return "other"
}

// evidenceTree is the story of an alert from its own evidence, for the moment
// before its events are in the store and for the time after they expired.
func evidenceTree(a *picket.Alert) ProcessTree {
	t := ProcessTree{Focus: a.ProcessGUID, Nodes: []ProcessNode{}}
	seen := map[string]bool{}
	for _, e := range a.Evidence {
		if e.EntityType != "Process" || e.ProcessGUID == "" || seen[e.ProcessGUID] {
			continue
		}
		seen[e.ProcessGUID] = true
		f := e.Fields
		n := ProcessNode{
			GUID: e.ProcessGUID, ParentGUID: f["InitiatingProcessUniqueId"], FileName: f["FileName"], FolderPath: f["FolderPath"], CommandLine: f["ProcessCommandLine"],
			User: f["AccountName"], Start: moment(e.Time), SHA1: f["SHA1"], SHA256: f["SHA256"], MD5: f["MD5"], AlertIDs: []string{}, Events: []NodeEvent{},
		}
		_, _ = fmt.Sscan(f["ProcessId"], &n.PID)
		if e.ProcessGUID == a.ProcessGUID {
			n.AlertIDs = append(n.AlertIDs, a.ID)
		}
		t.Nodes = append(t.Nodes, n)
	}
	return t
}
